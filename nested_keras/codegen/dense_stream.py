"""The packed stream of an operator; a dense convolution as one level for the tuned kernels."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from nested_keras import format as stream_format
from nested_keras.cortex_m import cycles
from nested_keras.tflite import operators, program as ir


def stream_of(
    op: ir.Op, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> stream_format.Stream | None:
    """Returns the packed weights that an operator reads, also of a dense one; None without any.

    Args:
        op: The operator.
        input_shape: Of its first input.
        output_shape: Of its output.
    """
    if isinstance(op, operators.NestedSparseConv):
        return op.layer
    return dense_stream(op, input_shape, output_shape) if isinstance(op, operators.Conv2D) else None


# The planner of the arena asks for the stream of an operator once for each group of operators.
@functools.lru_cache(maxsize=256)
def dense_stream(
    op: operators.Conv2D, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> stream_format.Stream | None:
    """Packs the weights and tables of a convolution, for the fewest predicted cycles.

    Args:
        op: The operator.
        input_shape: [n, h, w, in_channels].
        output_shape: [n, h, w, out_channels].

    Returns:
        A stream that gives the same bytes as the operator. None in two cases: the format cannot
        hold the operator (a multiplier is not normalised, or a channel has more than 65535
        weights), or no tuned kernel takes the dilation.
    """
    is_depthwise = isinstance(op, operators.DepthwiseConv2D)
    kind = stream_format.LayerKind.DEPTHWISE if is_depthwise else stream_format.LayerKind.CONV
    out_channels, kernel_h, kernel_w, _ = op.filter.shape
    shape = {
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "in_channels": input_shape[-1],
        "out_channels": out_channels,
    }
    same = {field.name for field in dataclasses.fields(stream_format.LayerParams)}
    same &= {field.name for field in dataclasses.fields(op)}
    size = cycles.ImageSize.of(kind, input_shape, output_shape)
    shift = op.shift.astype(np.int8)
    if np.any(shift != op.shift):
        return None
    try:
        params = stream_format.LayerParams(
            kind=kind, **shape, **{name: getattr(op, name) for name in same}
        )
        stream = cycles.pack_fastest(
            stream_format.NestedWeights(
                params,
                op.filter,
                np.zeros(op.filter.shape, np.uint8),
                op.bias[np.newaxis],
                op.multiplier[np.newaxis],
                shift[np.newaxis],
            ),
            size,
        )
    except stream_format.FormatError:
        return None
    dilation = (stream.params.dilation_h, stream.params.dilation_w)
    return stream if dilation == (1, 1) else None
