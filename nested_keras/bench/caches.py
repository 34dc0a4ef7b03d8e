"""The memory of the modelled board: how large its caches are, and what a missing line costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Misses(NamedTuple):
    """Lines of 32 bytes that the caches of a region had to fetch.

    Attributes:
        code: Instructions.
        constants: Weights, tables and other data outside RAM.
        reads: Data in RAM, fetched to read them.
        writes: Data in RAM, fetched to write them.
    """

    code: int = 0
    constants: int = 0
    reads: int = 0
    writes: int = 0


NO_MISSES = Misses()


@dataclass(frozen=True)
class Memory:
    """A memory system; code and constants are in flash.

    Attributes:
        name: For tables.
        cache_bytes: The size of each of the two caches; a power of two, at most 64 KB.
        has_tightly_coupled_ram: Whether all RAM is as fast as the caches.
        flash_cycles: Cycles until a line of flash is there.
        ram_cycles: Cycles until a line of RAM is there.
    """

    name: str
    cache_bytes: int
    has_tightly_coupled_ram: bool = False
    flash_cycles: int = 20
    ram_cycles: int = 10

    @property
    def description(self) -> str:
        """What the memory system adds, for the note below a table."""
        ram = "" if self.has_tightly_coupled_ram else f", {self.ram_cycles} of RAM"
        return (
            f"the misses of {self.cache_bytes >> 10} KB caches, "
            f"{self.flash_cycles} cycles a line of flash{ram}"
        )

    def stall_cycles(self, misses: Misses) -> int:
        """Returns the cycles for which the core waits for lines."""
        flash = misses.code + misses.constants
        return self.flash_cycles * flash + self.ram_cycles * (misses.reads + misses.writes)


MEMORIES = {
    memory.name: memory
    for memory in (
        Memory("16k", 16 << 10),
        Memory("4k", 4 << 10),
        Memory("16k-tcm", 16 << 10, has_tightly_coupled_ram=True),
        Memory("4k-tcm", 4 << 10, has_tightly_coupled_ram=True),
    )
}
DEFAULT = MEMORIES["16k"]
"""As the STM32F767 and STM32H7 have caches, with the arena in cached RAM."""
