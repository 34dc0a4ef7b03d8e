"""Runs models on every core and writes cores.json and cores.md beside this file.

    python -m benchmarks.cores

The models of models.py and of the demo, with seeded random weights, at 90, 80, 70 and 0 % sparsity,
as generated C in QEMU. Each output is compared with the NumPy reference.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import models
from nested_keras import files, runtime
from nested_keras.codegen import sources
from nested_keras.demo import digits_convnet
from nested_keras.devices import process
from nested_keras.firmware import BuildError, QemuModel
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
_HEAD = "<!-- Written by benchmarks/cores.py. Do not edit. -->\n"
_NOTE = """\
Thousands of instructions of one inference at 90, 80 and 70 % sparsity, which are the levels of one
model, and of the dense model, at 0 %. Weights are random and seeded, as in models.md. "right" says
that every output byte of every level equals the NumPy reference. The code for the Cortex-M0+ runs
on QEMU's Cortex-M3, which knows all its instructions.

The Cortex-M4, M7, M33 and M55 run the kernels for the DSP extension. There are no kernels for
Helium, the vectors of the M55. The other cores run the portable kernels (docs/kernels_portable.md).

"CMSIS-NN" is the dense model: on the Cortex-M7 TFLite Micro of August 2026 with CMSIS-NN of July
2026 (models.md); on the Cortex-M3 and M0+ the sum over the layers of CMSIS-NN v7.0.0-43-g99f736a6
of 2026-07-15 in plain C, one call each, counted on 2026-11-28 with arm-none-eabi-gcc 12.2 at -O2.
This command does not count CMSIS-NN again. "x" is the speed-up over CMSIS-NN.
"""
# Instructions of the dense model, by core and network.
_CMSIS_NN = {
    ("Cortex-M0+", "ResNet-8"): 97_559_382,
    ("Cortex-M0+", "DS-CNN"): 28_991_237,
    ("Cortex-M3", "ResNet-8"): 41_844_083,
    ("Cortex-M3", "DS-CNN"): 10_531_750,
    ("Cortex-M7", "ResNet-8"): 30_030_000,
    ("Cortex-M7", "DS-CNN"): 7_640_000,
}
_DENSE = (0.0,)


@dataclass(frozen=True)
class Core:
    """A core, and where its code runs.

    Attributes:
        name: The name in the rows.
        board: A board of QEMU.
        flags: The flags that name the core to the compiler; empty for those of the board.
    """

    name: str
    board: str
    flags: tuple[str, ...] = ()


CORES = (
    Core("Cortex-M0+", "mps2_an385", ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft")),
    Core("Cortex-M3", "mps2_an385"),
    Core("Cortex-M4", "mps2_an386"),
    Core("Cortex-M7", "mps2_an500"),
    Core("M33, no DSP", "mps2_an505", ("-mcpu=cortex-m33+nodsp", "-mthumb", "-mfloat-abi=soft")),
    Core("Cortex-M33", "mps2_an505"),
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
    """

    core: str
    network: str
    compiles: bool
    right: bool
    instructions: tuple[int, ...]
    cmsis_nn: int | None


def board_of(core: Core, folder: Path) -> str | Path:
    """The board of a core; with flags of its own a copy of the board in the folder."""
    if not core.flags:
        return core.board
    copy = shutil.copytree(sources.board_dir(core.board), folder / core.board, dirs_exist_ok=True)
    facts = json.loads((copy / "board.json").read_text(encoding="utf-8"))
    files.write_text(copy / "board.json", json.dumps({**facts, "flags": core.flags}))
    return copy


def measure(core: Core, network: models.Network, tflites: Sequence[bytes], cache_dir: Path) -> Row:
    """Runs a model at all its levels, and the dense model, on one core."""
    cmsis_nn = _CMSIS_NN.get((core.name, network.name))
    thousands = None if cmsis_nn is None else cmsis_nn // 1000
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
                return Row(core.name, network.name, False, False, (), thousands)
        is_right = is_right and all(
            np.array_equal(outputs, reference.run(x, level=level))
            for level, outputs in zip(result.levels, result.outputs, strict=True)
        )
        counts += [round(count / 1000) for count in result.instructions]
    return Row(core.name, network.name, True, is_right, tuple(counts), thousands)


def table(rows: Sequence[Row]) -> str:
    """One line for each row."""
    header = ["core", "network", "compiles", "right", "90 %", "80 %", "70 %", "0 %", "CMSIS-NN"]
    lines = []
    for row in rows:
        ratios = ["-", "-"]
        if row.cmsis_nn and row.instructions:
            ratios = [f"{row.cmsis_nn / row.instructions[i]:.2f}" for i in (0, -1)]
        lines.append(
            [
                row.core,
                row.network,
                *("yes" if truth else "no" for truth in (row.compiles, row.right)),
                *([f"{count:,}" for count in row.instructions] or ["-"] * 4),
                f"{row.cmsis_nn:,}" if row.cmsis_nn else "-",
                *ratios,
            ]
        )
    return format_table([*header, "x at 90 %", "x at 0 %"], lines)


def build(network: models.Network) -> list[bytes]:
    """The model with three levels, and the dense model."""
    return [models.build(network, levels).tflite for levels in (models.SPARSITIES, _DENSE)]


def main() -> None:
    """Writes the files."""
    rows = []
    with process.temporary_folder() as cache_dir:
        for network in NETWORKS:
            tflites = build(network)
            rows += [measure(core, network, tflites, cache_dir) for core in CORES]
    rows.sort(key=lambda row: [core.name for core in CORES].index(row.core))
    files.write_text(
        HERE / "cores.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    )
    files.write_text(
        HERE / "cores.md",
        f"{_HEAD}# Cores\n\n{_NOTE}\n{models.counted_with()}\n\n```\n{table(rows)}\n```\n",
    )
    sys.stdout.write(f"Wrote {HERE / 'cores.json'} and {HERE / 'cores.md'}\n")


if __name__ == "__main__":
    main()
