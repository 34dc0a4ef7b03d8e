"""Turn weight magnitudes into level maps, in NumPy alone.

A level map has the shape of its kernel and holds, for each weight, the first level that uses it:
0 for the sparsest level, N for a weight that no level uses. Level ``l`` keeps the weights where
``level_map <= l``, so the levels nest by construction.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_LEVELS = 16
BLOCK_SHAPES = ((1, 1), (1, 2), (1, 4))


def check_sparsities(sparsities: Iterable[float], *, strict: bool = True) -> tuple[float, ...]:
    """Returns the sparsities as a tuple of floats, or refuses them.

    Args:
        sparsities: One fraction of zeros per level, level 0 first; each in [0, 1], decreasing, 1 to
            16 of them.
        strict: Whether equal neighbours are refused. The sparsities of a model are strict; a layer
            may have the same weights at several levels.

    Returns:
        The sparsities as floats.

    Raises:
        ValueError: If the count, the range or the order is wrong.
    """
    values = tuple(float(sparsity) for sparsity in sparsities)
    if not 1 <= len(values) <= MAX_LEVELS:
        raise ValueError(f"sparsities must have 1 to {MAX_LEVELS} entries: got {len(values)}")
    if not all(0.0 <= sparsity <= 1.0 for sparsity in values):
        raise ValueError(f"sparsities must lie in [0, 1]: got {values}")
    order = operator.gt if strict else operator.ge
    if not all(order(sparser, denser) for sparser, denser in itertools.pairwise(values)):
        rule = "decrease strictly" if strict else "not increase"
        raise ValueError(f"sparsities must {rule} (level 0 is the sparsest): got {values}")
    return values


def check_block_shape(block_shape: Iterable[int]) -> tuple[int, int]:
    """Returns the block shape as a pair of ints, or refuses it.

    Args:
        block_shape: (1, 1), (1, 2) or (1, 4): one output channel times so many neighbouring input
            channels that are kept or pruned together.

    Returns:
        The block shape.

    Raises:
        ValueError: If the shape is another.
    """
    shape = tuple(block_shape)
    if shape not in BLOCK_SHAPES:
        raise ValueError(f"block_shape must be one of {BLOCK_SHAPES}: got {shape}")
    return BLOCK_SHAPES[BLOCK_SHAPES.index(shape)]


def level_map(
    kernel: npt.NDArray[Any],
    sparsities: Sequence[float],
    *,
    block_shape: tuple[int, int] = (1, 1),
    within: npt.NDArray[Any] | None = None,
    axis: int = -2,
) -> npt.NDArray[np.uint8]:
    """Ranks the blocks of a kernel by their L2 norm and shares them out to the levels.

    Level ``l`` keeps the ``round((1 - sparsities[l]) * blocks)`` blocks with the largest norms. Of
    equal blocks, the first in memory order is kept. A block spans `block_shape[1]` neighbours along
    the input channels. Where the channels are no multiple of `block_shape[1]`, the last block is
    smaller, and counts as one block.

    Args:
        kernel: float: Conv2D (kernel_h, kernel_w, in, out), Dense (in, out), or
            DepthwiseConv2D (kernel_h, kernel_w, in, depth_multiplier); Conv2DTranspose has
            (kernel_h, kernel_w, out, in).
        sparsities: One fraction of zeros per level in [0, 1], not increasing. Equal neighbours are
            allowed, because a ramp starts with all sparsities at 0.
        block_shape: (1, 1), (1, 2) or (1, 4).
        within: The level map so far, of the kernel's shape. A level takes the blocks that the level
            has before any other block, so that a lost block stays lost. None ranks all blocks
            alike.
        axis: The axis of the input channels, below zero.

    Returns:
        uint8 of the kernel's shape, values 0..len(sparsities).
    """
    size = block_shape[1]
    magnitude = np.square(np.asarray(kernel, dtype=np.float64))
    if size > 1:
        starts = np.arange(0, magnitude.shape[axis], size)
        magnitude = np.add.reduceat(magnitude, starts, axis=axis)
    weakness = -magnitude.ravel()
    unranked = np.zeros(weakness.size, np.uint8)
    before = unranked if within is None else block_map(within, block_shape, axis).ravel()
    first_level = np.full(weakness.size, len(sparsities), dtype=np.uint8)
    free = np.argsort(weakness, kind="stable")  # the strongest first
    for level, sparsity in enumerate(sparsities):
        # The blocks of a sparser level are this level's too. This level's blocks before come next.
        wanted = kept_blocks(sparsity, weakness.size) - (weakness.size - free.size)
        had = before[free] <= level
        first_level[np.concatenate([free[had], free[~had]])[:wanted]] = level
        free = free[first_level[free] == len(sparsities)]
    blocks = first_level.reshape(magnitude.shape)
    if size == 1:
        return blocks
    return np.repeat(blocks, size, axis=axis)[tuple(map(slice, np.shape(kernel)))]


def kept_blocks(sparsity: float, blocks: int) -> int:
    """Returns the number of blocks that a level with this sparsity keeps."""
    return round((1.0 - sparsity) * blocks)


def block_map(
    level_map: npt.NDArray[np.uint8], block_shape: tuple[int, int], axis: int = -2
) -> npt.NDArray[np.uint8]:
    """Returns the level map with one value per block.

    Args:
        level_map: The result of `level_map`.
        block_shape: (1, 1), (1, 2) or (1, 4).
        axis: The axis of the input channels, below zero.
    """
    starts = range(0, level_map.shape[axis], block_shape[1])
    return level_map.take(starts, axis=axis)


def sparsity(level_maps: Iterable[npt.NDArray[np.uint8]], level: int) -> float:
    """Returns the fraction of weights that a level leaves out, over several kernels together.

    Args:
        level_maps: uint8 arrays of any shape, not empty.
        level: The level, >= 0.

    Returns:
        The fraction, 0..1.
    """
    maps = list(level_maps)
    pruned = sum(int(np.count_nonzero(each > level)) for each in maps)
    return pruned / math.fsum(each.size for each in maps)
