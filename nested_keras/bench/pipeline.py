"""Estimate the cycles of a block of straight-line code with a static issue model of the Cortex-M7.

The core issues in order, two instructions a cycle. An instruction issues at the first cycle at
which its operands are ready and the slot rules let it in. benchmarks/cycle_model.md lists the
rules, their published sources and the omissions. The model has never been calibrated on hardware:
use its cycles to compare kernels with each other, not to predict milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.bench.instruction import Instruction, Port, Unit

_WARM_UP_PASSES = 20
_MEASURED_PASSES = 20


def straight_cycles(block: Sequence[Instruction]) -> int:
    """Cycles of one pass through a block that starts with all operands ready.

    Args:
        block: The instructions; an empty block takes no time.

    Returns:
        Cycles from the first issue to the last, both included.
    """
    pipeline = _Pipeline()
    for instruction in block:
        pipeline.issue(instruction)
    return pipeline.cycle + 1 if block else 0


def loop_cycles(block: Sequence[Instruction]) -> float:
    """Cycles of one pass through a block that branches back to its start, once it runs steadily.

    Args:
        block: The instructions of the loop, at least one.

    Returns:
        Mean cycles of a pass. The mean may be a fraction, because issue slots or the banks of
        paired loads may alternate from pass to pass.
    """
    pipeline = _Pipeline()
    for _ in range(_WARM_UP_PASSES):
        for instruction in block:
            pipeline.issue(instruction)
    start = pipeline.cycle
    for _ in range(_MEASURED_PASSES):
        for instruction in block:
            pipeline.issue(instruction)
    return (pipeline.cycle - start) / _MEASURED_PASSES


class _Pipeline:
    """The cycle of the latest issue, its instructions, and the ready cycles of registers."""

    def __init__(self) -> None:
        self.cycle = 0
        self._issued: list[Instruction] = []
        self._ready: dict[tuple[str, Port], int] = {}
        self._unknown_pairs = 0

    def issue(self, instruction: Instruction) -> None:
        self._advance_to(max((self._ready.get(read, 0) for read in instruction.reads), default=0))
        if self._issued and not self._has_slot(instruction):
            self._advance_to(self.cycle + 1)
        self._issued.append(instruction)
        self._advance_to(self.cycle + instruction.cycles - 1)
        if not self._issued:  # a long instruction fills its last cycle as well
            self._issued.append(instruction)
        for register, latency in instruction.writes:
            for port in Port:
                self._ready[register, port] = self.cycle + latency.at(port)

    def _advance_to(self, cycle: int) -> None:
        if cycle > self.cycle:
            self.cycle = cycle
            self._issued.clear()

    def _has_slot(self, younger: Instruction) -> bool:
        """Whether the instruction can join the instruction that already issued in this cycle."""
        if len(self._issued) == 2:
            return False
        older = self._issued[0]
        units = (older.unit, younger.unit)
        if Unit.MULTIPLE in units or younger.unit is Unit.DSP:
            return False
        if younger.unit is Unit.SHIFTED and older.unit in (Unit.SHIFTED, Unit.DSP):
            return False
        if set(units) <= {Unit.MULTIPLY, Unit.STORE}:
            return False
        if units == (Unit.LOAD, Unit.LOAD):
            return self._hit_different_banks(older, younger)
        return units != (Unit.BRANCH, Unit.BRANCH)

    def _hit_different_banks(self, older: Instruction, younger: Instruction) -> bool:
        """Even and odd words lie in different banks; unknown addresses differ every other time."""
        if older.base == younger.base and not older.moves_base:
            return (older.offset // 4 - younger.offset // 4) % 2 == 1
        self._unknown_pairs += 1
        return self._unknown_pairs % 2 == 1
