"""Turn executions per address into basic blocks, instructions and modelled cycles."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nested_keras.bench.instruction import Instruction, parse
from nested_keras.bench.pipeline import loop_cycles, straight_cycles
from nested_keras.devices.toolchain import run_tool

# Cortex-M7: 8 cycles, or 6 if the flags are known three cycles ahead.
MISPREDICTED_BRANCH_CYCLES = 8

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
        instructions: The number of instructions.
        executions: How often the block ran.
        cycles: Modelled cycles of all executions together.
    """

    address: int
    function: str
    instructions: int
    executions: int
    cycles: float


@dataclass(frozen=True)
class Profile:
    """The executed instructions of one region.

    Attributes:
        instructions: Exact.
        cycles: Modelled (benchmarks/cycle_model.md).
        blocks: In order of address.
    """

    instructions: int
    cycles: int
    blocks: tuple[Block, ...]


class Listing:
    """The disassembly of a firmware image.

    Args:
        elf: The image.

    Raises:
        ToolchainError: arm-none-eabi-objdump is missing.
        BuildError: The tool refused the file.
    """

    def __init__(self, elf: Path) -> None:
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

    def profile(self, executions: Mapping[int, int]) -> Profile:
        """Cuts the executed instructions into basic blocks, with modelled cycles for each block.

        Args:
            executions: How often the instruction at each address ran.

        Returns:
            The profile.

        Raises:
            ValueError: No instruction of the image starts at an address.
        """
        unknown = [address for address in executions if address not in self._texts]
        if unknown:
            raise ValueError(f"no instruction of this image starts at {unknown[0]:#x}")
        blocks = tuple(self._block(run, executions) for run in self._runs(executions))
        return Profile(
            instructions=sum(executions.values()),
            cycles=round(sum(block.cycles for block in blocks)),
            blocks=blocks,
        )

    def _runs(self, executions: Mapping[int, int]) -> Iterator[list[int]]:
        """Addresses in runs: no branch but the last, no target but the first, one count."""
        run: list[int] = []
        for address in sorted(executions):
            if run and (
                self._next[run[-1]] != address
                or parse(self._texts[run[-1]]).is_branch
                or address in self._targets
                or executions[address] != executions[run[-1]]
            ):
                yield run
                run = []
            run.append(address)
        if run:
            yield run

    def _block(self, run: list[int], executions: Mapping[int, int]) -> Block:
        count = executions[run[0]]
        code = tuple(parse(self._texts[address]) for address in run)
        if code[-1].is_branch and _target(self._texts[run[-1]]) == run[0]:
            # Falling through ends the loop, which the predictor did not expect.
            exits = min(count, executions.get(self._next.get(run[-1], -1), 0))
            cycles = _loop_cycles(code) * count + MISPREDICTED_BRANCH_CYCLES * exits
        else:
            cycles = float(_straight_cycles(code) * count)
        return Block(run[0], self._functions[run[0]], len(run), count, cycles)


@functools.cache
def _loop_cycles(code: tuple[Instruction, ...]) -> float:
    return loop_cycles(code)


@functools.cache
def _straight_cycles(code: tuple[Instruction, ...]) -> int:
    return straight_cycles(code)


def _target(text: str) -> int | None:
    """The target address of a direct branch; None for another instruction."""
    match = _TARGET.search(text)
    return int(match.group(1), 16) if match else None
