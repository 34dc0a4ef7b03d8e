"""Prepares the operators with weights: the convolutions, FULLY_CONNECTED and the nested one."""

from __future__ import annotations

from typing import Any

import numpy as np

from nested_keras.format import FormatError, LayerKind, LayerParams, Stream
from nested_keras.tflite import program
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operator_reader import Node
from nested_keras.tflite.program import Tensor

NESTED_SPARSE_CONV = "NESTED_SPARSE_CONV"

_PADDINGS = {0: "SAME", 1: "VALID"}


def window_geometry(
    node: Node, *, size: int, kernel: int, stride: int, dilation: int, padding: int
) -> tuple[int, int]:
    """Output size and padding before, along one axis, as TFLite computes them."""
    if padding not in _PADDINGS:
        raise node.error(f"padding must be SAME (0) or VALID (1): got {padding}")
    extent = (kernel - 1) * dilation + 1
    sizes = {"SAME": -(-size // stride), "VALID": (size - extent) // stride + 1}
    output = sizes[_PADDINGS[padding]]
    if output < 1:
        raise node.error(f"a window of {extent} pixels does not fit into {size}")
    return output, max((output - 1) * stride + extent - size, 0) // 2


def conv2d(node: Node) -> program.Conv2D:
    """CONV_2D."""
    node.require_operands(2, 3)
    options = node.options("Conv2DOptions")
    x, weights = node.activation(0, rank=4), node.constant(1, "int8")
    if weights.ndim != 4:
        raise node.error(f"the filter must have 4 dimensions: got {list(weights.shape)}")
    if weights.shape[3] != x.shape[3]:
        raise node.unsupported(
            f"grouped convolution: the filter has {weights.shape[3]} input channels, the input "
            f"{x.shape[3]}"
        )
    fields = _spatial(node, options, x, kernel=weights.shape[1:3], channels=weights.shape[0])
    return program.Conv2D(filter=weights, **fields)


def depthwise_conv2d(node: Node) -> program.DepthwiseConv2D:
    """DEPTHWISE_CONV_2D: the file's filter [1, h, w, out] becomes [out, h, w, 1]."""
    node.require_operands(2, 3)
    options = node.options("DepthwiseConv2DOptions")
    x, weights = node.activation(0, rank=4), node.constant(1, "int8")
    if weights.ndim != 4 or weights.shape[0] != 1 or weights.shape[3] % x.shape[3]:
        raise node.error(
            f"the filter must have the shape [1, h, w, k * {x.shape[3]}]: got {list(weights.shape)}"
        )
    fields = _spatial(node, options, x, kernel=weights.shape[1:3], channels=weights.shape[3])
    return program.DepthwiseConv2D(
        filter=np.ascontiguousarray(weights.transpose(3, 1, 2, 0)),
        depth_multiplier=weights.shape[3] // x.shape[3],
        **fields,
    )


def _spatial(
    node: Node, options: Any, x: Tensor, *, kernel: tuple[int, ...], channels: int
) -> dict[str, Any]:
    """Fields that the two convolutions share."""
    kernel_h, kernel_w = kernel
    stride_h, stride_w = options.strideH, options.strideW
    dilation_h, dilation_w = options.dilationHFactor, options.dilationWFactor
    node.positive(
        kernel_h=kernel_h, kernel_w=kernel_w, stride_h=stride_h, stride_w=stride_w,
        dilation_h=dilation_h, dilation_w=dilation_w, channels=channels,
    )  # fmt: skip
    y = node.result(rank=4)
    out_h, pad_top = window_geometry(
        node, size=x.shape[1], kernel=kernel_h, stride=stride_h, dilation=dilation_h,
        padding=options.padding,
    )  # fmt: skip
    out_w, pad_left = window_geometry(
        node, size=x.shape[2], kernel=kernel_w, stride=stride_w, dilation=dilation_w,
        padding=options.padding,
    )  # fmt: skip
    node.require_shape(y, (x.shape[0], out_h, out_w, channels))
    scales = np.broadcast_to(node.filter_quantization(channels).scales, (channels,))
    return {
        "stride_h": stride_h,
        "stride_w": stride_w,
        "dilation_h": dilation_h,
        "dilation_w": dilation_w,
        "pad_top": pad_top,
        "pad_left": pad_left,
        # TFLite multiplies and divides the scales in double.
        **_weighted(node, options, x, y, [x.scale * float(s) / y.scale for s in scales]),
    }


def fully_connected(node: Node) -> program.FullyConnected:
    """FULLY_CONNECTED with constant weights."""
    node.require_operands(2, 3)
    options = node.options("FullyConnectedOptions")
    if options.weightsFormat != 0:
        raise node.unsupported(f"weights format {options.weightsFormat}")
    x, weights = node.activation(0), node.constant(1, "int8")
    if weights.ndim != 2 or 0 in weights.shape or x.size % weights.shape[1]:
        raise node.error(
            f"the filter must be [out, in] with `in` dividing the input size {x.size}: "
            f"got {list(weights.shape)}"
        )
    y = node.result()
    channels, features = weights.shape
    if y.shape[-1:] != (channels,) or y.size != x.size // features * channels:
        raise node.error(
            f"the output must hold {x.size // features} rows of {channels}: got {list(y.shape)}"
        )
    scales = np.broadcast_to(node.filter_quantization(channels).scales, (channels,))
    factors = [x.scale * float(s) / y.scale for s in scales]
    return program.FullyConnected(filter=weights, **_weighted(node, options, x, y, factors))


def _weighted(
    node: Node, options: Any, x: Tensor, y: Tensor, factors: list[float]
) -> dict[str, Any]:
    """Fields that every operator with weights has; `factors` are the real multipliers."""
    low, high = node.activation_range(options.fusedActivationFunction, y)
    pairs = [node.multiplier(factor) for factor in factors]
    return {
        **node.base(0),
        "bias": node.bias(len(factors)),
        "multiplier": np.array([multiplier for multiplier, _ in pairs], np.int32),
        "shift": np.array([shift for _, shift in pairs], np.int32),
        "input_offset": -x.zero_point,
        "output_offset": y.zero_point,
        "activation_min": low,
        "activation_max": high,
    }


def nested_sparse_conv(node: Node, *, level_input: int | None) -> program.NestedSparseConv:
    """NESTED_SPARSE_CONV: inputs [x, level or -1, stream]; the stream must fit the tensors."""
    node.require_operands(3)
    if node.operator.custom_options:
        raise node.error(
            f"expected no custom options: got {len(node.operator.custom_options)} bytes"
        )
    level = node.operator.inputs[1]
    if level >= 0 and level != level_input:
        raise node.error(
            f"input 1 must be the int32[1] graph input 'level' or left out: "
            f"got {node.graph.tensors[level].name!r}"
        )
    try:
        layer = Stream.parse(node.constant(2, "uint8").tobytes())
    except FormatError as error:
        raise node.error(f"the packed stream is not valid: {error}") from error
    try:
        require_fit(layer.params, node.activation(0), node.result())
    except StreamMismatchError as error:
        raise node.error(str(error)) from error
    return program.NestedSparseConv(layer=layer, **node.base(0))


class StreamMismatchError(ModelError):
    """A packed stream that does not fit the tensors of its operator."""


def require_fit(params: LayerParams, x: Tensor, y: Tensor) -> None:
    """Checks a stream's parameters against the input and output of its operator.

    Raises:
      StreamMismatchError: If shapes or zero points disagree.
    """
    for what, expected, found in (
        ("input offset", -x.zero_point, params.input_offset),
        ("output offset", y.zero_point, params.output_offset),
    ):
        if expected != found:
            raise StreamMismatchError(f"the stream's {what} must be {expected}: got {found}")
    widths = f"{params.in_channels} -> {params.out_channels}"
    shapes = f"the shapes {list(x.shape)} -> {list(y.shape)}"
    if params.kind == LayerKind.FULLY_CONNECTED:
        rows = x.size // params.in_channels
        if x.size % params.in_channels or y.size != rows * params.out_channels:
            raise StreamMismatchError(f"a stream of {widths} features does not fit {shapes}")
        return
    if (len(x.shape), len(y.shape)) != (4, 4) or (x.shape[0], params.in_channels, y.shape[3]) != (
        y.shape[0],
        x.shape[3],
        params.out_channels,
    ):
        raise StreamMismatchError(f"a stream of {widths} channels does not fit {shapes}")
    for axis, kernel, stride, dilation, before in (
        (1, params.kernel_h, params.stride_h, params.dilation_h, params.pad_top),
        (2, params.kernel_w, params.stride_w, params.dilation_w, params.pad_left),
    ):
        # The padding behind is between 0 (VALID) and before + 1 (SAME with an odd total).
        room = x.shape[axis] + before - ((kernel - 1) * dilation + 1)
        low = max(room // stride + 1, 1)
        high = (room + before + 1) // stride + 1
        if not low <= y.shape[axis] <= high:
            raise StreamMismatchError(
                f"axis {axis}: {kernel} taps, stride {stride}, dilation {dilation} and padding "
                f"{before} do not take {x.shape[axis]} pixels to {y.shape[axis]}"
            )
