"""Measures whole models in TFLite Micro, and writes tflite_micro.json and the tables.

    TFLM_ROOT=/path/to/tflite-micro python -m benchmarks.tflite_micro

The models of benchmarks/models.py at their three levels in TFLite Micro, the same as generated C,
and the dense models on TFLite Micro with CMSIS-NN, all in one run: tflite_micro.json, the table in
tflite_micro.md and the table in tflm_ops/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import models
from nested_keras import files
from nested_keras.bench import tflm_model, whole_model
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
README = HERE.parent / "tflm_ops" / "README.md"
BEGIN = "<!-- benchmarks/tflite_micro.py writes from here -->"
END = "<!-- to here -->"
_NOTE = """\
<!-- Written by benchmarks/tflite_micro.py. Do not edit. -->
# TFLite Micro

Instructions and modelled cycles (cycle_model.md) of one inference on the emulated Cortex-M7: the
models of [models.md](models.md) in TFLite Micro with the operators of tflm_ops, as generated C, and
the dense models in TFLite Micro with CMSIS-NN. TFLite Micro and CMSIS-NN come from the tree that
TFLM_ROOT names. Flash is code and constants of the firmware, the model among them; of generated C
without the start-up code.
"""


@dataclass(frozen=True)
class Row:
    """One model at one level in one runtime.

    Attributes:
        network: Name of the network.
        runtime: "generated C", "TFLite Micro", or "TFLite Micro, dense".
        level: Of the nested model; 0 for the dense one.
        instructions: Of one inference; exact.
        cycles: Likewise; modelled.
        arena_bytes: Memory for tensors and scratch, with input and output.
        flash_bytes: Code and constants; generated C without the start-up code.
    """

    network: str
    runtime: str
    level: int
    instructions: int
    cycles: int
    arena_bytes: int
    flash_bytes: int


def _rows(
    network: str,
    runtime: str,
    levels: Sequence[whole_model.LevelCost],
    arena_bytes: int,
    flash_bytes: int,
) -> Iterator[Row]:
    for cost in levels:
        yield Row(
            network, runtime, cost.level, cost.instructions, cost.cycles, arena_bytes, flash_bytes
        )


def measure(network: models.Network) -> list[Row]:
    """Counts a network in the three runtimes."""
    nested = models.build(network, models.SPARSITIES).tflite
    dense = models.build(network, [0.0]).dense_tflite
    c, micro = whole_model.run(nested), tflm_model.run(nested)
    alone = tflm_model.run(dense, exact=False)
    flash = c.code_bytes + c.data_bytes
    return [
        *_rows(network.name, "generated C", c.levels, c.arena_bytes, flash),
        *_rows(network.name, "TFLite Micro", micro.levels, micro.arena_bytes, micro.flash_bytes),
        *_rows(
            network.name, "TFLite Micro, dense", alone.levels, alone.arena_bytes, alone.flash_bytes
        ),
    ]


def table(rows: Sequence[Row]) -> str:
    """One line for each row."""
    header = ["network", "runtime", "level", "instructions", "cycles", "arena", "flash"]
    numbers = ("instructions", "cycles", "arena_bytes", "flash_bytes")
    lines = [
        [row.network, row.runtime, str(row.level), *(f"{getattr(row, n):,}" for n in numbers)]
        for row in rows
    ]
    return format_table(header, lines)


def readme_table(rows: Sequence[Row]) -> str:
    """The table of tflm_ops/README.md: cycles of ResNet-8 by level, arena and flash."""
    lines = ["| | level 0 | level 1 | level 2 | arena | flash |", "|---|---|---|---|---|---|"]
    for runtime in ("generated C", "TFLite Micro", "TFLite Micro, dense"):
        own = [row for row in rows if row.network == "ResNet-8" and row.runtime == runtime]
        cells = [f"{row.cycles:,}" for row in own] + [""] * (3 - len(own))
        cells += [f"{own[0].arena_bytes:,}", f"{own[0].flash_bytes:,}"]
        name = f"{runtime}, on CMSIS-NN" if runtime.endswith("dense") else runtime
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Writes the files."""
    rows = [row for network in models.NETWORKS for row in measure(network)]
    content = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    files.write_text(HERE / "tflite_micro.json", content)
    text = f"{_NOTE}\n{models.counted_with()}\n\n```\n{table(rows)}\n```\n"
    files.write_text(HERE / "tflite_micro.md", text)
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    files.write_text(README, f"{before}{BEGIN}\n{readme_table(rows)}\n{END}{after}")
    sys.stdout.write(f"Wrote {HERE / 'tflite_micro.json'}, tflite_micro.md and {README}\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help; no flags
    main()
