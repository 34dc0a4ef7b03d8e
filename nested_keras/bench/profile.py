"""Turn counts per address into basic blocks, instructions and modelled cycles."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nested_keras.bench.caches import DEFAULT, Memory
from nested_keras.bench.core import M7, Core
from nested_keras.bench.counter import Counts, Region
from nested_keras.bench.instruction import Instruction, parse
from nested_keras.devices.toolchain import run_tool

_SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_COMMENT = re.compile(r"\s*[@;].*")
_TARGET = re.compile(r"\b([0-9a-f]+) <")


@dataclass(frozen=True)
class Block:
    """A run of instructions that all executed equally often.

    Attributes:
        address: The address of the first instruction.
        function: The symbol before the block.
        code: The instructions, as objdump shows them.
        executions: How often the block ran.
        cycles: Modelled cycles of all executions together.
        mispredicted: How often the branch at the end was predicted wrongly.
    """

    address: int
    function: str
    code: tuple[str, ...]
    executions: int
    cycles: float
    mispredicted: int


@dataclass(frozen=True)
class Profile:
    """The executed instructions of one region.

    Attributes:
        instructions: Exact.
        cycles: Modelled, with all code and data at hand (benchmarks/cycle_model.md).
        memory_cycles: Modelled, with the caches of a memory system; on a core whose model has no
            caches the same as `cycles`.
        blocks: In order of address.
    """

    instructions: int
    cycles: int
    memory_cycles: int
    blocks: tuple[Block, ...]

    @property
    def mispredicted(self) -> int:
        """How many branches were predicted wrongly."""
        return sum(block.mispredicted for block in self.blocks)


class Listing:
    """The disassembly of a firmware image.

    Args:
        elf: The image.
        core: The core whose cycles are modelled.

    Raises:
        ToolchainError: arm-none-eabi-objdump is missing.
        BuildError: The tool refused the file.
    """

    def __init__(self, elf: Path, core: Core = M7) -> None:
        self._core = core
        text = run_tool(
            ["arm-none-eabi-objdump", "--disassemble", "--no-show-raw-insn", os.fspath(elf)]
        )
        self._texts: dict[int, str] = {}
        self._functions: dict[int, str] = {}
        function = "?"
        for line in text.splitlines():
            if symbol := _SYMBOL.match(line):
                function = symbol.group(1)
            elif instruction := _LINE.match(line):
                address = int(instruction.group(1), 16)
                self._texts[address] = _COMMENT.sub("", instruction.group(2))
                self._functions[address] = function
        addresses = sorted(self._texts)
        self._next = dict(itertools.pairwise(addresses))
        self._targets = {_target(t) for t in self._texts.values() if t.startswith(("b", "cb"))}

    def profile(self, region: Region, memory: Memory = DEFAULT) -> Profile:
        """Cuts the executed instructions into basic blocks, with modelled cycles for each block.

        Args:
            region: The counts of this image's instructions.
            memory: The memory system with which the region was counted.

        Returns:
            The profile.

        Raises:
            ValueError: No instruction of the image starts at an address.
        """
        counts = region.counts
        unknown = [address for address in counts if address not in self._texts]
        if unknown:
            raise ValueError(f"no instruction of this image starts at {unknown[0]:#x}")
        blocks = tuple(self._block(run, counts) for run in self._runs(counts))
        cycles = round(sum(block.cycles for block in blocks))
        stalls = memory.stall_cycles(region.misses) if self._core.has_caches else 0
        return Profile(
            instructions=sum(each.executions for each in counts.values()),
            cycles=cycles,
            memory_cycles=cycles + stalls,
            blocks=blocks,
        )

    def _runs(self, counts: Mapping[int, Counts]) -> Iterator[list[int]]:
        """Addresses in runs: no branch but the last, no target but the first, one count."""
        run: list[int] = []
        for address in sorted(counts):
            if run and (
                self._next[run[-1]] != address
                or parse(self._texts[run[-1]]).is_branch
                or address in self._targets
                or counts[address].executions != counts[run[-1]].executions
            ):
                yield run
                run = []
            run.append(address)
        if run:
            yield run

    def _block(self, run: list[int], counts: Mapping[int, Counts]) -> Block:
        last = counts[run[-1]]
        texts = tuple(self._texts[address] for address in run)
        code = tuple(map(parse, texts))
        core = self._core
        target = _target(texts[-1])
        is_loop = code[-1].is_branch and target == run[0]
        cycles = _cycles(core, code, is_loop) * last.executions
        mispredicted = last.wrong_directions
        if not code[-1].is_return:
            mispredicted += last.wrong_targets
        cycles += core.wrong_branch * mispredicted
        cycles += (core.indirect_jump if target is None else core.direct_jump) * last.jumps
        function = self._functions[run[0]]
        return Block(run[0], function, texts, last.executions, cycles, mispredicted)


@functools.cache
def _cycles(core: Core, code: tuple[Instruction, ...], is_loop: bool) -> float:
    return core.block_cycles(code, is_loop)


def _target(text: str) -> int | None:
    """The target address of a direct branch; None for another instruction."""
    match = _TARGET.search(text)
    return int(match.group(1), 16) if match else None
