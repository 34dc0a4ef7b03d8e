"""int8 operators in NumPy, bit-exact with TFLite's reference kernels (docs/quantization.md).

Every kernel takes its prepared operator from `program`, so the numbers it computes with are the
very numbers that generated C code carries. Activations are NHWC with any batch size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.format import LayerKind, Stream
from nested_keras.int8.fixed_point import (
    Int64Array,
    multiply_by_quantized_multiplier,
    multiply_with_single_rounding,
    wrap_int32,
)
from nested_keras.int8.softmax import softmax
from nested_keras.tflite import program
from nested_keras.typing import Int8Array

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def run_op(op: program.Op, inputs: Sequence[Array], output_shape: Shape, level: int = 0) -> Array:
    """Runs one operator.

    Args:
      op: The prepared operator.
      inputs: Its activations, in the order of `op.inputs`; the first axis may be any batch size.
      output_shape: Shape of the output with that batch size.
      level: Nested level; only NESTED_SPARSE_CONV looks at it.

    Returns:
      The output: int8, or float32 for a Dequantize.
    """
    if isinstance(op, program.NestedSparseConv):
        op = dense_op(op.layer, level)
    return _KERNELS[type(op)](op, inputs, output_shape).reshape(output_shape)


@functools.lru_cache(maxsize=256)
def dense_op(layer: Stream, level: int) -> program.Op:
    """The dense operator that computes what one level of a packed stream computes.

    Args:
      layer: The packed stream.
      level: 0 .. levels - 1.

    Returns:
      A Conv2D, DepthwiseConv2D or FullyConnected whose pruned weights are zero.

    Raises:
      ValueError: If the level is out of range.
    """
    nested, p = layer.weights, layer.params
    if not 0 <= level < nested.levels:
        raise ValueError(f"level must be in 0..{nested.levels - 1}: got {level}")
    weights = layer.kernel(level)
    common: dict[str, Any] = {
        "name": "",
        "inputs": (),
        "outputs": (),
        "bias": nested.bias[level],
        "multiplier": nested.multiplier[level],
        "shift": nested.shift[level].astype(np.int32),
        "input_offset": p.input_offset,
        "output_offset": p.output_offset,
        "activation_min": p.activation_min,
        "activation_max": p.activation_max,
    }
    if p.kind == LayerKind.FULLY_CONNECTED:
        return program.FullyConnected(filter=weights.reshape(p.out_channels, -1), **common)
    common.update(
        stride_h=p.stride_h,
        stride_w=p.stride_w,
        dilation_h=p.dilation_h,
        dilation_w=p.dilation_w,
        pad_top=p.pad_top,
        pad_left=p.pad_left,
    )
    if p.kind == LayerKind.DEPTHWISE:
        return program.DepthwiseConv2D(
            filter=weights, depth_multiplier=p.depth_multiplier, **common
        )
    return program.Conv2D(filter=weights, **common)


def _conv2d(op: program.Conv2D, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    filters, kernel_h, kernel_w, channels = op.filter.shape
    dtype = _exact_float(op.filter)
    taps = _taps(inputs[0].astype(dtype) + op.input_offset, op, output_shape)
    batch = inputs[0].shape[0]
    patches = np.stack(taps, axis=3).reshape(-1, kernel_h * kernel_w * channels)
    acc = patches @ op.filter.reshape(filters, -1).T.astype(dtype)
    return _requantize(acc.reshape(batch, *output_shape[1:3], filters).astype(np.int64), op)


def _depthwise_conv2d(
    op: program.DepthwiseConv2D, inputs: Sequence[Array], output_shape: Shape
) -> Int8Array:
    x = np.repeat(inputs[0].astype(np.int32) + op.input_offset, op.depth_multiplier, axis=3)
    _, kernel_h, kernel_w, _ = op.filter.shape
    weights = op.filter.astype(np.int32).reshape(-1, kernel_h * kernel_w).T
    acc = np.zeros((x.shape[0], *output_shape[1:]), np.int32)
    for tap, weight in zip(_taps(x, op, output_shape), weights, strict=True):
        acc += tap * weight
    return _requantize(acc.astype(np.int64), op)


def _fully_connected(
    op: program.FullyConnected, inputs: Sequence[Array], output_shape: Shape
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
    channels = weights.reshape(weights.shape[0], -1).astype(np.int64)
    bound = 255 * int(np.abs(channels).sum(axis=1).max(initial=0))
    return np.float32 if bound <= 2**24 else np.float64


def _taps(x: Array, op: program.Conv2D, output_shape: Shape) -> list[Array]:
    """For each kernel position the input pixels it meets: kh*kw views [n, oh, ow, channels].

    `x` has the input offset added, so padding pixels are zero.
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


def _requantize(acc: Int64Array, op: program.Conv2D) -> Int8Array:
    """Bias, per-channel multiplier, output offset and activation; channels are the last axis."""
    y = multiply_by_quantized_multiplier(acc + op.bias, op.multiplier, op.shift)
    return _clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _clamp(y: Int64Array, low: int, high: int) -> Int8Array:
    # The C kernels add the output offset in 32 bits.
    return np.clip(wrap_int32(y), low, high).astype(np.int8)


def _add(op: program.Add, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    a, b = (x.astype(np.int64) for x in inputs)
    scaled_a = multiply_by_quantized_multiplier(
        (a + op.input1_offset) << op.left_shift, op.input1_multiplier, op.input1_shift
    )
    scaled_b = multiply_by_quantized_multiplier(
        (b + op.input2_offset) << op.left_shift, op.input2_multiplier, op.input2_shift
    )
    y = multiply_by_quantized_multiplier(scaled_a + scaled_b, op.output_multiplier, op.output_shift)
    return _clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _mul(op: program.Mul, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    a, b = (x.astype(np.int64) for x in inputs)
    product = (a + op.input1_offset) * (b + op.input2_offset)
    y = multiply_by_quantized_multiplier(product, op.output_multiplier, op.output_shift)
    return _clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _windows(x: Array, op: program.Pool2D, output_shape: Shape, *, fill: int) -> Array:
    """Pooling windows [n, oh, ow, channels, fh, fw]; pixels outside the input hold `fill`."""
    _, out_h, out_w, _ = output_shape
    batch, height, width, channels = x.shape
    rows = max((out_h - 1) * op.stride_h + op.filter_h, op.pad_top + height)
    columns = max((out_w - 1) * op.stride_w + op.filter_w, op.pad_left + width)
    padded = np.full((batch, rows, columns, channels), fill, x.dtype)
    padded[:, op.pad_top : op.pad_top + height, op.pad_left : op.pad_left + width] = x
    views = np.lib.stride_tricks.sliding_window_view(padded, (op.filter_h, op.filter_w), (1, 2))
    return views[:, :: op.stride_h, :: op.stride_w][:, :out_h, :out_w]


def _average_pool2d(
    op: program.AveragePool2D, inputs: Sequence[Array], output_shape: Shape
) -> Int8Array:
    x = inputs[0].astype(np.int32)
    total = _windows(x, op, output_shape, fill=0).sum(axis=(-2, -1), dtype=np.int64)
    ones = np.ones((1, *x.shape[1:3], 1), np.int32)
    count = _windows(ones, op, output_shape, fill=0).sum(axis=(-2, -1), dtype=np.int64)
    # Rounded half away from zero: C division truncates towards zero.
    mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return _clamp(mean, op.activation_min, op.activation_max)


def _max_pool2d(op: program.MaxPool2D, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    y = _windows(inputs[0], op, output_shape, fill=-128).max(axis=(-2, -1))
    return _clamp(y.astype(np.int64), op.activation_min, op.activation_max)


def _mean(op: program.Mean, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    total = (inputs[0].astype(np.int64) + op.input_offset).sum(axis=(1, 2))
    y = multiply_by_quantized_multiplier(total, op.multiplier, op.shift)
    return _clamp(y + op.output_offset, -128, 127)


def _pad(op: program.Pad, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    return np.pad(inputs[0], op.paddings, constant_values=op.value)


def _reshape(op: program.Reshape, inputs: Sequence[Array], output_shape: Shape) -> Array:
    return inputs[0].reshape(output_shape)


def _concatenation(
    op: program.Concatenation, inputs: Sequence[Array], output_shape: Shape
) -> Array:
    return np.concatenate(inputs, axis=op.axis)


def _softmax(op: program.Softmax, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    return softmax(
        inputs[0],
        input_multiplier=op.input_multiplier,
        input_left_shift=op.input_left_shift,
        diff_min=op.diff_min,
    )


def _lookup(op: program.Lookup, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    return op.table[inputs[0].astype(np.int64) + 128]


def _quantize(op: program.Quantize, inputs: Sequence[Array], output_shape: Shape) -> Int8Array:
    return quantize(inputs[0], scale=op.scale, zero_point=op.zero_point)


def _dequantize(
    op: program.Dequantize, inputs: Sequence[Array], output_shape: Shape
) -> npt.NDArray[np.float32]:
    return dequantize(inputs[0], scale=op.scale, zero_point=op.zero_point)


def quantize(x: Array, *, scale: float, zero_point: int) -> Int8Array:
    """float32 -> int8: round(x / scale) half away from zero, plus zero point, saturated.

    The division is TFLite's: in float32. A NaN gives the zero point (docs/quantization.md).
    """
    with np.errstate(over="ignore"):  # a quotient of infinity saturates
        scaled = np.asarray(x, np.float32) / np.float32(scale)
    # Beyond +-256 the result is saturated whatever the zero point; clip before the integer cast.
    limited = np.clip(np.nan_to_num(scaled.astype(np.float64), nan=0.0), -512.0, 512.0)
    rounded = np.sign(limited) * np.floor(np.abs(limited) + 0.5)
    return _clamp(rounded.astype(np.int64) + zero_point, -128, 127)


def dequantize(x: Array, *, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """int8 -> float32: scale * (x - zero_point), rounded once."""
    return np.float32(scale) * (x.astype(np.int32) - zero_point).astype(np.float32)


# A kernel takes its own operator class, the activations and the output shape.
_Kernel: TypeAlias = Callable[[Any, Sequence[Array], Shape], Array]
_KERNELS: dict[type[program.Op], _Kernel] = {
    program.Conv2D: _conv2d,
    program.DepthwiseConv2D: _depthwise_conv2d,
    program.FullyConnected: _fully_connected,
    program.Add: _add,
    program.Mul: _mul,
    program.AveragePool2D: _average_pool2d,
    program.MaxPool2D: _max_pool2d,
    program.Mean: _mean,
    program.Pad: _pad,
    program.Reshape: _reshape,
    program.Concatenation: _concatenation,
    program.Softmax: _softmax,
    program.Lookup: _lookup,
    program.Quantize: _quantize,
    program.Dequantize: _dequantize,
}
