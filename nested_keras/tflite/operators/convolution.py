"""The operators with dense weights: CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import (
    Int64Array,
    multiply_by_quantized_multiplier,
    multiply_with_single_rounding,
)
from nested_keras.tflite.file_reader import Quantization
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    MAX_RANK,
    Array,
    CArgument,
    CCall,
    Registration,
    RowWindow,
    Shape,
    clamp,
    own_fields,
)
from nested_keras.tflite.operators.window import require_positive, window_geometry
from nested_keras.tflite.program import Op, Tensor
from nested_keras.typing import Int8Array, Int32Array


@dataclass(frozen=True, eq=False)
class Conv2D(Op):
    """Dense int8 convolution with one (multiplier, shift) per output channel."""

    filter: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int32Array
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D(Conv2D):
    """Dense int8 depthwise convolution.

    Output channel c reads input channel c // depth_multiplier; the filter is [out, h, w, 1].
    """

    depth_multiplier: int


@dataclass(frozen=True, eq=False)
class FullyConnected(Op):
    """Dense int8 matrix product.

    The filter is [out_features, in_features], the input is flattened to [rows, in_features]. The
    multiplier is applied with one rounding (half away from zero), unlike in a convolution.
    """

    filter: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int32Array
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


def _read_conv2d(reader: OperatorReader) -> Conv2D:
    """CONV_2D."""
    reader.require_operands(2, 3)
    options = reader.options("Conv2DOptions")
    x, weights = reader.activation(0, rank=4), reader.constant(1, "int8")
    if weights.ndim != 4:
        raise reader.error(f"the filter must have 4 dimensions: got {list(weights.shape)}")
    if weights.shape[3] != x.shape[3]:
        raise reader.unsupported(
            f"grouped convolution: the filter has {weights.shape[3]} input channels, the input "
            f"{x.shape[3]}"
        )
    fields = _spatial(reader, options, x, kernel=weights.shape[1:3], channels=weights.shape[0])
    return Conv2D(filter=weights, **fields)


def _read_depthwise_conv2d(reader: OperatorReader) -> DepthwiseConv2D:
    """DEPTHWISE_CONV_2D: the file's filter [1, h, w, out] becomes [out, h, w, 1]."""
    reader.require_operands(2, 3)
    options = reader.options("DepthwiseConv2DOptions")
    x, weights = reader.activation(0, rank=4), reader.constant(1, "int8")
    if weights.ndim != 4 or weights.shape[0] != 1 or weights.shape[3] % x.shape[3]:
        raise reader.error(
            f"the filter must have the shape [1, h, w, k * {x.shape[3]}]: got {list(weights.shape)}"
        )
    fields = _spatial(reader, options, x, kernel=weights.shape[1:3], channels=weights.shape[3])
    return DepthwiseConv2D(
        filter=np.ascontiguousarray(weights.transpose(3, 1, 2, 0)),
        depth_multiplier=weights.shape[3] // x.shape[3],
        **fields,
    )


def _spatial(
    reader: OperatorReader, options: Any, x: Tensor, *, kernel: tuple[int, ...], channels: int
) -> dict[str, Any]:
    """The fields that both convolutions share."""
    kernel_h, kernel_w = kernel
    stride_h, stride_w = options.strideH, options.strideW
    dilation_h, dilation_w = options.dilationHFactor, options.dilationWFactor
    require_positive(
        reader, kernel_h=kernel_h, kernel_w=kernel_w, stride_h=stride_h, stride_w=stride_w,
        dilation_h=dilation_h, dilation_w=dilation_w, channels=channels,
    )  # fmt: skip
    y = reader.result(rank=4)
    out_h, pad_top = window_geometry(
        reader, size=x.shape[1], kernel=kernel_h, stride=stride_h, dilation=dilation_h,
        padding=options.padding,
    )  # fmt: skip
    out_w, pad_left = window_geometry(
        reader, size=x.shape[2], kernel=kernel_w, stride=stride_w, dilation=dilation_w,
        padding=options.padding,
    )  # fmt: skip
    reader.require_shape(y, (x.shape[0], out_h, out_w, channels))
    scales = np.broadcast_to(_filter_quantization(reader, channels).scales, (channels,))
    return {
        "stride_h": stride_h,
        "stride_w": stride_w,
        "dilation_h": dilation_h,
        "dilation_w": dilation_w,
        "pad_top": pad_top,
        "pad_left": pad_left,
        # TFLite multiplies and divides the scales in double.
        **_weighted(reader, options, x, y, [x.scale * float(s) / y.scale for s in scales]),
    }


def _read_fully_connected(reader: OperatorReader) -> FullyConnected:
    """FULLY_CONNECTED with constant weights."""
    reader.require_operands(2, 3)
    options = reader.options("FullyConnectedOptions")
    if options.weightsFormat != 0:
        raise reader.unsupported(f"weights format {options.weightsFormat}")
    x, weights = reader.activation(0), reader.constant(1, "int8")
    if weights.ndim != 2 or 0 in weights.shape or x.size % weights.shape[1]:
        raise reader.error(
            f"the filter must be [out, in] with `in` dividing the input size {x.size}: "
            f"got {list(weights.shape)}"
        )
    y = reader.result()
    channels, features = weights.shape
    if y.shape[-1:] != (channels,) or y.size != x.size // features * channels:
        raise reader.error(
            f"the output must hold {x.size // features} rows of {channels}: got {list(y.shape)}"
        )
    scales = np.broadcast_to(_filter_quantization(reader, channels).scales, (channels,))
    factors = [x.scale * float(s) / y.scale for s in scales]
    return FullyConnected(filter=weights, **_weighted(reader, options, x, y, factors))


def _weighted(
    reader: OperatorReader, options: Any, x: Tensor, y: Tensor, factors: list[float]
) -> dict[str, Any]:
    """The fields of every operator with weights; `factors` are the real multipliers."""
    low, high = reader.activation_range(options.fusedActivationFunction, y)
    pairs = [reader.multiplier(factor) for factor in factors]
    return {
        **reader.base(0),
        "bias": _bias(reader, len(factors)),
        "multiplier": np.array([multiplier for multiplier, _ in pairs], np.int32),
        "shift": np.array([shift for _, shift in pairs], np.int32),
        "input_offset": -x.zero_point,
        "output_offset": y.zero_point,
        "activation_min": low,
        "activation_max": high,
    }


def _bias(reader: OperatorReader, channels: int) -> npt.NDArray[np.int32]:
    """The optional int32 bias at input 2; zeros without a bias."""
    if len(reader.operator.inputs) < 3 or reader.operator.inputs[2] < 0:
        return np.zeros(channels, np.int32)
    value = reader.constant(2, "int32")
    if value.shape != (channels,):
        raise reader.error(f"the bias must have {channels} values: got {list(value.shape)}")
    return value


def _filter_quantization(reader: OperatorReader, channels: int) -> Quantization:
    """Scales of the filter at input 1: one or one per output channel, zero points zero."""
    quantization = reader.graph.quantization[reader.operator.inputs[1]]
    if quantization.scales.size not in (1, channels):
        raise reader.error(
            f"the filter must have 1 or {channels} scales: got {quantization.scales.size}"
        )
    if quantization.zero_points.any():
        raise reader.error("the filter must be quantised symmetrically (zero point 0)")
    return quantization


def _run_conv2d(op: Conv2D, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    filters, kernel_h, kernel_w, channels = op.filter.shape
    dtype = _exact_float(op.filter)
    taps = _taps(inputs[0].astype(dtype) + op.input_offset, op, output_shape)
    batch = inputs[0].shape[0]
    patches = np.stack(taps, axis=3).reshape(-1, kernel_h * kernel_w * channels)
    acc = patches @ op.filter.reshape(filters, -1).T.astype(dtype)
    return _requantize(acc.reshape(batch, *output_shape[1:3], filters).astype(np.int64), op)


def _run_depthwise_conv2d(
    op: DepthwiseConv2D, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    x = np.repeat(inputs[0].astype(np.int32) + op.input_offset, op.depth_multiplier, axis=3)
    _, kernel_h, kernel_w, _ = op.filter.shape
    weights = op.filter.astype(np.int32).reshape(-1, kernel_h * kernel_w).T
    acc = np.zeros((x.shape[0], *output_shape[1:]), np.int32)
    for tap, weight in zip(_taps(x, op, output_shape), weights, strict=True):
        acc += tap * weight
    return _requantize(acc.astype(np.int64), op)


def _run_fully_connected(
    op: FullyConnected, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    dtype = _exact_float(op.filter)
    x = inputs[0].astype(dtype).reshape(-1, op.filter.shape[1]) + op.input_offset
    acc = (x @ op.filter.T.astype(dtype)).astype(np.int64) + op.bias
    # One rounding, not two: see docs/quantization.md.
    y = multiply_with_single_rounding(acc, op.multiplier, op.shift) + op.output_offset
    return np.clip(y, op.activation_min, op.activation_max).astype(np.int8)


def _exact_float(weights: Int8Array) -> type[np.floating[Any]]:
    """The narrowest float type in which every partial sum of weight * (x + offset) is exact."""
    # |x + offset| <= 255, so each partial sum is an integer of magnitude at most this bound.
    magnitudes = np.abs(weights.reshape(weights.shape[0], -1), dtype=np.int16)
    bound = 255 * int(magnitudes.sum(axis=1, dtype=np.int64).max(initial=0))
    return np.float32 if bound <= 2**24 else np.float64


def _taps(x: Array, op: Conv2D, output_shape: Shape) -> list[Array]:
    """For each kernel position, its input pixels: kh*kw views [n, oh, ow, channels].

    `x` includes the input offset, so padding pixels are zero.
    """
    _, kernel_h, kernel_w, _ = op.filter.shape
    _, out_h, out_w, _ = output_shape
    span_h = (out_h - 1) * op.stride_h + 1
    span_w = (out_w - 1) * op.stride_w + 1
    rows = span_h + (kernel_h - 1) * op.dilation_h
    columns = span_w + (kernel_w - 1) * op.dilation_w
    batch, height, width, channels = x.shape
    padded = np.zeros(
        (batch, max(rows, op.pad_top + height), max(columns, op.pad_left + width), channels),
        x.dtype,
    )
    padded[:, op.pad_top : op.pad_top + height, op.pad_left : op.pad_left + width] = x
    return [
        padded[:, top : top + span_h : op.stride_h, left : left + span_w : op.stride_w]
        for top in range(0, kernel_h * op.dilation_h, op.dilation_h)
        for left in range(0, kernel_w * op.dilation_w, op.dilation_w)
    ]


def _requantize(acc: Int64Array, op: Conv2D) -> Int8Array:
    """Bias, per-channel multiplier, output offset and activation; channels are the last axis."""
    y = multiply_by_quantized_multiplier(acc + op.bias, op.multiplier, op.shift)
    return clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _with_filter_dims(op: Conv2D | FullyConnected, rank: int) -> dict[str, Any]:
    """Returns the fields in C, where the dimensions of the filter follow the filter."""
    shape = op.filter.shape
    dims = shape if len(shape) == MAX_RANK else (shape[0], 1, 1, shape[1])
    fields: dict[str, Any] = {}
    for name, value in own_fields(op).items():
        fields[name] = value
        if name == "filter":
            fields["filter_dims"] = dims
    return fields


def _rows(op: FullyConnected, shape: Shape) -> int:
    return math.prod(shape) // op.filter.shape[1]


def _row_window(op: Conv2D) -> RowWindow:
    return RowWindow((op.filter.shape[1] - 1) * op.dilation_h + 1, op.stride_h, op.pad_top)


_WINDOW_ARGUMENTS = (CArgument.INPUTS, CArgument.OUTPUT_DIMS, CArgument.OUTPUT)

OPERATORS = (
    Registration(
        Conv2D,
        readers={"CONV_2D": _read_conv2d},
        run=_run_conv2d,
        c_call=CCall(
            "nk_conv2d_s8", _WINDOW_ARGUMENTS, parameters=_with_filter_dims, slides_a_window=True
        ),
        row_window=_row_window,
    ),
    Registration(
        DepthwiseConv2D,
        readers={"DEPTHWISE_CONV_2D": _read_depthwise_conv2d},
        run=_run_depthwise_conv2d,
        c_call=CCall(
            "nk_depthwise_conv2d_s8",
            _WINDOW_ARGUMENTS,
            parameters=_with_filter_dims,
            slides_a_window=True,
        ),
        row_window=_row_window,
    ),
    Registration(
        FullyConnected,
        readers={"FULLY_CONNECTED": _read_fully_connected},
        run=_run_fully_connected,
        c_call=CCall(
            "nk_fully_connected_s8",
            (_rows, CArgument.INPUT, CArgument.OUTPUT),
            parameters=_with_filter_dims,
        ),
    ),
)
