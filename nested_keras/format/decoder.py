"""Packed stream -> NestedWeights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.format.folding import unfold_bias
from nested_keras.format.reader import Buffer, LevelBlock, read_stream
from nested_keras.format.types import (
    Encoding,
    FormatError,
    Int8Array,
    LayerParams,
    LevelSummary,
    NestedWeights,
    require_equal,
    require_range,
)


def decode(data: Buffer) -> NestedWeights:
    """Unpacks a stream after checking all of it.

    Args:
      data: The whole stream, or its prefix up to the end of a level block.

    Returns:
      The layer with as many levels as there are blocks. A weight is zero exactly where its level
      is N.

    Raises:
      FormatError: What was expected and what came.
    """
    stream = read_stream(data)
    params, levels = stream.params, len(stream.blocks)
    weights = np.zeros((params.out_channels, params.weights_per_channel), dtype=np.int8)
    level_map = np.full(weights.shape, levels, dtype=np.uint8)
    for block in stream.blocks:
        added = _unpack(block, params)
        used = added != 0
        if (twice := used & (level_map != levels)).any():
            channel, index = np.argwhere(twice)[0]
            raise FormatError(
                f"weight {index} of channel {channel} must be in one level: "
                f"got levels {level_map[channel, index]} and {block.level}"
            )
        weights[used] = added[used]
        level_map[used] = block.level
    tables = {
        name: np.stack([block.arrays[name] for block in stream.blocks])
        for name in ("bias", "multiplier", "shift")
    }
    return NestedWeights(
        params=params,
        weights=weights.reshape(params.filter_shape),
        level_map=level_map.reshape(params.filter_shape),
        bias=unfold_bias(tables["bias"], params=params, weights=weights, level_map=level_map),
        multiplier=tables["multiplier"].astype(np.int32),
        shift=tables["shift"],
    )


def validate(data: Buffer) -> None:
    """Checks all of a stream.

    Raises:
      FormatError: What was expected and what came.
    """
    decode(data)


def count_levels(data: Buffer) -> int:
    """Number of levels in a stream; weights are not unpacked.

    Raises:
      FormatError: The stream's structure or a checksum is wrong.
    """
    return len(read_stream(data).blocks)


def strip_levels(data: Buffer, levels: int) -> bytes:
    """Cuts a stream down to its `levels` sparsest levels.

    Raises:
      FormatError: The stream's structure or a checksum is wrong, or it holds fewer levels.
    """
    blocks = read_stream(data).blocks
    require_range("levels", levels, low=1, high=len(blocks))
    return bytes(data[: blocks[levels - 1].end])


def summarize(data: Buffer) -> tuple[LevelSummary, ...]:
    """Size and number of nonzero weights of every level, sparsest first.

    Raises:
      FormatError: The stream's structure or a checksum is wrong.
    """
    blocks = read_stream(data).blocks
    nnz = np.cumsum([block.nnz for block in blocks]).tolist()
    return tuple(
        LevelSummary(
            level=block.level,
            encoding=block.encoding,
            entries=block.entries,
            count_bits=block.count_bits,
            nnz=nonzeros,
            bytes=block.end,
        )
        for block, nonzeros in zip(blocks, nnz, strict=True)
    )


def _unpack(block: LevelBlock, params: LayerParams) -> Int8Array:
    """The weights that a level adds, int8 [O, K], zero elsewhere."""
    shape = (params.out_channels, params.blocks_per_channel, params.block_size)
    added = np.zeros(shape, dtype=np.int8)
    if block.encoding == Encoding.DENSE:
        added = block.arrays["values"].reshape(shape)
    elif block.entries:
        channel = np.repeat(np.arange(params.out_channels), block.arrays["counts"])
        added[channel, _positions(block, params)] = block.arrays["records"]["values"]
    require_equal(f"level {block.level}: nnz", block.nnz, expected=int(np.count_nonzero(added)))
    return added.reshape(params.out_channels, params.weights_per_channel)


def _positions(block: LevelBlock, params: LayerParams) -> npt.NDArray[np.int64]:
    """Block position of every entry within its channel, [entries]."""
    counts = block.arrays["counts"]
    deltas = block.arrays["records"]["delta"].astype(np.int64)
    starts = np.cumsum(counts) - counts
    running = np.cumsum(deltas)
    before = np.concatenate([[0], running])[starts]
    position = running - np.repeat(before, counts)
    later = np.ones(deltas.size, dtype=bool)
    later[starts[counts > 0]] = False
    if (stuck := later & (deltas == 0)).any():
        raise FormatError(
            f"level {block.level}: delta of entry {np.argmax(stuck)} must be at least 1: got 0"
        )
    require_range(
        f"level {block.level}: largest block position",
        int(position.max()),
        low=0,
        high=params.blocks_per_channel - 1,
    )
    return position
