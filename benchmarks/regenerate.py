"""Measures all kernels and writes kernels.json and kernels.md beside this file.

    python benchmarks/regenerate.py

With CMSIS_NN_ROOT set to a git checkout of CMSIS-NN the baseline is measured too, and recorded in
nested_keras/bench/cmsis_nn.json. Where the Python package bakenn is installed, the CMSIS-NN 4.0.0
that it carries is measured beside it.
"""

import json
import sys
import tempfile
from pathlib import Path

from nested_keras.bench import cmsis, kernels
from nested_keras.bench.layers import LAYERS, cases_of
from nested_keras.bench.operators import operator_cases
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
_HEAD = "<!-- Written by benchmarks/regenerate.py. Do not edit. -->\n"


def _measure_baseline(root: Path, *, operators: bool) -> cmsis.Baseline:
    cases = [case for layer in LAYERS for case in cases_of(layer)]
    cases += operator_cases() if operators else ()
    with tempfile.TemporaryDirectory() as folder:
        return cmsis.measured(root, kernels.baseline_cases(cases), Path(folder))


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


def main() -> None:
    """Writes the files."""
    root = cmsis.root_from_environment()
    if root is not None:
        cmsis.record(root, _measure_baseline(root, operators=True).costs)
    benchmark = kernels.run()
    rows = [row.to_dict() for row in benchmark.rows]
    (HERE / "kernels.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (HERE / "kernels.md").write_text(
        f"{_HEAD}# Kernels\n\n```\n{kernels.table(benchmark)}\n```\n\n"
        f"## CMSIS-NN 4.0.0 (2022), as the package bakenn carries it\n\n{_bakenn_table()}\n",
        encoding="utf-8",
    )
    sys.stdout.write(f"Wrote {HERE / 'kernels.json'} and {HERE / 'kernels.md'}\n")


if __name__ == "__main__":
    main()
