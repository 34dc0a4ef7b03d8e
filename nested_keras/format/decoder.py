"""Packed stream -> NestedWeights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.format.folding import unfold_bias
from nested_keras.format.reader import Arrays, Buffer, read
from nested_keras.format.types import (
    Encoding,
    FormatError,
    Int8Array,
    LayerParams,
    NestedWeights,
    StoredLevel,
    require_equal,
    require_range,
)


def decode(data: Buffer) -> tuple[NestedWeights, tuple[StoredLevel, ...]]:
    """Unpacks a stream after checking all of it.

    Args:
      data: The whole stream, or its prefix up to the end of a level stored.

    Returns:
      The layer with as many levels as there are blocks, and how each level is stored. A weight is
      zero exactly where its level is N.

    Raises:
      FormatError: What was expected and what came.
    """
    params, blocks = read(data)
    levels = len(blocks)
    weights = np.zeros((params.out_channels, params.weights_per_channel), dtype=np.int8)
    level_map = np.full(weights.shape, levels, dtype=np.uint8)
    for stored, arrays in blocks:
        added = _unpack(stored, arrays, params)
        used = added != 0
        if (twice := used & (level_map != levels)).any():
            channel, index = np.argwhere(twice)[0]
            raise FormatError(
                f"weight {index} of channel {channel} must be in one level: "
                f"got levels {level_map[channel, index]} and {stored.level}"
            )
        weights[used] = added[used]
        level_map[used] = stored.level
    tables = {
        name: np.stack([arrays[name] for _, arrays in blocks])
        for name in ("bias", "multiplier", "shift")
    }
    nested = NestedWeights(
        params=params,
        weights=weights.reshape(params.filter_shape),
        level_map=level_map.reshape(params.filter_shape),
        bias=unfold_bias(tables["bias"], params=params, weights=weights, level_map=level_map),
        multiplier=tables["multiplier"].astype(np.int32),
        shift=tables["shift"],
    )
    return nested, tuple(stored for stored, _ in blocks)


def _unpack(stored: StoredLevel, arrays: Arrays, params: LayerParams) -> Int8Array:
    """The weights that a level adds, int8 [O, K], zero elsewhere."""
    shape = (params.out_channels, params.blocks_per_channel, params.block_size)
    added = np.zeros(shape, dtype=np.int8)
    if stored.encoding == Encoding.DENSE:
        added = arrays["values"].reshape(shape)
    elif stored.entries:
        channel = np.repeat(np.arange(params.out_channels), arrays["counts"])
        added[channel, _positions(stored, arrays, params)] = arrays["records"]["values"]
    require_equal(f"level {stored.level}: nnz", stored.nnz, expected=int(np.count_nonzero(added)))
    return added.reshape(params.out_channels, params.weights_per_channel)


def _positions(stored: StoredLevel, arrays: Arrays, params: LayerParams) -> npt.NDArray[np.int64]:
    """Block position of every entry within its channel, [entries]."""
    counts = arrays["counts"]
    deltas = arrays["records"]["delta"].astype(np.int64)
    starts = np.cumsum(counts) - counts
    running = np.cumsum(deltas)
    before = np.concatenate([[0], running])[starts]
    position = running - np.repeat(before, counts)
    later = np.ones(deltas.size, dtype=bool)
    later[starts[counts > 0]] = False
    if (stuck := later & (deltas == 0)).any():
        raise FormatError(
            f"level {stored.level}: delta of entry {np.argmax(stuck)} must be at least 1: got 0"
        )
    require_range(
        f"level {stored.level}: largest block position",
        int(position.max()),
        low=0,
        high=params.blocks_per_channel - 1,
    )
    return position
