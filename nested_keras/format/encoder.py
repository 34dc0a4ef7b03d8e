"""Turn NestedWeights into a packed stream."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.format import constants
from nested_keras.format.folding import fold_bias
from nested_keras.format.layout import (
    DELTA_DTYPES,
    block_bytes,
    block_sections,
    pack_counts,
    record_dtype,
)
from nested_keras.format.types import (
    Chooser,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    StoredLevel,
)
from nested_keras.typing import Int32Array

# The counts of a fully connected layer are whole bytes, because the kernel reads a count as often
# as a weight. The other kernels unpack their counts once a call.
_LEAST_COUNT_BITS = {LayerKind.FULLY_CONNECTED: 8}


def smallest(options: Sequence[StoredLevel]) -> StoredLevel:
    """Returns the option with the fewest bytes; of equal options, the smallest encoding code."""
    return min(options, key=lambda option: (option.bytes, option.encoding))


def encode(
    nested: NestedWeights, *, choose: Chooser = smallest
) -> tuple[bytes, tuple[StoredLevel, ...]]:
    """Packs a layer; see `stream.Stream.pack`.

    A zero weight is not stored, whatever its level. A level that adds no weight is EMPTY; for any
    other level `choose` picks an encoding.

    Args:
        nested: The layer, which checked itself when made.
        choose: Called for each level that adds weights with its options: DELTA8, DELTA16 and, at
            level 0, DENSE. By default the smallest block is made; `cortex_m.cycles.fastest` makes a
            chooser that goes by predicted cycles.

    Returns:
        The stream, a multiple of 16 bytes long, and a description of each stored level.

    Raises:
        FormatError: If a level block does not fit into 2^32-1 bytes, or a folded bias into 32 bits.
    """
    folded_bias = fold_bias(nested)
    blocks = [
        _encode_level(nested, level, folded_bias=folded_bias[level], choose=choose)
        for level in range(nested.levels)
    ]
    data = b"".join([_encode_header(nested.params, nested.levels), *(block for block, _ in blocks)])
    return data, tuple(stored for _, stored in blocks)


def _encode_header(params: LayerParams, levels: int) -> bytes:
    header = np.zeros((), dtype=constants.STREAM_HEADER)
    header["magic"] = constants.STREAM_MAGIC
    header["version"] = constants.STREAM_VERSION
    header["levels"] = levels
    for field in dataclasses.fields(params):
        header[field.name] = getattr(params, field.name)
    header["crc32"] = zlib.crc32(header.tobytes()[:-4])
    return header.tobytes()


def _encode_level(
    nested: NestedWeights, level: int, *, folded_bias: Int32Array, choose: Chooser
) -> tuple[bytes, StoredLevel]:
    params = nested.params
    added = np.where(nested.level_map == level, nested.weights, np.int8(0))
    blocks = added.reshape(params.out_channels, params.blocks_per_channel, params.block_size)
    candidates = _candidates(params, blocks, level)
    nnz = int(np.count_nonzero(added))
    options = [
        _option(params, level, encoding=encoding, arrays=arrays, nnz=nnz)
        for encoding, arrays in candidates.items()
    ]
    choice = options[0] if len(options) == 1 else choose(options)
    encoding, entries, size = choice.encoding, choice.entries, choice.bytes
    if size > np.iinfo(np.uint32).max:
        raise FormatError(f"level {level} must fit into 2^32-1 bytes: got {size}")
    arrays = candidates[encoding] | {
        "bias": folded_bias,
        "multiplier": nested.multiplier[level],
        "shift": nested.shift[level],
    }
    count_bits = choice.count_bits
    if count_bits:
        arrays["counts"] = pack_counts(arrays["counts"], count_bits)
    sections = block_sections(params, encoding, entries=entries, count_bits=count_bits)
    header = np.zeros((), dtype=constants.LEVEL_HEADER)
    header["block_bytes"] = size
    header["entries"] = entries
    header["level"] = level
    header["encoding"] = encoding
    header["count_bits"] = count_bits
    header["nnz"] = nnz
    packed = bytearray(size)
    for section in sections:
        packed[section.start : section.end] = (
            arrays[section.name].astype(section.dtype, copy=False).tobytes()
        )
    header["crc32"] = zlib.crc32(
        packed[constants.LEVEL_HEADER_BYTES :], zlib.crc32(header.tobytes()[:-4])
    )
    packed[: constants.LEVEL_HEADER_BYTES] = header.tobytes()
    return bytes(packed), choice


def _candidates(
    params: LayerParams, blocks: npt.NDArray[np.int8], level: int
) -> dict[Encoding, dict[str, npt.NDArray[Any]]]:
    """Returns every legal encoding of one level with the arrays that it stores.

    Args:
        params: The layer.
        blocks: int8 [O, positions, block_size], zero where the level adds nothing.
        level: The level.

    Returns:
        For each encoding its "values", or its "counts" and "records".
    """
    channel, position = np.nonzero(blocks.any(axis=-1))
    if not channel.size:
        return {Encoding.EMPTY: {}}
    stored = blocks[channel, position]
    candidates: dict[Encoding, dict[str, npt.NDArray[Any]]] = {
        encoding: _delta_arrays(channel, position, stored, params.out_channels, encoding)
        for encoding in DELTA_DTYPES
    }
    if level == 0:
        candidates[Encoding.DENSE] = {"values": blocks}
    return candidates


def _delta_arrays(
    channel: npt.NDArray[np.intp],
    position: npt.NDArray[np.intp],
    stored: npt.NDArray[np.int8],
    out_channels: int,
    encoding: Encoding,
) -> dict[str, npt.NDArray[Any]]:
    """Turns entries, sorted by channel and position, into records with fillers between them.

    A gap g is stored as (g - 1) // max fillers of delta max, then a delta in 1..max (0 for g = 0),
    where max is the largest value of the delta's type.
    """
    largest = np.iinfo(DELTA_DTYPES[encoding]).max
    first_of_channel = np.diff(channel, prepend=-1) != 0
    gap = np.where(first_of_channel, position, np.diff(position, prepend=0))
    fillers = np.maximum(gap - 1, 0) // largest
    slot = np.cumsum(fillers + 1) - 1
    records = np.zeros(int(slot[-1]) + 1, dtype=record_dtype(encoding, stored.shape[-1]))
    records["delta"] = largest
    records["delta"][slot] = gap - fillers * largest
    records["values"][slot] = stored
    counts = np.bincount(channel, weights=fillers + 1, minlength=out_channels)
    return {"counts": counts.astype(np.int64), "records": records}


def _count_bits(params: LayerParams, arrays: dict[str, npt.NDArray[Any]]) -> int:
    """Returns the bits of the largest count; 0 without counts."""
    if "counts" not in arrays:
        return 0
    return max(int(arrays["counts"].max()).bit_length(), _LEAST_COUNT_BITS.get(params.kind, 1))


def _option(
    params: LayerParams,
    level: int,
    *,
    encoding: Encoding,
    arrays: dict[str, npt.NDArray[Any]],
    nnz: int,
) -> StoredLevel:
    entries = 0
    if "records" in arrays:
        entries = arrays["records"].size
    elif "values" in arrays:
        entries = arrays["values"].size // params.block_size
    count_bits = _count_bits(params, arrays)
    sections = block_sections(params, encoding, entries=entries, count_bits=count_bits)
    return StoredLevel(
        level=level,
        encoding=encoding,
        entries=entries,
        count_bits=count_bits,
        nnz=nnz,
        bytes=block_bytes(encoding, sections),
    )
