"""Where the arena lies and what that costs: `python -m benchmarks.placement`.

Writes placement.json and placement.md. Each network is exported as in models.py, nested at 90, 80
and 70 %, and runs as generated C on the emulated Cortex-M7, in each memory system of
`nested-keras bench model --memory`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import models
from nested_keras import files
from nested_keras.bench import whole_model
from nested_keras.bench.caches import MEMORIES, Memory
from nested_keras.report.table import format_table

HERE = Path(__file__).parent
_HEAD = "<!-- Written by benchmarks/placement.py. Do not edit. -->\n"
_NOTE = """\
Modelled cycles on a Cortex-M7 at 90, 80 and 70 % sparsity with random weights, as in models.md.
"RAM" says where all data lie that are no constants: in tightly coupled memory (DTCM), or in RAM
behind the data cache (AXI SRAM). Code and constants are in flash behind the caches. "more" is the
share of cycles beyond those of a memory that never waits. cycle_model.md says how the caches are
simulated, and what a missing line costs.
"""


@dataclass(frozen=True)
class Row:
    """One network in one memory system.

    Attributes:
        network: Name of the network.
        memory: Name of the memory system.
        cycles: Of one inference at each level, without waiting; modelled.
        memory_cycles: Likewise, with the misses of the caches.
    """

    network: str
    memory: str
    cycles: tuple[int, ...]
    memory_cycles: tuple[int, ...]


def measure(network: models.Network, tflite: bytes, memory: Memory) -> Row:
    """Runs a network in a memory system."""
    levels = whole_model.run(tflite, memory=memory).levels
    return Row(
        network.name,
        memory.name,
        tuple(level.cycles for level in levels),
        tuple(level.memory_cycles for level in levels),
    )


def table(rows: list[Row]) -> str:
    """One line for each row."""
    header = ["network", "caches", "RAM"]
    header += [text for level in ("90 %", "80 %", "70 %") for text in (level, "more")]
    lines = []
    for row in rows:
        memory = MEMORIES[row.memory]
        line = [row.network, f"{memory.cache_bytes >> 10} KB"]
        line.append("DTCM" if memory.has_tightly_coupled_ram else "cached")
        for cycles, waiting in zip(row.cycles, row.memory_cycles, strict=True):
            line += [f"{waiting:,}", f"{waiting / cycles - 1:.1%}"]
        lines.append(line)
    return format_table(header, lines)


def page(rows: list[Row]) -> str:
    """The text of placement.md."""
    return (
        f"{_HEAD}# Where the arena lies\n\n{_NOTE}\n{models.counted_with()}\n\n"
        f"```\n{table(rows)}\n```\n"
    )


def main() -> None:
    """Measures and writes both files."""
    rows = []
    for network in models.NETWORKS:
        tflite = models.build(network, models.SPARSITIES).tflite
        rows += [measure(network, tflite, memory) for memory in MEMORIES.values()]
        print(table(rows), flush=True)
    text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    files.write_text(HERE / "placement.json", text)
    files.write_text(HERE / "placement.md", page(rows))


if __name__ == "__main__":
    main()
