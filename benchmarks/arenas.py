"""Smaller arenas and their cost: `python -m benchmarks.arenas` writes arenas.json and arenas.md.

Each network is exported as in models.py, nested at 90, 80 and 70 %, and runs as generated C on
the emulated Cortex-M7: with every operator whole, in a given arena, in the smallest arena.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import models
from nested_keras import applications, files
from nested_keras.bench import whole_model
from nested_keras.report.table import format_table

HERE = Path(__file__).parent
_HEAD = "<!-- Written by benchmarks/arenas.py. Do not edit. -->\n"
_NOTE = """\
`codegen --arena` on the emulated Cortex-M7, at 90, 80 and 70 % sparsity with random weights, as in
models.md. The arena has room for input and output. "instr. x" is the instructions of an inference
over those of the arena in which every operator runs whole. Every output equals the NumPy reference.
"""


def _mobilenet_v2() -> object:
    return applications.mobilenet_v2((80, 80, 3), 2, width=0.3)


NETWORKS = (
    (models.NETWORKS[0], (None, 36_864, "smallest")),
    (models.NETWORKS[1], (None, 36_864, "smallest")),
    (models.NETWORKS[2], (None, 16_384, "smallest")),
    (models.Network("MobileNetV2 0.30, 80x80", _mobilenet_v2, 0, 0, 0), (None, 73_728, "smallest")),
)


@dataclass(frozen=True)
class Row:
    """One network in one arena.

    Attributes:
        network: Name of the network.
        limit: The value of --arena; None for operators that run whole.
        arena_bytes: The arena.
        code_bytes: Machine code.
        instructions: Of one inference at each level; exact.
        cycles: Likewise; modelled.
    """

    network: str
    limit: int | str | None
    arena_bytes: int
    code_bytes: int
    instructions: tuple[int, ...]
    cycles: tuple[int, ...]


def measure(network: models.Network, tflite: bytes, limit: int | str | None) -> Row:
    """Runs a network in an arena."""
    found = whole_model.run(tflite, arena=limit)
    return Row(
        network.name,
        limit,
        found.arena_bytes,
        found.code_bytes,
        tuple(level.instructions for level in found.levels),
        tuple(level.cycles for level in found.levels),
    )


def table(rows: list[Row]) -> str:
    """One line for each row."""
    header = ["network", "--arena", "arena", "code", "90 %", "80 %", "70 %", "instr. x"]
    whole = {row.network: row for row in rows if row.limit is None}
    lines = []
    for row in rows:
        limit = f"{row.limit:,}" if isinstance(row.limit, int) else row.limit or ""
        ratios = [
            a / b for a, b in zip(row.instructions, whole[row.network].instructions, strict=True)
        ]
        lines.append(
            [
                row.network,
                limit,
                f"{row.arena_bytes:,}",
                f"{row.code_bytes:,}",
                *(f"{count:,}" for count in row.instructions),
                f"{max(ratios):.3f}",
            ]
        )
    return format_table(header, lines)


def page(rows: list[Row]) -> str:
    """The text of arenas.md."""
    return (
        f"{_HEAD}# Smaller arenas\n\n{_NOTE}\n{models.counted_with()}\n\n```\n{table(rows)}\n```\n"
    )


def main() -> None:
    """Measures and writes both files."""
    rows = []
    for network, limits in NETWORKS:
        tflite = models.build(network, models.SPARSITIES).tflite
        rows += [measure(network, tflite, each) for each in limits]
        print(table(rows), flush=True)
    files.write_text(
        HERE / "arenas.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    )
    files.write_text(HERE / "arenas.md", page(rows))


if __name__ == "__main__":
    main()
