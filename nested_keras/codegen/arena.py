"""Plan the static arena offline: the offset of every buffer.

Two buffers may share bytes when no operator needs both. As in TFLite Micro's greedy planner, the
largest buffer is placed first. Each buffer goes to the lowest offset where the buffer overlaps no
placed buffer that is alive at the same time. Late buffers come after all other buffers, in the room
that is left.
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
    """

    size: int
    first: int
    last: int
    is_late: bool = False

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
        Offsets such that buffers needed by the same operator are disjoint.
    """
    offsets = [0] * len(buffers)
    placed: list[int] = []

    def rank(index: int) -> tuple[bool, int, int, int]:
        buffer = buffers[index]
        return buffer.is_late, -buffer.size, buffer.first, index

    for index in sorted(range(len(buffers)), key=rank):
        buffer = buffers[index]
        offset = 0
        for other in sorted(placed, key=offsets.__getitem__):
            if not buffer.overlaps(buffers[other]):
                continue
            if offset + buffer.size <= offsets[other]:
                break
            offset = max(offset, align(offsets[other] + buffers[other].size, ALIGNMENT))
        offsets[index] = offset
        placed.append(index)
    ends = (offset + buffer.size for offset, buffer in zip(offsets, buffers, strict=True))
    return Plan(tuple(offsets), align(max(ends, default=0), ALIGNMENT))
