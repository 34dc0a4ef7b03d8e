"""Scratch memory of layers that run a part of their channels at a time.

CODED levels and packed tables cannot be read in place: `nk_stream_parts.c` unpacks a part of the
channels into scratch memory, and a kernel runs the part.
"""

from __future__ import annotations

from nested_keras.format import Encoding, LayerKind, Stream
from nested_keras.format.layout import align

# The same numbers as in tflm_ops/src/stream/nk_stream_parts.h and .c.
_FIXED_BYTES = 2560 + 12
_PART_BYTES = 8192
_STEP = 8
_TABLE_BYTES = 9
_WEIGHTS_FOR_BYTE = 15
# nk_code_tables: a word for each sequence of 8 bits, for gaps and for values.
_CODE_TABLE_BYTES = 2048


def is_in_place(layer: Stream) -> bool:
    """Says whether kernels can read all levels of a layer in place."""
    return not any(level.code or level.has_packed_tables for level in layer.levels)


def parts_bytes(layer: Stream, channel_bytes: int, *, any_weights: bool) -> int:
    """Returns the bytes of the parts, without those of a kernel, like nk_stream_parts_bytes().

    Args:
        layer: A layer that cannot be read in place.
        channel_bytes: What a kernel needs for each channel of a part.
        any_weights: Whether to return what any other weights of such a layer need at most.
    """
    params, levels = layer.params, layer.levels
    if any(level.table_bits for level in levels):
        channel_bytes += _TABLE_BYTES
    step = _STEP * channel_bytes
    whole = params.out_channels * channel_bytes
    whole += (params.out_channels // _STEP + 1) * len(levels)
    record = 1 + params.block_size
    codes = len(levels) if any_weights else sum(level.code is not None for level in levels)
    for level in levels:
        most = params.blocks_per_channel
        if any_weights:
            # Any count of entries fits a channel of nothing but entries.
            most = 2 ** most.bit_length() - 1
        elif level.count_bits:
            most = 2**level.count_bits - 1
        elif level.encoding is Encoding.EMPTY:
            most = 0
        entries = most * params.out_channels if any_weights else level.entries
        each = record if any_weights or level.code is not None else 0
        step += _entry_bytes(_STEP * most, each, params.block_size)
        whole += _entry_bytes(entries, each, params.block_size)
    least = whole if params.kind is LayerKind.DEPTHWISE else min(whole, step)
    wanted = max(least, min(whole, _PART_BYTES))
    return _FIXED_BYTES + codes * _CODE_TABLE_BYTES + align(wanted, 4)


def _entry_bytes(entries: int, record: int, block_size: int) -> int:
    """Returns what entries of a level need, with their share of a kernel's list."""
    return entries * record - -entries * block_size // _WEIGHTS_FOR_BYTE
