"""The kernel benchmark: this project's kernels and CMSIS-NN's on the layers of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nested_keras.bench import bench_firmware, cmsis
from nested_keras.bench.bench_source import AnyCase
from nested_keras.bench.caches import DEFAULT
from nested_keras.bench.core import M7, Core
from nested_keras.bench.layer_cases import LAYERS, Case, Layer, cases_of, make_case
from nested_keras.bench.operator_cases import OperatorCase, operator_cases
from nested_keras.devices import process
from nested_keras.report.table import format_table


@dataclass(frozen=True)
class Row:
    """One layer at one sparsity and block shape.

    Attributes:
        layer: Name of the layer; "..., 3 levels" where the sparsities are levels of one stream,
            "..., dense operator" where the layer is not a stream. Operators without weights have a
            sparsity of 0 and a block_shape of "1x1".
        sparsity: Share of zero blocks, 0..1.
        block_shape: "1x1", "1x2" or "1x4".
        instructions: Instructions of the whole operator; exact.
        cycles: Modelled cycles of the operator (benchmarks/cycle_model.md).
        memory_cycles: The same with caches of 16 KB that are empty when the operator begins; on a
            core whose model has no caches the same as `cycles`.
        cmsis_instructions: Instructions of the dense layer on CMSIS-NN; exact.
        cmsis_cycles: Modelled cycles of the dense layer on CMSIS-NN.
        speedup_instructions: cmsis_instructions / instructions.
        speedup_cycles: cmsis_cycles / cycles.
        scratch_bytes: Scratch memory of the operator.
    """

    layer: str
    sparsity: float
    block_shape: str
    instructions: int
    cycles: int
    memory_cycles: int
    cmsis_instructions: int
    cmsis_cycles: int
    speedup_instructions: float
    speedup_cycles: float
    scratch_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the row for the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class KernelBenchmark:
    """All rows, and the source of the baseline.

    Attributes:
        rows: In the order of the layers; dense first, then by block shape and sparsity.
        baseline: The source of the CMSIS-NN figures.
        core: The core.
    """

    rows: tuple[Row, ...]
    baseline: str
    core: Core = M7


def run(
    *,
    layers: Sequence[Layer] = LAYERS,
    operators: Sequence[OperatorCase] | None = None,
    cmsis_nn_root: Path | None = None,
    work_dir: Path | None = None,
    core: Core = M7,
) -> KernelBenchmark:
    """Builds one firmware with all layers, runs it under QEMU and checks every output.

    Args:
        layers: The layers to measure.
        operators: The operators without weights to measure; `operator_cases()` by default.
        cmsis_nn_root: A CMSIS-NN checkout to measure as the baseline; by default the recorded
            counts are used.
        work_dir: Keeps the firmware and its objects; a temporary folder by default.
        core: The core.

    Returns:
        The rows.

    Raises:
        ToolchainError: arm-none-eabi-gcc, qemu-system-arm or the PC's compiler is missing.
        BuildError: A compiler refused a source.
        DeviceError: An output differs from the reference, or a call failed.
        ValueError: `cmsis_nn_root` is no checkout, or a layer has no recorded baseline.
    """
    if work_dir is None:
        with process.temporary_folder() as folder:
            return run(
                layers=layers,
                operators=operators,
                cmsis_nn_root=cmsis_nn_root,
                work_dir=folder,
                core=core,
            )
    work_dir.mkdir(parents=True, exist_ok=True)
    cases: list[AnyCase] = [case for layer in layers for case in cases_of(layer)]
    cases += operator_cases() if operators is None else operators
    baseline = _baseline(cases, cmsis_nn_root, work_dir, core)
    library = bench_firmware.own_library(work_dir, core)
    measurements = bench_firmware.measure(library, cases, work_dir)
    rows = tuple(
        _row(case, measurement, baseline.costs[cmsis.baseline_name(case)])
        for case, measurement in zip(cases, measurements, strict=True)
    )
    return KernelBenchmark(rows, baseline.source, core)


def table(benchmark: KernelBenchmark) -> str:
    """The rows as plain text, with the baseline named below."""
    header = [
        "layer",
        "block",
        "sparsity",
        "instructions",
        "cycles",
        "memory",
        "CMSIS instr.",
        "CMSIS cycles",
        "x instr.",
        "x cycles",
        "scratch B",
    ]
    core = benchmark.core
    cells = [
        [
            row.layer,
            row.block_shape,
            f"{row.sparsity:.0%}" if row.sparsity else "dense",
            f"{row.instructions:,}",
            f"{row.cycles:,}",
            f"{row.memory_cycles:,}",
            f"{row.cmsis_instructions:,}",
            f"{row.cmsis_cycles:,}",
            f"{row.speedup_instructions:.2f}",
            f"{row.speedup_cycles:.2f}",
            f"{row.scratch_bytes:,}",
        ]
        for row in benchmark.rows
    ]
    memory = f"`memory` adds {DEFAULT.description}; they are empty when the operator begins.\n"
    if not core.has_caches:
        column, memory = header.index("memory"), ""
        header, cells = _without(header, column), [_without(row, column) for row in cells]
    notes = (
        f"Baseline: {benchmark.baseline}.\n"
        f"Instructions are exact; cycles come from a static, uncalibrated {core.title} issue model."
        f"\n{memory}"
        "Every output equals the NumPy reference."
    )
    return f"{format_table(header, cells)}\n\n{notes}"


def _without(cells: Sequence[str], column: int) -> list[str]:
    return [cell for index, cell in enumerate(cells) if index != column]


def baseline_cases(cases: Sequence[AnyCase]) -> list[AnyCase]:
    """The cases of the baseline: each layer once, dense, and the operators."""
    layers = {case.layer.name: case.layer for case in cases if isinstance(case, Case)}
    dense = [make_case(layer, 0.0, 1) for layer in layers.values()]
    return [*dense, *(case for case in cases if isinstance(case, OperatorCase))]


def _baseline(
    cases: Sequence[AnyCase], root: Path | None, work_dir: Path, core: Core
) -> cmsis.Baseline:
    if root is not None:
        return cmsis.measured(root, baseline_cases(cases), work_dir, core)
    baseline = cmsis.recorded(core.name)
    missing = {cmsis.baseline_name(case) for case in cases} - set(baseline.costs)
    if missing:
        raise ValueError(
            f"no baseline is recorded for {', '.join(sorted(missing))}; "
            f"set {cmsis.ROOT_VARIABLE} to a CMSIS-NN checkout"
        )
    return baseline


def _row(case: AnyCase, measurement: bench_firmware.Measurement, dense: cmsis.Cost) -> Row:
    profile = measurement.profile
    if isinstance(case, Case):
        label, sparsity, block_size = case.layer.label, case.sparsity, case.block_size
    else:
        label, sparsity, block_size = case.label, 0.0, 1
    return Row(
        layer=label,
        sparsity=sparsity,
        block_shape=f"1x{block_size}",
        instructions=profile.instructions,
        cycles=profile.cycles,
        memory_cycles=profile.memory_cycles,
        cmsis_instructions=dense.instructions,
        cmsis_cycles=dense.cycles,
        speedup_instructions=round(dense.instructions / profile.instructions, 3),
        speedup_cycles=round(dense.cycles / profile.cycles, 3),
        scratch_bytes=measurement.scratch_bytes,
    )
