"""Say which C function runs a packed layer, and which scratch memory the function needs.

The functions compute the same scratch sizes as the C functions. A test compares the sizes with
nk_nested_conv_s8_get_buffer_size(); at run time the kernel refuses a buffer that is too small
(NK_ERROR_BUFFER).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nested_keras.cortex_m.cycles import (
    POSITION_WORDS,
    ImageSize,
    has_depthwise_kernel,
    is_pointwise,
)
from nested_keras.format import Encoding, LayerKind, LayerParams, Stream
from nested_keras.format.layout import align

# The same number as in tflm_ops/src/ops/nk_nested_conv_s8_check.c.
_ACCUMULATOR_BYTES = 4
# nk_code_tables: a word for each sequence of 8 bits, for gaps and for values.
_CODE_TABLE_BYTES = 2048
# The same numbers as in tflm_ops/src/stream/nk_stream_parts.h and .c.
_PARTS_BYTES = 2560
_PART_BYTES = 8192
_PART_STEP = 8
_TABLE_BYTES = 9
# NK_DEPTHWISE_TILE_BYTES of tflm_ops/src/cortex_m/nk_depthwise_tile.h.
_DEPTHWISE_TILE_BYTES = 1280
# The same numbers as in tflm_ops/src/cortex_m/nk_dsp_conv.c and nk_dsp_list.c.
_MAX_PAIRS = 4
_CHANNEL_BYTES = 28
_POINTER_BYTES = 4
_GROUP_BYTES = 4096
_READ_AHEAD_BYTES = 16
_ENTRY_WORDS = 3
_END_WORDS = 2
_READ_AHEAD_WORDS = 2
_PIECE_WEIGHTS = 252


def nested_conv_scratch_bytes(
    layer: Stream, dims: Sequence[int], *, any_weights: bool = False
) -> int:
    """Returns the scratch memory that the Cortex-M7's kernel of a layer needs.

    The reference kernel, which runs on other cores, needs one row of accumulators only. With
    dilation the reference kernel also runs on the Cortex-M7 and gets room for the whole image. A
    fully connected layer needs scratch memory only to unpack CODED levels. Each CODED level adds
    tables of its codes, and the layer adds room for the channels that are unpacked at a time.

    Args:
        layer: The packed layer.
        dims: The fields of nk_conv_dims: batches, input_h, input_w, output_h, output_w.
        any_weights: Whether to return what any other weights of such a layer need at most, with the
            same blocks and the same number of levels; CODED levels only if this layer has any.

    Returns:
        Bytes; 0 if the layer needs no scratch memory.
    """
    params = layer.params
    output_h, output_w = dims[3:]
    row = _ACCUMULATOR_BYTES * output_w
    coded = sum(level.code is not None for level in layer.levels)
    if coded and any_weights:
        coded = len(layer.levels)
    if (params.dilation_h, params.dilation_w) != (1, 1):
        return output_h * row + coded * _CODE_TABLE_BYTES
    if has_depthwise_kernel(params):
        return max(row, _DEPTHWISE_TILE_BYTES) + coded * _CODE_TABLE_BYTES
    parts = _parts_bytes(layer, any_weights=any_weights)
    if params.kind is LayerKind.FULLY_CONNECTED:
        return parts
    list_bytes = _list_bytes(params, len(layer.levels), _most_weights(layer))
    if not any_weights:
        levels = [level for level in layer.levels if level.encoding is not Encoding.EMPTY]
        weights = sum(level.entries for level in levels) * params.block_size
        list_bytes = _list_bytes(params, len(levels), weights)
    return parts + max(row, _tiles_bytes(params, dims, list_bytes))


def _parts_bytes(layer: Stream, *, any_weights: bool) -> int:
    """Returns the bytes to unpack a part of the layer, like nk_stream_parts_bytes()."""
    params = layer.params
    coded = [level for level in layer.levels if level.code is not None]
    packed = any(level.table_bits is not None for level in layer.levels)
    if not coded and not packed:
        return 0
    record = 1 + params.block_size
    tables = _TABLE_BYTES if packed else 0
    channel = sum((2**level.count_bits - 1) * record for level in coded)
    whole = sum(level.entries * record for level in coded)
    codes = len(coded)
    if any_weights and coded:
        # Any count of entries fits a channel of nothing but entries.
        codes = len(layer.levels)
        channel = codes * (2 ** params.blocks_per_channel.bit_length() - 1) * record
        whole = channel * params.out_channels
    needed = whole + tables * params.out_channels
    if params.kind is not LayerKind.DEPTHWISE:
        needed = min(needed, max(_PART_BYTES, _PART_STEP * (channel + tables)))
    return _PARTS_BYTES + codes * _CODE_TABLE_BYTES + align(needed, 4) + 8


def nested_function(params: LayerParams) -> str:
    """Names the function that runs a layer and links the kernels of its kind alone.

    Args:
        params: The layer, from the header of its stream.

    Returns:
        One of the functions in nk_nested_conv.h.
    """
    if params.kind is LayerKind.FULLY_CONNECTED:
        return "nk_nested_fully_connected_s8"
    if (params.dilation_h, params.dilation_w) != (1, 1):
        return "nk_nested_conv_s8"
    return "nk_nested_depthwise_s8" if has_depthwise_kernel(params) else "nk_nested_conv2d_s8"


def _most_weights(layer: Stream) -> int:
    """Returns the most weights that the levels of such a layer can store, fillers included.

    A level stores a block at most once. Single weights belong to one level each, except that a
    dense level 0 stores all of them. A filler stands for 255 blocks at least.
    """
    params, levels = layer.params, len(layer.levels)
    blocks = math.prod(params.filter_shape[1:]) // params.block_size
    copies = min(levels, 2) if params.block_size == 1 else levels
    fillers = levels * (blocks // 255)
    return params.out_channels * params.block_size * (copies * blocks + fillers)


def _list_bytes(params: LayerParams, levels: int, weights: int) -> int:
    """Returns the bytes of the list of weights, like nk_dsp_list_bytes()."""
    pieces = weights // _PIECE_WEIGHTS
    words = params.out_channels * (_ENTRY_WORDS * levels + _END_WORDS)
    return 4 * (words + (_ENTRY_WORDS + 1) * pieces + _READ_AHEAD_WORDS)


def _tiles_bytes(params: LayerParams, dims: Sequence[int], list_bytes: int) -> int:
    """Returns the bytes of all buffers of a convolution, like nk_dsp_conv_lay_out()."""
    batches, _, _, output_h, output_w = dims
    if is_pointwise(params, ImageSize(*dims)):
        output_h, output_w = 1, batches * output_h * output_w
    pairs = (min(output_w, 2 * _MAX_PAIRS) + 1) // 2
    words = 4 * POSITION_WORDS[pairs]
    kept = max(params.kernel_h - params.stride_h, 0)
    depthwise = params.kind is LayerKind.DEPTHWISE
    room = min((2 if depthwise else 1) * kept, (output_h - 1) * params.stride_h)
    channel = (params.kernel_h + room) * params.kernel_w * words
    group = params.in_channels
    if depthwise:
        group = min(max(_GROUP_BYTES // channel, 1), params.in_channels)
    columns = (2 * pairs - 1) * params.stride_w + params.kernel_w
    parts = (
        group * channel + _READ_AHEAD_BYTES,
        params.out_channels * _CHANNEL_BYTES,
        columns * _POINTER_BYTES,
        list_bytes,
        group,
    )
    return sum(align(part, 4) for part in parts)
