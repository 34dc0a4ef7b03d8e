"""Runs models on every core and writes cores.json and cores.md beside this file.

    python -m benchmarks.cores

The models of models.py and of the demo, with seeded random weights, at 90, 80, 70 and 0 % sparsity,
as generated C in QEMU. Each output is compared with the NumPy reference. With CMSIS_NN_ROOT set to
a git checkout of CMSIS-NN the dense models are counted there too, layer by layer, and recorded in
cores_cmsis_nn.json.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import models
from nested_keras import files, runtime
from nested_keras.bench import cmsis, core as bench_core, kernel_table, whole_model
from nested_keras.bench.core import M4, M7, M33
from nested_keras.bench.layer_cases import LAYERS
from nested_keras.bench.program_cases import program_cases
from nested_keras.codegen import sources
from nested_keras.demo import digits_convnet
from nested_keras.devices import process
from nested_keras.firmware import BuildError, QemuModel
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
RECORD = HERE / "cores_cmsis_nn.json"
_HEAD = "<!-- Written by benchmarks/cores.py. Do not edit. -->\n"
_NOTE = """\
Thousands of instructions of one inference at 90, 80 and 70 % sparsity, which are the levels of one
model, and of the dense model, at 0 %. Weights are random and seeded, as in models.md. "right" says
that every output byte of every level equals the NumPy reference. The code for the Cortex-M0+ runs
on QEMU's Cortex-M3, which knows all its instructions.

The Cortex-M4, M7, M33 and M55 run the kernels for the DSP extension; on the M55 sparse convolutions
run a kernel for Helium (helium.md), and dense layers do not. The other cores run the portable
kernels (docs/kernels_portable.md).

"CMSIS-NN" is the dense model: the sum over its layers and operators, one call each, with the
fastest code that CMSIS-NN has for the core. "x" is the speed-up over CMSIS-NN.
"""
_CYCLES_NOTE = """\
Thousands of modelled cycles (cycle_model.md): those of the Cortex-M4 by Arm's timings, those of the
Cortex-M33 by the same rules, because Arm publishes none. No caches and no wait states.
"""
_LAYERS_NOTE = """\
Single layers against dense CMSIS-NN on the same core, as in kernels.md: speed-up in instructions /
in modelled cycles. `nested-keras bench kernels --core m4` has all layers.
"""
_DENSE = (0.0,)


@dataclass(frozen=True)
class Core:
    """A core, and where its code runs.

    Attributes:
        name: The name in the rows.
        board: A board of QEMU.
        flags: The flags that name the core to the compiler; empty for those of the board.
        model: The model of the core's cycles, if there is one.
    """

    name: str
    board: str
    flags: tuple[str, ...] = ()
    model: bench_core.Core | None = None


CORES = (
    Core("Cortex-M0+", "mps2_an385", ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft")),
    Core("Cortex-M3", "mps2_an385"),
    Core("Cortex-M4", "mps2_an386", model=M4),
    Core("Cortex-M7", "mps2_an500", model=M7),
    Core("M33, no DSP", "mps2_an505", ("-mcpu=cortex-m33+nodsp", "-mthumb", "-mfloat-abi=soft")),
    Core("Cortex-M33", "mps2_an505", model=M33),
    Core("Cortex-M55", "mps3_an547"),
)
NETWORKS = (
    models.Network("demo", digits_convnet, 0, 0, 0),
    *(network for network in models.NETWORKS if network.name in ("ResNet-8", "DS-CNN")),
)


@dataclass(frozen=True)
class Row:
    """One model on one core.

    Attributes:
        core: Name of the core.
        network: Name of the network.
        compiles: Whether the compiler and the linker took the firmware.
        right: Whether all outputs equal the reference.
        instructions: Of one inference at each level and of the dense model, in thousands.
        cmsis_nn: Of the dense model with CMSIS-NN, in thousands; None where nobody has counted.
        cycles: Modelled, as `instructions`; empty without a model of the core.
        cmsis_nn_cycles: Modelled, as `cmsis_nn`.
    """

    core: str
    network: str
    compiles: bool
    right: bool
    instructions: tuple[int, ...]
    cmsis_nn: int | None
    cycles: tuple[int, ...] = ()
    cmsis_nn_cycles: int | None = None


_LAYER_SPARSITIES = (0.0, 0.8, 0.9)


@dataclass(frozen=True)
class LayerRow:
    """The speed-up of a layer over dense CMSIS-NN on the same core.

    Attributes:
        core: Name of the core.
        layer: Name of the layer.
        sparsity: Share of zeros, 0..1.
        speedup_instructions: CMSIS-NN's instructions divided by ours.
        speedup_cycles: CMSIS-NN's modelled cycles divided by ours.
    """

    core: str
    layer: str
    sparsity: float
    speedup_instructions: float
    speedup_cycles: float


def board_of(core: Core, folder: Path) -> str | Path:
    """The board of a core; with flags of its own a copy of the board in the folder."""
    if not core.flags:
        return core.board
    copy = shutil.copytree(sources.board_dir(core.board), folder / core.board, dirs_exist_ok=True)
    facts = json.loads((copy / "board.json").read_text(encoding="utf-8"))
    files.write_text(copy / "board.json", json.dumps({**facts, "flags": core.flags}))
    return copy


def measure(
    core: Core,
    network: models.Network,
    tflites: Sequence[bytes],
    cache_dir: Path,
    dense: cmsis.Cost | None = None,
) -> Row:
    """Runs a model at all its levels, and the dense model, on one core.

    Args:
        core: The core.
        network: The network.
        tflites: The model with levels, and the dense model.
        cache_dir: Keeps the objects.
        dense: What CMSIS-NN needs for the dense model.
    """
    row = Row(core.name, network.name, False, False, (), None)
    if dense is not None:
        row = dataclasses.replace(row, cmsis_nn=round(dense.instructions / 1000))
    counts: list[int] = []
    is_right = True
    for tflite in tflites:
        reference = runtime.ReferenceModel(tflite)
        shape = reference.input_details[0].shape
        x = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
        with process.temporary_folder() as folder:
            model = QemuModel(tflite, board=board_of(core, folder), cache_dir=cache_dir)
            try:
                result = model.run_all(x)
            except BuildError:
                return row
        is_right = is_right and all(
            np.array_equal(outputs, reference.run(x, level=level))
            for level, outputs in zip(result.levels, result.outputs, strict=True)
        )
        counts += [round(count / 1000) for count in result.instructions]
    row = dataclasses.replace(row, compiles=True, right=is_right, instructions=tuple(counts))
    if core.model is None:
        return row
    cycles = [level.cycles for t in tflites for level in _modelled(t, core.model)]
    return dataclasses.replace(
        row,
        cycles=tuple(round(each / 1000) for each in cycles),
        cmsis_nn_cycles=None if dense is None else round(dense.cycles / 1000),
    )


def _modelled(tflite: bytes, core: bench_core.Core) -> tuple[whole_model.LevelCost, ...]:
    return whole_model.run(tflite, core=core).levels


def dense_cost(core: Core, tflite: bytes, root: Path, work_dir: Path) -> cmsis.Cost:
    """Counts a dense model on CMSIS-NN, one call for each layer and operator.

    Args:
        core: The core.
        tflite: The model of one level.
        root: A checkout of CMSIS-NN.
        work_dir: Receives objects and firmware.
    """
    model = core.model or bench_core.Core(
        core.name, core.name, board_of(core, work_dir), False, lambda code, is_loop: 0.0
    )
    cases = program_cases(runtime.lower(tflite))
    costs = cmsis.measured(root, cases, work_dir, model).costs.values()
    return cmsis.Cost(sum(c.instructions for c in costs), sum(c.cycles for c in costs))


def record_cmsis_nn(root: Path, dense: Sequence[tuple[models.Network, bytes]]) -> None:
    """Counts the dense models on CMSIS-NN on all cores and writes cores_cmsis_nn.json."""
    costs: dict[str, dict[str, cmsis.Cost]] = {}
    for core in CORES:
        with process.temporary_folder() as folder:
            costs[core.name] = {
                network.name: dense_cost(core, tflite, root, folder) for network, tflite in dense
            }
    cmsis.record(root, costs, RECORD)


def recorded(core: str) -> cmsis.Baseline:
    """Returns the recorded costs of the dense models on a core, by the name of the network."""
    return cmsis.recorded(core, RECORD)


def table(rows: Sequence[Row]) -> str:
    """One line for each row."""
    header = ["core", "network", "compiles", "right", "90 %", "80 %", "70 %", "0 %", "CMSIS-NN"]
    lines = []
    for row in rows:
        lines.append(
            [
                row.core,
                row.network,
                *("yes" if truth else "no" for truth in (row.compiles, row.right)),
                *_cells(row.instructions, row.cmsis_nn),
            ]
        )
    return format_table([*header, "x at 90 %", "x at 0 %"], lines)


def cycle_table(rows: Sequence[Row]) -> str:
    """One line for each row of a core whose cycles are modelled."""
    header = ["core", "network", "90 %", "80 %", "70 %", "0 %", "CMSIS-NN", "x at 90 %", "x at 0 %"]
    lines = [
        [row.core, row.network, *_cells(row.cycles, row.cmsis_nn_cycles)]
        for row in rows
        if row.cycles
    ]
    return format_table(header, lines)


def _cells(counts: Sequence[int], dense: int | None) -> list[str]:
    """The counts of the levels, of CMSIS-NN, and the speed-ups at 90 and 0 %."""
    ratios = ["-", "-"]
    if dense and counts:
        ratios = [f"{dense / counts[i]:.2f}" for i in (0, -1)]
    return [
        *([f"{count:,}" for count in counts] or ["-"] * 4),
        f"{dense:,}" if dense else "-",
        *ratios,
    ]


def layer_rows(root: Path | None) -> list[LayerRow]:
    """Measures the 3x3 and 1x1 layers of kernels.md on the cores whose cycles are modelled."""
    layers = [
        dataclasses.replace(layer, sparsities=_LAYER_SPARSITIES, block_sizes=(1,))
        for layer in LAYERS
        if layer.name[:3] in ("3x3", "1x1") and not (layer.is_nested or layer.is_plain)
    ]
    found = []
    for core in (core for core in CORES if core.model):
        assert core.model is not None
        rows = kernel_table.run(
            layers=layers, operators=(), cmsis_nn_root=root, core=core.model
        ).rows
        found += [
            LayerRow(core.name, r.layer, r.sparsity, r.speedup_instructions, r.speedup_cycles)
            for r in rows
        ]
    return found


def layer_table(rows: Sequence[LayerRow]) -> str:
    """One line for each layer and core."""
    cells: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        own = cells.setdefault((row.core, row.layer), [])
        own.append(f"{row.speedup_instructions:.2f} / {row.speedup_cycles:.2f}")
    header = ["core", "layer", *(f"{share:.0%}" for share in _LAYER_SPARSITIES)]
    return format_table(header, [[*key, *own] for key, own in cells.items()])


def build(network: models.Network) -> list[bytes]:
    """The model with three levels, and the dense model."""
    return [models.build(network, levels).tflite for levels in (models.SPARSITIES, _DENSE)]


def page(rows: Sequence[Row], layers: Sequence[LayerRow]) -> str:
    """The text of cores.md."""
    source = recorded(CORES[0].name).source
    return (
        f"{_HEAD}# Cores\n\n{_NOTE}\n{models.counted_with()}\nCMSIS-NN: {source}.\n\n"
        f"```\n{table(rows)}\n```\n\n"
        f"## Cycles\n\n{_CYCLES_NOTE}\n```\n{cycle_table(rows)}\n```\n\n"
        f"## Layers\n\n{_LAYERS_NOTE}\n```\n{layer_table(layers)}\n```\n"
    )


def main() -> None:
    """Writes the files."""
    root = cmsis.root_from_environment()
    tflites = {network.name: build(network) for network in NETWORKS}
    if root is not None:
        record_cmsis_nn(root, [(network, tflites[network.name][-1]) for network in NETWORKS])
    rows = []
    with process.temporary_folder() as cache_dir:
        for core in CORES:
            costs = recorded(core.name).costs
            rows += [
                measure(core, network, tflites[network.name], cache_dir, costs[network.name])
                for network in NETWORKS
            ]
    layers = layer_rows(root)
    content = {
        "models": [asdict(row) for row in rows],
        "layers": [asdict(row) for row in layers],
    }
    files.write_text(HERE / "cores.json", json.dumps(content, indent=1) + "\n")
    files.write_text(HERE / "cores.md", page(rows, layers))
    sys.stdout.write(f"Wrote {HERE / 'cores.json'} and {HERE / 'cores.md'}\n")


if __name__ == "__main__":
    main()
