"""Measures all kernels; writes kernels.json and kernels.md, and README.md's table of targets.

    python benchmarks/regenerate.py

With CMSIS_NN_ROOT set to a git checkout of CMSIS-NN the baseline is measured too, on every core,
and recorded in nested_keras/bench/cmsis_nn.json. Where the Python package bakenn is installed,
the CMSIS-NN 4.0.0 that it carries is measured beside it.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nested_keras import files
from nested_keras.bench import cmsis, kernel_table, storage_bits
from nested_keras.bench.core import CORES, M7, Core
from nested_keras.bench.layer_cases import LAYERS, SPARSITIES, cases_of
from nested_keras.bench.operator_cases import operator_cases
from nested_keras.devices import process
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
_HEAD = "<!-- Written by benchmarks/regenerate.py. Do not edit. -->\n"
_BEGIN, _END = "<!-- regenerate.py writes from here -->\n", "<!-- to here -->\n"
# Speed-ups in modelled cycles to reach: at each of SPARSITIES, unstructured unless said; for fully
# connected the best block shape counts.
_TARGETS: dict[tuple[str, str], tuple[float | None, ...]] = {
    ("3x3 32->32 @16x16", "1x1"): (1.4, 2.9, 4.4, 6.1, 9.4, 12.4),
    ("3x3 16->16 @32x32", "1x1"): (1.4, 3.1, 4.5, 5.9, 8.2, 9.6),
    ("3x3 64->64 @8x8", "1x1"): (1.4, 2.8, 4.4, 6.2, 10.5, 16),
    ("3x3 32->64 stride 2, 16x16 -> 8x8", "1x1"): (1.3, 2.5, 3.8, 5.2, 8, 11),
    ("1x1 64->64 @8x8", "1x1"): (1.2, 2.2, 3.0, 3.7, 4.8, 5.8),
    ("1x1 128->128 @6x6", "1x1"): (1.1, 2.1, 3.1, 4.1, 5.9, 7.6),
    ("1x1 256->256 @3x3", "1x1"): (1.0, 1.8, 2.8, 3.8, 6.0, 8.5),
    ("FC 256->64", "best"): (1.0, 1.1, 1.8, 2.3, 4.1, 6.4),
    ("3x3 32->32 @16x16", "1x4"): (None, 3.4, 5.2, 7.0, 11, 14.5),
    ("depthwise 3x3 64ch @8x8", "1x1"): (2.5,),
    ("depthwise 3x3 64ch @16x16", "1x1"): (2.5,),
    ("first layer 3x3 3->16 @32x32", "1x1"): (1.3,),
}


def counted_with() -> str:
    """The line of kernels.md that names what the figures depend on."""
    return f"Counted with {cmsis.compiler_version()}, -O2."


def _measure_baseline(root: Path, *, operators: bool, core: Core = M7) -> cmsis.Baseline:
    cases = [case for layer in LAYERS for case in cases_of(layer)]
    cases += operator_cases() if operators else ()
    with process.temporary_folder() as folder:
        return cmsis.measured(root, kernel_table.baseline_cases(cases), folder, core)


def _bakenn_table() -> str:
    """The check that anyone can rerun: CMSIS-NN 4.0.0 beside the baseline."""
    root = cmsis.bakenn_root()
    if root is None:
        return "Not measured: the Python package bakenn was not installed."
    # It lacks some of the operators without weights.
    old, current = _measure_baseline(root, operators=False), cmsis.recorded()
    header = ["layer", "instructions", "cycles", "instr. / baseline", "cycles / baseline"]
    rows = []
    for name, cost in old.costs.items():
        base = current.costs[name]
        ratios = (cost.instructions / base.instructions, cost.cycles / base.cycles)
        rows.append(
            [name, f"{cost.instructions:,}", f"{cost.cycles:,}", *(f"{r:.3f}" for r in ratios)]
        )
    return f"```\n{format_table(header, rows)}\n```"


def target_table(rows: Sequence[kernel_table.Row]) -> str:
    """Reached against target speed-ups, as Markdown."""
    lines = [
        f"| Layer | block | dense | {' | '.join(f'{s:.0%}' for s in SPARSITIES[1:])} |",
        "|" + "---|" * (2 + len(SPARSITIES)),
    ]
    for (layer, block), targets in _TARGETS.items():
        cells = []
        for sparsity, target in zip(SPARSITIES, targets, strict=False):
            reached = [
                row.speedup_cycles
                for row in rows
                if (row.layer, row.sparsity) == (layer, sparsity)
                and block in (row.block_shape, "best")
            ]
            missed = "" if target is None or max(reached) >= target else " **missed**"
            cells.append("" if target is None else f"{max(reached):.2f} ({target}){missed}")
        cells += [""] * (len(SPARSITIES) - len(cells))
        lines.append(f"| {layer} | {block} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _prediction_table(rows: Sequence[kernel_table.Row]) -> str:
    """The cost model beside the counted rows, none of which it was fitted to."""
    cases = [case for layer in LAYERS for case in cases_of(layer)]
    header = ["layer", "block", "sparsity", "stored as", "cycles", "predicted", "error"]
    cells, errors = [], []
    for row, case in zip(rows, cases, strict=False):
        predicted = case.predicted_cycles
        if predicted is None or case.stream is None:
            continue
        errors.append(predicted / row.cycles - 1)
        blocks = case.stream.levels[: case.level + 1]
        cells.append(
            [
                row.layer,
                row.block_shape,
                f"{row.sparsity:.0%}" if row.sparsity else "dense",
                " ".join(block.encoding.name for block in blocks),
                f"{row.cycles:,}",
                f"{predicted:,}",
                f"{errors[-1]:+.1%}",
            ]
        )
    largest = max(abs(error) for error in errors)
    return (
        f"```\n{format_table(header, cells)}\n```\n\n"
        f"Largest error {largest:.1%}. None of these layers is among those that the model was "
        "fitted to\n(`fit_cost_model.py`).\n"
    )


def storage_table() -> str:
    """Bits per nonzero of the sparse layers."""
    header = ["layer", "block", *(f"{sparsity:.0%}" for sparsity in SPARSITIES[1:])]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in storage_bits.rows():
        key = (row.layer, row.block_shape)
        cells.setdefault(key, []).append(f"{row.bits_per_nonzero:.2f}")
    table = format_table(header, [[*key, *values] for key, values in cells.items()])
    return (
        f"```\n{table}\n```\n\n"
        "Deltas, weights, fillers and the counts of all channels, in bits per stored weight.\n"
        "A count takes the bits of the layer's largest, 8 at least in a fully connected layer.\n"
    )


def _write_targets(rows: Sequence[kernel_table.Row]) -> None:
    """Puts the table of targets between its marks in README.md."""
    path = HERE / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    files.write_text(path, f"{before}{_BEGIN}{target_table(rows)}{_END}{after}")


def main() -> None:
    """Writes the files."""
    root = cmsis.root_from_environment()
    if root is not None:
        cores = CORES.values()
        costs = {c.name: _measure_baseline(root, operators=True, core=c).costs for c in cores}
        cmsis.record(root, costs)
    benchmark = kernel_table.run()
    rows = [row.to_dict() for row in benchmark.rows]
    files.write_text(HERE / "kernels.json", json.dumps(rows, indent=1) + "\n")
    files.write_text(
        HERE / "kernels.md",
        f"{_HEAD}# Kernels\n\n{counted_with()}\n\n```\n{kernel_table.table(benchmark)}\n```\n\n"
        f"## Predicted against counted cycles\n\n{_prediction_table(benchmark.rows)}\n"
        f"## Storage\n\n{storage_table()}\n"
        f"## CMSIS-NN 4.0.0 (2022), as the package bakenn carries it\n\n{_bakenn_table()}\n",
    )
    _write_targets(benchmark.rows)
    sys.stdout.write(f"Wrote kernels.json, kernels.md and README.md in {HERE}\n")


if __name__ == "__main__":
    main()
