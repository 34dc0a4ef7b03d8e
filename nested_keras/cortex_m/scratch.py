"""Say which C function runs a packed layer, and which scratch memory the function needs.

The functions compute the same scratch sizes as the C functions. A test compares the sizes with
nk_nested_conv_s8_get_buffer_size(); at run time the kernel refuses a buffer that is too small
(NK_ERROR_BUFFER).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nested_keras.cortex_m import chains, dense_pairs
from nested_keras.cortex_m.channel_parts import is_in_place, parts_bytes
from nested_keras.cortex_m.cycles import (
    DEPTHWISE_COLUMNS,
    DEPTHWISE_PAIRS,
    ImageSize,
    depthwise_pairs,
    has_depthwise_kernel,
    is_pointwise,
)
from nested_keras.cortex_m.tiles import POSITION_WORDS
from nested_keras.format import Encoding, LayerKind, LayerParams, Stream
from nested_keras.format.layout import align

# The same number as in tflm_ops/src/ops/nk_nested_conv_s8_check.c.
_ACCUMULATOR_BYTES = 4
# The same numbers as in tflm_ops/src/cortex_m/nk_depthwise_tile.h.
_DEPTHWISE_CHANNELS = 4
_DEPTHWISE_LEAST_PAIRS = 4
# The same numbers as in tflm_ops/src/cortex_m/nk_dsp_conv.c and nk_dsp_list.c.
_MAX_PAIRS = 4
_POINTER_BYTES = 4
_GROUP_BYTES = 4096
_READ_AHEAD_BYTES = 16
_ENTRY_WORDS = 3
_END_WORDS = 7
_STOP_WORDS = 3
_PIECE_WEIGHTS = 252


def nested_conv_scratch_bytes(
    layer: Stream, dims: Sequence[int], *, any_weights: bool = False, in_parts: bool = False
) -> int:
    """Returns the scratch memory of a layer, which is the same on all cores.

    The kernel for the Cortex-M7 needs the most. With dilation the reference kernel runs on every
    core and gets room for the whole image. A fully connected layer needs no scratch memory. CODED
    levels and packed tables are unpacked into more scratch memory, some channels at a time.

    Args:
        layer: The packed layer.
        dims: The fields of nk_conv_dims: batches, input_h, input_w, output_h, output_w.
        any_weights: Whether to return what any other weights of such a layer need at most, with the
            same blocks and the same number of levels; CODED levels only if this layer has any.
        in_parts: Whether the layer runs in parts though its levels can be read in place.

    Returns:
        Bytes; 0 if the layer needs no scratch memory.
    """
    params, levels = layer.params, len(layer.levels)
    encodings = [level.encoding for level in layer.levels]
    if in_parts or not is_in_place(layer):
        part = _parts_bytes(layer, any_weights=any_weights)
        return part + _kernel_bytes(params, dims, encodings, _part_list_bytes(layer))
    if not any_weights:
        return _kernel_bytes(params, dims, encodings, _stored_list_bytes(layer))
    most = _list_bytes(params, levels, _most_weights(layer))
    return max(
        _kernel_bytes(params, dims, [Encoding.DENSE], 0),
        _kernel_bytes(params, dims, [Encoding.DELTA8] * levels, most),
    )


def conv_add_scratch_bytes(layer: Stream, dims: Sequence[int]) -> int:
    """Returns the scratch memory of a convolution with an addition: room for a tile besides.

    Args:
        layer: The packed convolution.
        dims: The fields of nk_conv_dims.

    Returns:
        Bytes.
    """
    tile = align(2 * _MAX_PAIRS * layer.params.out_channels, 4)
    in_place = is_in_place(layer)
    tiles = _tiles_bytes(
        layer.params, dims, _stored_list_bytes(layer) if in_place else _part_list_bytes(layer)
    )
    if not in_place:
        tiles += _parts_bytes(layer, any_weights=False)
    return max(nested_conv_scratch_bytes(layer, dims), tiles) + tile


def nested_function(layer: Stream, *, in_parts: bool = False, pixels: int | None = None) -> str:
    """Names the function that runs a layer and links no more than the layer needs.

    Args:
        layer: The packed layer.
        in_parts: Whether the layer runs in parts though its levels can be read in place.
        pixels: The pixels of its output, batches included, if they are known.

    Returns:
        One of the functions in nk_nested_conv.h.
    """
    params, in_place = layer.params, not in_parts and is_in_place(layer)
    if (params.dilation_h, params.dilation_w) != (1, 1):
        return "nk_nested_conv_s8_ref" if in_place else "nk_nested_conv_s8"
    name = "depthwise" if has_depthwise_kernel(params) else "conv2d"
    if params.kind is LayerKind.FULLY_CONNECTED:
        name = "fully_connected"
    if not in_place:
        return f"nk_nested_{name}_parts_s8"
    if name == "conv2d" and not (
        chains.may_take(params, layer.levels) and (pixels is None or chains.may_pay(params, pixels))
    ):
        name = "conv2d_small"
    return f"nk_nested_{name}_s8"


def _kernel_bytes(
    params: LayerParams, dims: Sequence[int], encodings: Sequence[Encoding], list_bytes: int
) -> int:
    """Returns what the kernel of a layer needs, like nk_nested_conv_s8_get_kernel_size()."""
    output_h, output_w = dims[3:]
    row = _ACCUMULATOR_BYTES * output_w
    if params.kind is LayerKind.FULLY_CONNECTED:
        return 0
    if (params.dilation_h, params.dilation_w) != (1, 1):
        return output_h * row
    if has_depthwise_kernel(params):
        return max(row, _depthwise_bytes(params, output_h))
    if dense_pairs.takes(params, encodings):
        return max(row, dense_pairs.scratch_bytes(params))
    return max(row, _tiles_bytes(params, dims, list_bytes))


def _parts_bytes(layer: Stream, *, any_weights: bool) -> int:
    """Returns the bytes to unpack a part, with the part's share of the list of weights."""
    params = layer.params
    has_list = params.kind is LayerKind.CONV and (params.dilation_h, params.dilation_w) == (1, 1)
    levels = len(layer.levels) if any_weights else _stored_levels(layer)
    channel = 4 * (_ENTRY_WORDS * levels + _END_WORDS) if has_list else 0
    return parts_bytes(layer, channel, any_weights=any_weights)


def _part_list_bytes(layer: Stream) -> int:
    """Returns the bytes of the list that nk_stream_make_part() leaves."""
    if layer.params.kind is LayerKind.DEPTHWISE:
        return _stored_list_bytes(layer)
    return 4 * (_ENTRY_WORDS * _stored_levels(layer) + _END_WORDS + _STOP_WORDS)


def _stored_levels(layer: Stream) -> int:
    return sum(level.encoding is not Encoding.EMPTY for level in layer.levels)


def _depthwise_bytes(params: LayerParams, output_h: int) -> int:
    """Returns the bytes of a tile, like nk_nested_depthwise_s8_dsp_get_buffer_size()."""
    pairs = min(max(depthwise_pairs(params, output_h), _DEPTHWISE_LEAST_PAIRS), DEPTHWISE_PAIRS)
    return 4 * pairs * _DEPTHWISE_CHANNELS * DEPTHWISE_COLUMNS


def _stored_list_bytes(layer: Stream) -> int:
    """Returns the bytes of the list of the weights that a layer stores."""
    weights = sum(level.entries for level in layer.levels) * layer.params.block_size
    return _list_bytes(layer.params, _stored_levels(layer), weights)


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
    return 4 * (words + (_ENTRY_WORDS + 1) * pieces + _STOP_WORDS)


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
        columns * _POINTER_BYTES,
        list_bytes,
        group,
    )
    return sum(align(part, 4) for part in parts)
