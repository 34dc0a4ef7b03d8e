"""Estimate the cycles of straight-line code on a core that issues one instruction a cycle.

The rules are those that Arm publishes for the Cortex-M4 (benchmarks/cycle_model.md, "Cortex-M4 and
Cortex-M33"). Jumps are charged by `core.Core`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.bench.instruction import Instruction, Port, Unit

_MEMORY = (Unit.LOAD, Unit.STORE, Unit.MULTIPLE)


def block_cycles(block: Sequence[Instruction]) -> int:
    """Cycles of one pass through a block, without the pipeline refill of a jump at its end.

    Args:
        block: The instructions; an empty block takes no time.

    Returns:
        Cycles. Loads of one block do not overlap with loads of another.
    """
    total = 0
    before = None
    for instruction in block:
        total += _cycles(instruction, before)
        before = instruction
    return total


def _cycles(instruction: Instruction, before: Instruction | None) -> int:
    if instruction.unit not in _MEMORY:
        return 1
    address = {name for name, port in instruction.reads if port is Port.EARLY}
    results = set() if before is None else {name for name, _ in before.writes}
    waits = int(before is not None and before.unit not in _MEMORY and bool(address & results))
    if instruction.unit is Unit.MULTIPLE:
        return 1 + instruction.words + waits
    if instruction.unit is Unit.STORE and len(instruction.base) < 2:
        return 1 + waits
    overlaps = before is not None and before.unit is Unit.LOAD and not address & results
    return 2 - int(overlaps) + waits
