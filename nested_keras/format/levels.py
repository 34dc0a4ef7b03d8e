"""The number of a level, where 0 is the sparsest and the last the densest; a count of levels."""

from __future__ import annotations

import operator
from typing import SupportsIndex


def check_level(level: SupportsIndex | None, *, levels: int) -> int:
    """Returns the level as an int, or refuses it.

    Args:
        level: A Python integer in 0..levels-1, or None for the densest level.
        levels: The number of levels.

    Returns:
        The level.

    Raises:
        TypeError: If the level is not an integer.
        ValueError: If the level is out of range.
    """
    if level is None:
        return levels - 1
    try:
        value = operator.index(level)
    except TypeError:
        raise TypeError(f"level must be an integer in 0..{levels - 1}: got {level!r}") from None
    if not 0 <= value < levels:
        raise ValueError(f"level must be in 0..{levels - 1}: got {value}")
    return value


def check_count(count: SupportsIndex, *, levels: int) -> int:
    """Returns how many levels to keep as an int, or refuses it.

    Args:
        count: A Python integer in 1..levels.
        levels: The number of levels that there are.

    Returns:
        The count.

    Raises:
        TypeError: If the count is not an integer.
        ValueError: If the count is out of range.
    """
    try:
        value = operator.index(count)
    except TypeError:
        raise TypeError(f"levels must be an integer in 1..{levels}: got {count!r}") from None
    if not 1 <= value <= levels:
        raise ValueError(f"levels must be in 1..{levels}: got {value}")
    return value
