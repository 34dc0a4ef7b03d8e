"""Turn a packed stream into NestedWeights in two steps: `check` the stream, then `unpack` it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.format.folding import check_folded, unfold_bias
from nested_keras.format.reader import Arrays, Buffer, read
from nested_keras.format.types import (
    Encoding,
    FormatError,
    LayerParams,
    NestedWeights,
    StoredLevel,
    Tables,
    check_tables,
    require_equal,
    require_range,
)
from nested_keras.typing import Int8Array, Int32Array

# Every stream may unpack to a few million weights; more weights need a longer stream.
_ALWAYS_UNPACKED, _UNPACKED_PER_BYTE = 1 << 22, 1024


@dataclass(frozen=True, eq=False)
class _AddedWeights:
    """The nonzero weights that a level adds.

    Attributes:
        index: Positions in the weights [O, K], flattened; ascending.
        values: int8, one per position.
    """

    index: npt.NDArray[np.int64]
    values: Int8Array


@dataclass(frozen=True, eq=False)
class Checked:
    """A checked stream, with weights that are still sparse.

    Attributes:
        size: Length of the stream, bytes.
        params: The layer.
        levels: How each level is stored.
        added: The weights that each level adds.
        bias: int32 [N, O], unfolded.
        multiplier: int32 [N, O].
        shift: int8 [N, O].
    """

    size: int
    params: LayerParams
    levels: tuple[StoredLevel, ...]
    added: tuple[_AddedWeights, ...]
    bias: Int32Array
    multiplier: Int32Array
    shift: Int8Array


def check(data: Buffer) -> Checked:
    """Parses and checks a whole stream; the length of the stream bounds the memory.

    Args:
        data: The whole stream, or its prefix up to the end of a level block.

    Returns:
        The stream, with as many levels as there are blocks.

    Raises:
        FormatError: If the stream is damaged; the text says what was expected and what came.
    """
    params, blocks = read(data)
    added: list[_AddedWeights] = []
    sums = np.zeros((len(blocks), params.out_channels), np.int64)
    for stored, arrays in blocks:
        weights = _added_weights(stored, arrays, params)
        for earlier, other in enumerate(added):
            if (twice := np.isin(weights.index, other.index, assume_unique=True)).any():
                place = int(weights.index[np.argmax(twice)])
                channel, index = divmod(place, params.weights_per_channel)
                raise FormatError(
                    f"weight {index} of channel {channel} must be in one level: "
                    f"got levels {earlier} and {stored.level}"
                )
        added.append(weights)
        channels = weights.index // params.weights_per_channel
        # Exact in float64, because a channel sums at most 2^16 int8 weights.
        sums[stored.level :] += np.bincount(
            channels, weights=weights.values, minlength=params.out_channels
        ).astype(np.int64)
    bias, multiplier, shift = _tables(params, blocks, sums)
    return Checked(
        size=len(data),
        params=params,
        levels=tuple(stored for stored, _ in blocks),
        added=tuple(added),
        bias=bias,
        multiplier=multiplier,
        shift=shift,
    )


def _tables(
    params: LayerParams, blocks: list[tuple[StoredLevel, Arrays]], sums: npt.NDArray[np.int64]
) -> tuple[Int32Array, Int32Array, Int8Array]:
    """Returns bias (unfolded), multiplier and shift, [N, O] each."""
    bases: list[tuple[StoredLevel, Arrays]] = []
    for stored, arrays in blocks:
        bases.append(bases[-1] if stored.tables is Tables.SAME else (stored, arrays))
    bias, multiplier, shift = (
        np.stack([arrays[name] for _, arrays in bases]) for name in ("bias", "multiplier", "shift")
    )
    check_tables(multiplier, shift)
    packed = np.array([stored.table_bits is not None for stored, _ in bases])
    # A packed bias is not folded: as if the weights summed up to zero.
    unfolded = unfold_bias(bias, params=params, sums=np.where(packed[:, np.newaxis], 0, sums))
    check_folded(unfolded, params=params, sums=sums)
    return (
        unfolded,
        multiplier.astype(np.int32),
        shift,
    )


def unpack(stream: Checked) -> NestedWeights:
    """Unpacks the weights of a stream.

    Returns:
        The layer. A weight is zero exactly where its level is N.

    Raises:
        FormatError: If the stream unpacks to more than 4 million weights and to more than 1024 a
            byte, because its header alone asks for the memory.
    """
    params, levels = stream.params, len(stream.levels)
    size = params.out_channels * params.weights_per_channel
    most = max(_ALWAYS_UNPACKED, _UNPACKED_PER_BYTE * stream.size)
    require_range("weights to unpack", size, low=1, high=most)
    weights = np.zeros(size, dtype=np.int8)
    level_map = np.full(size, levels, dtype=np.uint8)
    for level, added in enumerate(stream.added):
        weights[added.index] = added.values
        level_map[added.index] = level
    return NestedWeights(
        params=params,
        weights=weights.reshape(params.filter_shape),
        level_map=level_map.reshape(params.filter_shape),
        bias=stream.bias,
        multiplier=stream.multiplier,
        shift=stream.shift,
    )


def _added_weights(stored: StoredLevel, arrays: Arrays, params: LayerParams) -> _AddedWeights:
    """Returns the weights that a level adds."""
    if stored.encoding == Encoding.DENSE:
        values = arrays["values"]
        index = np.arange(values.size)
    elif stored.entries:
        channel = np.repeat(np.arange(params.out_channels), arrays["counts"])
        position = _positions(stored, arrays, params)
        first = channel * params.weights_per_channel + position * params.block_size
        values = arrays["records"]["values"].reshape(-1)
        index = (first[:, np.newaxis] + np.arange(params.block_size)).reshape(-1)
    else:
        values, index = np.zeros(0, np.int8), np.zeros(0, np.int64)
    used = values != 0
    require_equal(f"level {stored.level}: nnz", stored.nnz, expected=int(np.count_nonzero(used)))
    return _AddedWeights(index[used], values[used])


def _positions(stored: StoredLevel, arrays: Arrays, params: LayerParams) -> npt.NDArray[np.int64]:
    """Returns the block position of every entry within its channel, [entries]."""
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
