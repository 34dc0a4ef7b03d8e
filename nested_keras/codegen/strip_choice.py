"""Choose the operators that run strip by strip, so that the arena fits into a number of bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nested_keras.codegen.arena import ALIGNMENT
from nested_keras.codegen.storage import lifetimes, plan_storage
from nested_keras.codegen.strips import Graph, Group, row_bytes
from nested_keras.format.layout import align
from nested_keras.tflite import operators, program as ir

SMALLEST = "smallest"
"""In place of a number of bytes: as few as the planner finds."""

# Rows of the last output in a strip that are tried, and the most operators of a group.
_HEIGHTS = (1, 2, 3, 4, 6, 8, 12, 16)
_LONGEST_GROUP = 14
# The planner of the arena does not always reach the bytes that are needed at one time.
_TRIES, _STEP = 12, 0.985

# Instructions of a further call of an operator: in all, for each output channel of a convolution,
# for each byte of the rows that the strip before has packed already. Estimates, to compare plans.
_CALL, _CHANNEL, _PACKED_BYTE = 500, 40, 1.5

ScratchBytes = Callable[[int, Group | None], int]
"""Gives the scratch memory of an operator that runs whole or in a group."""


@dataclass(frozen=True)
class _Segment:
    """An operator that runs whole, or a group.

    Attributes:
        first: Index of the first operator.
        last: Index of the last operator.
        group: None for an operator that runs whole.
        bytes: Memory that is needed at one time.
        cost: Further instructions.
    """

    first: int
    last: int
    group: Group | None
    bytes: int
    cost: float


def choose_groups(
    program: ir.Program, scratch_bytes: ScratchBytes, arena: int | str
) -> tuple[Group, ...]:
    """Returns the groups with the fewest further instructions whose arena is small enough.

    Args:
        program: The graph.
        scratch_bytes: Gives the scratch memory of an operator.
        arena: The most bytes of the arena, or SMALLEST.

    Returns:
        The groups, in order. If no arena is small enough, those of the smallest arena found.
    """
    chooser = _Chooser(program, scratch_bytes)
    if isinstance(arena, int):
        found = chooser.below(arena, arena)
        if found is not None:
            return found
    low, high = 0, max(chooser.arena(()), ALIGNMENT)
    while high - low > ALIGNMENT:
        middle = (low + high) // 2
        low, high = (low, middle) if chooser.within(middle) is not None else (middle, high)
    tried = [chooser.within(int(high * (1 + 0.01 * step))) or () for step in range(_TRIES)]
    # The planner may need more for the groups than for whole operators.
    return min([(), *tried], key=lambda groups: (chooser.arena(groups), len(groups)))


class _Chooser:
    """Finds groups for a program."""

    def __init__(self, program: ir.Program, scratch_bytes: ScratchBytes) -> None:
        self.program, self.scratch_bytes = program, scratch_bytes
        self.graph = Graph(program)
        self.lifetimes = lifetimes(program)
        self.whole = [self._segment(i, i, None) for i in range(len(program.ops))]
        self._groups = functools.cache(self._made_groups)

    def arena(self, groups: Sequence[Group]) -> int:
        """Returns the bytes of the arena."""
        by_op = {i: group for group in groups for i in range(group.first, group.last + 1)}
        scratch = [self.scratch_bytes(i, by_op.get(i)) for i in range(len(self.program.ops))]
        return plan_storage(self.program, scratch, groups).arena_bytes

    def below(self, arena: int, limit: int) -> tuple[Group, ...] | None:
        """Returns groups whose arena is small enough, or None."""
        for _ in range(_TRIES):
            groups = self.within(limit)
            if groups is None:
                return None
            if self.arena(groups) <= arena:
                return groups
            limit = int(limit * _STEP)
        return None

    def within(self, limit: int) -> tuple[Group, ...] | None:
        """Returns the groups that need no more than `limit` bytes at one time, or None.

        Finds the way through the operators with the least cost, one segment after the other.
        """
        count = len(self.program.ops)
        cost = [0.0] + [float("inf")] * count
        way: list[_Segment | None] = [None] * (count + 1)
        for first in range(count):
            if cost[first] == float("inf"):
                continue
            segments = [self.whole[first]]
            stop = min(first + _LONGEST_GROUP, count)
            if any(each.bytes > limit for each in self.whole[first:stop]):
                segments += self._groups(first)
            for segment in segments:
                total = cost[first] + segment.cost
                if segment.bytes <= limit and total < cost[segment.last + 1]:
                    cost[segment.last + 1], way[segment.last + 1] = total, segment
        groups, end = [], count
        while end > 0:
            step = way[end]
            if step is None:
                return None
            if step.group is not None:
                groups.append(step.group)
            end = step.first
        return tuple(reversed(groups))

    def _made_groups(self, first: int) -> list[_Segment]:
        """All groups that begin with an operator."""
        found = []
        for last in range(first, min(first + _LONGEST_GROUP, len(self.program.ops))):
            if self.graph.windows[last] is None:
                break
            for height in _HEIGHTS:
                if height >= self.graph.height(last):
                    height = self.graph.height(last)
                group = self.graph.group(first, last, height)
                if group is not None:
                    found.append(self._segment(first, last, group))
                if height == self.graph.height(last):
                    break
        return found

    def _segment(self, first: int, last: int, group: Group | None) -> _Segment:
        tensors = self.program.tensors
        inner = {} if group is None else group.capacities
        outer = {
            tensor: align(tensors[tensor].nbytes, ALIGNMENT)
            for tensor, (begin, end) in self.lifetimes.items()
            if begin <= last and end >= first and tensor not in inner
        }
        needed = sum(outer.values())
        if group is not None and group.overwrites in outer:
            output = self.program.ops[last].outputs[0]
            if output in outer:
                needed -= min(outer[group.overwrites], outer[output])
        needed += sum(align(r * row_bytes(tensors[t]), ALIGNMENT) for t, r in inner.items())
        scratch = max(self.scratch_bytes(i, group) for i in range(first, last + 1))
        cost = 0.0 if group is None else self._cost(group)
        return _Segment(first, last, group, needed + align(scratch, ALIGNMENT), cost)

    def _cost(self, group: Group) -> float:
        """Estimates the further instructions of a group."""
        cost, called = 0.0, set()
        for call in group.calls():
            if call.op in called:
                op, window = self.program.ops[call.op], self.graph.windows[call.op]
                assert window is not None
                cost += _CALL
                if isinstance(op, (operators.Conv2D, operators.NestedSparseConv)):
                    source, output = (
                        self.program.tensors[op.inputs[0]],
                        self.program.tensors[op.outputs[0]],
                    )
                    cost += _CHANNEL * output.shape[3]
                    again = max(window.kernel - window.stride, 0)
                    cost += _PACKED_BYTE * again * window.kernel * row_bytes(source)
            called.add(call.op)
        return cost
