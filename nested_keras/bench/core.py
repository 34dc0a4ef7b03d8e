"""The cores of the benchmarks: the board of each, and the model of its cycles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nested_keras.bench import pipeline, single_issue
from nested_keras.bench.instruction import Instruction
from nested_keras.devices.board import Board
from nested_keras.devices.toolchain import Toolchain, arm_toolchain


@dataclass(frozen=True)
class Core:
    """A core, and what the model of its cycles needs (benchmarks/cycle_model.md).

    Attributes:
        name: The name in --core, such as "m7".
        title: The name for the reader, such as "Cortex-M7".
        board: A board of QEMU with this core: its name, or the path of its folder.
        has_caches: Whether the model knows caches.
        block_cycles: Cycles of one pass through a basic block; the second argument says whether
            the block jumps to its own start.
        wrong_branch: Further cycles of a branch that was predicted wrongly.
        direct_jump: Further cycles of each jump to an address in the instruction.
        indirect_jump: Further cycles of each jump to an address in a register or in memory.
    """

    name: str
    title: str
    board: str | Path
    has_caches: bool
    block_cycles: Callable[[tuple[Instruction, ...], bool], float]
    wrong_branch: int = 0
    direct_jump: int = 0
    indirect_jump: int = 0

    @property
    def machine(self) -> str:
        """QEMU's name of the board."""
        machine = Board.read(self.board).machine
        assert machine is not None
        return machine

    def toolchain(self) -> Toolchain:
        """The cross compiler for the board.

        Raises:
            ToolchainError: The compiler or its C library is missing.
        """
        return arm_toolchain(Board.read(self.board).flags)


def _dual_issue(code: tuple[Instruction, ...], is_loop: bool) -> float:
    return pipeline.loop_cycles(code) if is_loop else pipeline.straight_cycles(code)


def _single_issue(code: tuple[Instruction, ...], is_loop: bool) -> float:
    del is_loop  # a jump ends the overlap of loads
    return single_issue.block_cycles(code)


# 8 cycles, or 6 if the flags are known three cycles ahead.
M7 = Core("m7", "Cortex-M7", "mps2_an500", True, _dual_issue, wrong_branch=8)
M4 = Core("m4", "Cortex-M4", "mps2_an386", False, _single_issue, direct_jump=2, indirect_jump=3)
# Arm publishes no timings of the Cortex-M33. The rules of the Cortex-M4 stand in.
M33 = Core("m33", "Cortex-M33", "mps2_an505", False, _single_issue, direct_jump=2, indirect_jump=3)

CORES = {core.name: core for core in (M7, M4, M33)}
"""The cores by their names."""
