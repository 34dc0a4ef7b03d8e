"""Plan the static arena offline: the offset of every buffer.

Two buffers may share bytes when no operator needs both. As in TFLite Micro's greedy planner, the
largest buffer is placed first. Each buffer goes to the lowest offset where the buffer overlaps no
placed buffer that is alive at the same time. Late buffers come after all other buffers, in the room
that is left. Buffers that share memory are placed together, at one offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nested_keras.format.layout import align

ALIGNMENT = 16
"""Offsets and the arena's size are multiples of this many bytes."""


@dataclass(frozen=True)
class Buffer:
    """A request for memory.

    Attributes:
        size: Bytes, >= 0.
        first: Index of the first operator that needs the buffer.
        last: Index of the last operator that needs the buffer, >= first.
        is_late: Whether the buffer is placed after all buffers that are not late.
        shares: Index of the request whose offset the buffer takes; the two may hold the same bytes
            at one time. None for a place of its own.
    """

    size: int
    first: int
    last: int
    is_late: bool = False
    shares: int | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.size < 0:
            raise ValueError(f"size must be >= 0: got {self.size}")
        if not 0 <= self.first <= self.last:
            raise ValueError(f"expected 0 <= first <= last: got {self.first} and {self.last}")

    def overlaps(self, other: Buffer) -> bool:
        """Whether some operator needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Where each buffer lies.

    Attributes:
        offsets: Offset in bytes of each buffer, in the order of the requests.
        size: Bytes of the arena.
    """

    offsets: tuple[int, ...]
    size: int


def plan_arena(buffers: Sequence[Buffer]) -> Plan:
    """Places the buffers.

    Args:
        buffers: The requests.

    Returns:
        Offsets such that buffers needed by the same operator are disjoint, if they do not share
        memory.
    """
    offsets = [0] * len(buffers)
    placed: list[int] = []

    def rank(members: list[int]) -> tuple[bool, int, int, int]:
        largest = max(members, key=lambda index: buffers[index].size)
        is_late = all(buffers[index].is_late for index in members)
        return is_late, -buffers[largest].size, buffers[largest].first, members[0]

    def end(index: int) -> int:
        return offsets[index] + buffers[index].size

    for members in sorted(_sharing(buffers), key=rank):
        taken = [
            (buffers[member].size, other)
            for member in members
            for other in placed
            if buffers[member].overlaps(buffers[other])
        ]
        starts = {0} | {align(end(other), ALIGNMENT) for _, other in taken}
        offset = next(
            start
            for start in sorted(starts)
            if all(start + size <= offsets[other] or end(other) <= start for size, other in taken)
        )
        for member in members:
            offsets[member] = offset
        placed += members
    size = max((end(index) for index in range(len(buffers))), default=0)
    return Plan(tuple(offsets), align(size, ALIGNMENT))


def _sharing(buffers: Sequence[Buffer]) -> list[list[int]]:
    """Indices of the buffers, those together that share memory."""
    groups: dict[int, list[int]] = {}
    for index, _buffer in enumerate(buffers):
        root = index
        while buffers[root].shares is not None:
            root = buffers[root].shares or 0
        groups.setdefault(root, []).append(index)
    return list(groups.values())
