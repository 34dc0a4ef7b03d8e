"""The number of a level: 0 is the sparsest level, the last level is the densest."""

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
