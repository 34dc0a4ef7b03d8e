"""A machine described by a .repl file, as far as the files of this project go, run by Unicorn.

Stands in for Renode where that is not installed; README.md lists what it assumes. It is strict
where Renode is not: an access to an address that the platform file does not describe stops it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import unicorn
from unicorn import arm_const

PAGE = 0x1000
_ENTRY = re.compile(r"^(\w+): ([\w.]+) @ sysbus(?: (0x[0-9A-Fa-f]+))?$")
_PROPERTY = re.compile(r"^    (\w+): (\S+)$")
_INIT = re.compile(r"^        WriteDoubleWord (0x[0-9A-Fa-f]+) (0x[0-9A-Fa-f]+)$")
_SIGNAL = re.compile(r"^    IRQ -> \w+@\d+$")
# Renode's core takes this instruction, `b .`, for WFI: nothing wakes a firmware without interrupts.
_BRANCH_TO_ITSELF = b"\xfe\xe7"
_NOP = b"\x00\xbf"
# 16 KB of data in 4 ways: what the core of the STM32F767 says in CCSIDR.
_CCSIDR, _CCSIDR_VALUE = 0xE000ED80, 0xF00FE019


@dataclass
class Entry:
    """One peripheral of a .repl."""

    name: str
    kind: str
    address: int | None
    properties: dict[str, str] = field(default_factory=dict)
    words: list[tuple[int, int]] = field(default_factory=list)


def parse_platform(text: str) -> list[Entry]:
    """Entries of a .repl; a line that is not understood is an error."""
    entries: list[Entry] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("//") or line == "    init:" or _SIGNAL.match(line):
            continue
        if match := _ENTRY.match(line):
            name, kind, address = match.groups()
            entries.append(Entry(name, kind, None if address is None else int(address, 16)))
        elif match := _PROPERTY.match(line):
            entries[-1].properties[match[1]] = match[2]
        elif match := _INIT.match(line):
            entries[-1].words.append((int(match[1], 16), int(match[2], 16)))
        else:
            raise ValueError(f"not understood in the platform file: {line!r}")
    return entries


class Machine:
    """Core, memories, USART and DWT.

    Attributes:
      console: What the USART sent.
      executed: Instructions executed since reset: Renode's `cpu ExecutedInstructions`.
    """

    def __init__(self, platform: Path) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M7)
        self.console = bytearray()
        self.executed = 0
        # Virtual time, in the instructions that it has room for; the core slept through the rest.
        self._now = self._target = 0
        self._counted_from: int | None = None
        self.registers: dict[int, int] = {}
        self._blocks: dict[tuple[int, int], _Block] = {}
        self._ranges: list[range] = []
        entries = {entry.name: entry for entry in parse_platform(platform.read_text())}
        self.mips = int(entries["cpu"].properties["PerformanceInMips"])
        self._count_hz = int(entries["dwt"].properties["frequency"])
        self._usart = _address(entries["usart3"])
        self._dwt = _address(entries["dwt"])
        pages = set()
        for entry in entries.values():
            if entry.address is None:
                continue
            size = int(entry.properties.get("size", "0x400"), 16)
            if size >= PAGE:
                self.uc.mem_map(entry.address, size)
            else:
                pages.add(entry.address // PAGE * PAGE)
                size = PAGE if entry.kind in ("IRQControllers.NVIC", "Miscellaneous.DWT") else size
                self._ranges.append(range(entry.address, entry.address + size))
            for offset, value in entry.words:
                self.registers[entry.address + offset] = value
        self.registers[_CCSIDR] = _CCSIDR_VALUE
        for page in pages:
            self.uc.mmio_map(page, PAGE, self._load, page, self._store, page)
        self.uc.hook_add(unicorn.UC_HOOK_BLOCK, self._block)

    def load(self, elf: Path, vector_table: int) -> None:
        """Loads segments to their physical addresses, .bss included, and resets the core."""
        data = elf.read_bytes()
        (offset,), (count,) = struct.unpack_from("<I", data, 28), struct.unpack_from("<H", data, 44)
        for i in range(count):
            fields = struct.unpack_from("<8I", data, offset + 32 * i)
            kind, start, _, address, in_file, in_memory, *_ = fields
            if kind == 1:
                content = data[start : start + in_file] + bytes(in_memory - in_file)
                self.uc.mem_write(address, content)
        stack, self._pc = struct.unpack("<II", self.uc.mem_read(vector_table, 8))
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, stack)

    def run_for(self, seconds: float) -> None:
        """Executes as many instructions as the time takes, or fewer where the core sleeps."""
        self._target = self._now + round(seconds * self.mips * 1_000_000)
        self.uc.emu_start(self._pc | 1, 0)
        self._pc = self.uc.reg_read(arm_const.UC_ARM_REG_PC)

    def cycle_count(self) -> int:
        """CYCCNT, which follows virtual time."""
        if self._counted_from is None:
            return 0
        counted = (self._now - self._counted_from) * self._count_hz // (self.mips * 1_000_000)
        return counted & 0xFFFFFFFF

    def _block(self, uc: unicorn.Uc, address: int, size: int, _: object) -> None:
        if self._now >= self._target:
            uc.emu_stop()
            return
        code = self._blocks.get((address, size))
        if code is None:
            code = self._blocks[address, size] = _Block.of(bytes(uc.mem_read(address, size)))
        passed = code.instructions or self._target - self._now
        self._now += passed
        if not code.sleeps:
            self.executed += passed

    def _check(self, address: int) -> None:
        if not any(address in known for known in self._ranges):
            raise ValueError(f"access to {address:#010x}, which the platform file does not have")

    def _load(self, _: unicorn.Uc, offset: int, __: int, page: int) -> int:
        self._check(page + offset)
        return self.read(page + offset)

    def _store(self, _: unicorn.Uc, offset: int, __: int, value: int, page: int) -> None:
        self._check(page + offset)
        self.write(page + offset, value)

    def read(self, address: int) -> int:
        """Value of a register."""
        if address == self._dwt + 4:
            return self.cycle_count()
        if address == self._usart + 0x1C:
            return 0xC0  # TXE, TC
        return self.registers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Changes a register."""
        self.registers[address] = value
        if address == self._dwt and value & 1:
            self._counted_from = self._now
        enabled = self.registers.get(self._usart, 0) & 9 == 9  # UE and TE, else it drops characters
        if address == self._usart + 0x28 and enabled:
            self.console.append(value & 0xFF)


@dataclass(frozen=True)
class _Block:
    """Code without a branch inside.

    Attributes:
      instructions: How many it has; 0 where the program stays in it for ever.
      sleeps: Whether the core waits there for an interrupt.
    """

    instructions: int
    sleeps: bool

    @classmethod
    def of(cls, code: bytes) -> _Block:
        # A loop of nops, as board_exit ends in, is executed but not worth emulating.
        nops = len(code) // 2 - 1
        stays = code == _NOP * nops + struct.pack("<H", 0xE7FE - nops)
        return cls(0 if stays else _instructions(code), code == _BRANCH_TO_ITSELF)


def _address(entry: Entry) -> int:
    assert entry.address is not None
    return entry.address


def _instructions(code: bytes) -> int:
    """Number of Thumb-2 instructions in a block."""
    count = position = 0
    while position < len(code):
        (first,) = struct.unpack_from("<H", code, position)
        position += 4 if first >> 11 in (0b11101, 0b11110, 0b11111) else 2
        count += 1
    return count
