"""Choose the convolutions that run a part of their channels at a time, because the arena is small.

A kernel makes a list of the weights of all channels that it runs. In parts the list is short, but
each part packs the input again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from nested_keras.codegen.storage import plan_storage
from nested_keras.codegen.strips import Group
from nested_keras.tflite import program as ir

ScratchOfParts = Callable[[int, Group | None, bool], int]
"""Gives the scratch memory of an operator that runs whole, in a group, or in parts."""


def arena_bytes(
    program: ir.Program,
    scratch_bytes: ScratchOfParts,
    groups: Sequence[Group],
    in_parts: Collection[int],
) -> int:
    """Returns the bytes of the arena.

    Args:
        program: The graph.
        scratch_bytes: Gives the scratch memory of an operator.
        groups: The operators that run strip by strip.
        in_parts: The operators that run in parts.
    """
    by_op = {i: group for group in groups for i in range(group.first, group.last + 1)}
    scratch = [scratch_bytes(i, by_op.get(i), i in in_parts) for i in range(len(program.ops))]
    return plan_storage(program, scratch, groups).arena_bytes


def fewest_in_parts(
    program: ir.Program,
    scratch_bytes: ScratchOfParts,
    groups: Sequence[Group],
    candidates: Collection[int],
    limit: int,
) -> frozenset[int]:
    """Returns the operators that must run in parts.

    Args:
        program: The graph.
        scratch_bytes: Gives the scratch memory of an operator.
        groups: The operators that run strip by strip.
        candidates: The operators that may run in parts, outside of groups.
        limit: The arena may have so many bytes, or as many as with all candidates in parts.

    Returns:
        Their indices.
    """
    chosen = set(candidates)
    limit = max(limit, arena_bytes(program, scratch_bytes, groups, chosen))
    for index in sorted(candidates):
        if arena_bytes(program, scratch_bytes, groups, chosen - {index}) <= limit:
            chosen.remove(index)
    return frozenset(chosen)
