"""Packed stream -> NestedWeights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.format.folding import unfold_bias
from nested_keras.format.reader import Buffer, LevelBlock, Stream, read_stream
from nested_keras.format.types import (
    Encoding,
    FormatError,
    Int8Array,
    Int32Array,
    LayerParams,
    LevelSummary,
    NestedWeights,
    check_tables,
    require_equal,
    require_range,
)

# Weights that a stream may unpack to: a few million always, beyond that so many for each byte.
_ALWAYS_UNPACKED, _UNPACKED_PER_BYTE = 1 << 22, 1024


@dataclass(frozen=True, eq=False)
class _LevelWeights:
    """The nonzero weights that a level adds.

    Attributes:
      index: Positions in the weights [O, K], flattened; ascending.
      values: int8, as many.
    """

    index: npt.NDArray[np.int64]
    values: Int8Array


def decode(data: Buffer) -> NestedWeights:
    """Unpacks a stream after checking all of it.

    Args:
      data: The whole stream, or its prefix up to the end of a level block.

    Returns:
      The layer with as many levels as there are blocks. A weight is zero exactly where its level
      is N.

    Raises:
      FormatError: What was expected and what came; also for a stream that unpacks to more than
        4 million weights and more than 1024 a byte, because its header alone asks for the memory.
    """
    stream, added, bias = _checked(data)
    params, levels = stream.params, len(stream.blocks)
    size = params.out_channels * params.weights_per_channel
    most = max(_ALWAYS_UNPACKED, _UNPACKED_PER_BYTE * len(data))
    require_range("weights to unpack", size, low=1, high=most)
    weights = np.zeros(size, dtype=np.int8)
    level_map = np.full(size, levels, dtype=np.uint8)
    for block, level in zip(stream.blocks, added, strict=True):
        weights[level.index] = level.values
        level_map[level.index] = block.level
    return NestedWeights(
        params=params,
        weights=weights.reshape(params.filter_shape),
        level_map=level_map.reshape(params.filter_shape),
        bias=bias,
        multiplier=_table(stream, "multiplier").astype(np.int32),
        shift=_table(stream, "shift"),
    )


def validate(data: Buffer) -> None:
    """Checks all of a stream, in memory that its length bounds, whatever its header says.

    Raises:
      FormatError: What was expected and what came.
    """
    _checked(data)


def _checked(data: Buffer) -> tuple[Stream, list[_LevelWeights], Int32Array]:
    """Takes a stream apart and checks all of it; returns the bias [N, O] as well."""
    stream = read_stream(data)
    params = stream.params
    added: list[_LevelWeights] = []
    sums = np.zeros((len(stream.blocks), params.out_channels), np.int64)
    for block in stream.blocks:
        level = _unpack(block, params)
        for earlier, other in enumerate(added):
            if (twice := np.isin(level.index, other.index, assume_unique=True)).any():
                place = int(level.index[np.argmax(twice)])
                channel, index = divmod(place, params.weights_per_channel)
                raise FormatError(
                    f"weight {index} of channel {channel} must be in one level: "
                    f"got levels {earlier} and {block.level}"
                )
        added.append(level)
        channels = level.index // params.weights_per_channel
        # Exact: sums of at most 2^16 int8 weights a channel.
        sums[block.level :] += np.bincount(
            channels, weights=level.values, minlength=params.out_channels
        ).astype(np.int64)
    bias = unfold_bias(_table(stream, "bias"), params=params, sums=sums)
    check_tables(_table(stream, "multiplier"), _table(stream, "shift"))
    return stream, added, bias


def _table(stream: Stream, name: str) -> npt.NDArray[Any]:
    """A table of all levels, [N, O]."""
    return np.stack([block.arrays[name] for block in stream.blocks])


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


def _unpack(block: LevelBlock, params: LayerParams) -> _LevelWeights:
    """The weights that a level adds."""
    if block.encoding == Encoding.DENSE:
        values = block.arrays["values"]
        index = np.arange(values.size)
    elif block.entries:
        channel = np.repeat(np.arange(params.out_channels), block.arrays["counts"])
        first = channel * params.weights_per_channel + _positions(block, params) * params.block_size
        values = block.arrays["records"]["values"].reshape(-1)
        index = (first[:, np.newaxis] + np.arange(params.block_size)).reshape(-1)
    else:
        values, index = np.zeros(0, np.int8), np.zeros(0, np.int64)
    used = values != 0
    require_equal(f"level {block.level}: nnz", block.nnz, expected=int(np.count_nonzero(used)))
    return _LevelWeights(index[used], values[used])


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
