"""Small dense convolutions: which layers nk_dsp_dense.c runs, its memory and its parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from nested_keras.format import Encoding, LayerKind, LayerParams
from nested_keras.format.layout import align

# The same numbers as in tflm_ops/src/cortex_m/nk_dsp_dense.c.
_PASS_INPUTS = 4
_MAX_INPUTS = 64
_MAX_WEIGHT_BYTES = 6144
_GROUP = 4
_GROUP_BYTES = 76
_READ_AHEAD_BYTES = 8


def takes(params: LayerParams, encodings: Sequence[Encoding]) -> bool:
    """Says whether a layer is a convolution whose only weights are a small dense level 0.

    The same condition as nk_dsp_dense_takes().

    Args:
        params: The layer.
        encodings: Of its levels.
    """
    return (
        params.kind is LayerKind.CONV
        and (params.dilation_h, params.dilation_w) == (1, 1)
        and encodings[:1] == [Encoding.DENSE]
        and all(encoding is Encoding.EMPTY for encoding in encodings[1:])
        and params.weights_per_channel <= _MAX_INPUTS
        and _weight_bytes(params) <= _MAX_WEIGHT_BYTES
    )


def scratch_bytes(params: LayerParams) -> int:
    """Returns the bytes of all buffers of such a layer, like nk_dsp_dense_bytes()."""
    pair_and_window = 5 * _inputs(params) + _READ_AHEAD_BYTES
    return _groups(params) * _GROUP_BYTES + _weight_bytes(params) + pair_and_window


def features(
    params: LayerParams, batches: int, rows: tuple[int, int], columns: tuple[int, int]
) -> Counter[str]:
    """Counts how often each part of the kernel runs.

    Args:
        params: The layer.
        batches: Number of images.
        rows: Rows of its input and of its output.
        columns: Columns likewise.
    """
    pixels = batches * rows[1] * columns[1]
    inside = batches * _inside(*rows, params.kernel_h, params.stride_h, params.pad_top)
    inside *= _inside(*columns, params.kernel_w, params.stride_w, params.pad_left)
    pairs, groups = -(-pixels // 2), _groups(params)
    row = params.kernel_w * params.in_channels
    gather = "nines" if (params.kernel_h, row) == (3, 9) else "fours" if row % 4 == 0 else "any"
    counts = Counter({"pairs.call": 1, "pairs.pair": pairs, "pairs.group": pairs * groups})
    counts["pairs.channel"] = params.out_channels
    counts["pairs.weight"] = params.out_channels * params.weights_per_channel
    counts["pairs.pass"] = pairs * groups * (_inputs(params) // _PASS_INPUTS)
    counts[f"pairs.gather.{gather}"] = pixels * params.weights_per_channel
    counts["pairs.rows"] = pixels * params.kernel_h
    counts["pairs.padded"] = (pixels - inside) * params.weights_per_channel
    channels = params.out_channels
    if (params.activation_min, params.activation_max) == (-128, 127):
        channels %= _GROUP  # the channels of an incomplete group
    counts["pairs.exact"] = pixels * channels
    return counts


def _inside(inputs: int, outputs: int, kernel: int, stride: int, pad: int) -> int:
    """Returns how many windows along a side see no padding."""
    return sum(0 <= i * stride - pad <= inputs - kernel for i in range(outputs))


def _groups(params: LayerParams) -> int:
    return -(-params.out_channels // _GROUP)


def _inputs(params: LayerParams) -> int:
    """Returns the inputs of a window, rounded up to whole passes of the loop."""
    return align(math.prod(params.filter_shape[1:]), _PASS_INPUTS)


def _weight_bytes(params: LayerParams) -> int:
    """Returns the bytes of the widened weights."""
    return 2 * _groups(params) * _GROUP * _inputs(params)
