"""Prepares the builtin operators without weights, with the parameters TFLite would compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from nested_keras.int8 import tables
from nested_keras.int8.softmax import softmax_parameters
from nested_keras.tflite import program
from nested_keras.tflite.operator_reader import Node
from nested_keras.tflite.operators.convolutions import (
    conv2d,
    depthwise_conv2d,
    fully_connected,
    window_geometry,
)
from nested_keras.tflite.program import Tensor

_ADD_LEFT_SHIFT = 20
_SIGMOID_SCALE = 1 / 256


def _binary(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Operands and result of ADD or MUL, with shapes that broadcast to the result's."""
    node.require_operands(2)
    a, b, y = node.activation(0), node.activation(1), node.result()
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = ()
    if shape != y.shape:
        raise node.error(
            f"shapes {list(a.shape)} and {list(b.shape)} do not broadcast to {list(y.shape)}"
        )
    if len(y.shape) > 4:
        raise node.unsupported(f"{len(y.shape)} dimensions (at most 4)")
    return a, b, y


def _add(node: Node) -> program.Add:
    a, b, y = _binary(node)
    low, high = node.activation_range(node.options("AddOptions").fusedActivationFunction, y)
    # Both inputs are brought to twice the larger scale, shifted left by 20 bits.
    common = 2 * max(a.scale, b.scale)
    factors = (
        node.multiplier(a.scale / common),
        node.multiplier(b.scale / common),
        node.multiplier(common / (2**_ADD_LEFT_SHIFT * y.scale)),
    )
    if factors[2][1] > 0:
        raise node.error(
            f"the output scale must be above {common / 2**_ADD_LEFT_SHIFT}: got {y.scale}"
        )
    return program.Add(
        **node.base(0, 1),
        left_shift=_ADD_LEFT_SHIFT,
        input1_offset=-a.zero_point,
        input1_multiplier=factors[0][0],
        input1_shift=factors[0][1],
        input2_offset=-b.zero_point,
        input2_multiplier=factors[1][0],
        input2_shift=factors[1][1],
        output_offset=y.zero_point,
        output_multiplier=factors[2][0],
        output_shift=factors[2][1],
        activation_min=low,
        activation_max=high,
    )


def _mul(node: Node) -> program.Mul:
    a, b, y = _binary(node)
    low, high = node.activation_range(node.options("MulOptions").fusedActivationFunction, y)
    # TFLite computes this factor in float32.
    factor = np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale)
    multiplier, shift = node.multiplier(float(factor))
    return program.Mul(
        **node.base(0, 1),
        input1_offset=-a.zero_point,
        input2_offset=-b.zero_point,
        output_offset=y.zero_point,
        output_multiplier=multiplier,
        output_shift=shift,
        activation_min=low,
        activation_max=high,
    )


def _pool(node: Node) -> dict[str, Any]:
    node.require_operands(1)
    options = node.options("Pool2DOptions")
    x, y = node.activation(0, rank=4), node.result(rank=4)
    _require_same_scale(node, x, y)
    node.positive(
        filter_h=options.filterHeight, filter_w=options.filterWidth,
        stride_h=options.strideH, stride_w=options.strideW,
    )  # fmt: skip
    out_h, pad_top = window_geometry(
        node, size=x.shape[1], kernel=options.filterHeight, stride=options.strideH, dilation=1,
        padding=options.padding,
    )  # fmt: skip
    out_w, pad_left = window_geometry(
        node, size=x.shape[2], kernel=options.filterWidth, stride=options.strideW, dilation=1,
        padding=options.padding,
    )  # fmt: skip
    node.require_shape(y, (x.shape[0], out_h, out_w, x.shape[3]))
    low, high = node.activation_range(options.fusedActivationFunction, y)
    return {
        **node.base(0),
        "filter_h": options.filterHeight,
        "filter_w": options.filterWidth,
        "stride_h": options.strideH,
        "stride_w": options.strideW,
        "pad_top": pad_top,
        "pad_left": pad_left,
        "activation_min": low,
        "activation_max": high,
    }


def _require_same_scale(node: Node, x: Tensor, y: Tensor) -> None:
    if (x.scale, x.zero_point) != (y.scale, y.zero_point):
        raise node.error(
            f"input and output must share scale and zero point: got {x.scale}, {x.zero_point} and "
            f"{y.scale}, {y.zero_point}"
        )


def _average_pool2d(node: Node) -> program.AveragePool2D:
    return program.AveragePool2D(**_pool(node))


def _max_pool2d(node: Node) -> program.MaxPool2D:
    return program.MaxPool2D(**_pool(node))


def _mean(node: Node) -> program.Mean:
    node.require_operands(2)
    node.options("ReducerOptions")
    x, y = node.activation(0), node.result()
    axes = np.ravel(node.constant(1, "int32"))
    if len(x.shape) != 4 or sorted({int(axis) % 4 for axis in axes}) != [1, 2]:
        raise node.unsupported(
            f"the mean must go over height and width of 4 dimensions: got axes {axes.tolist()} of "
            f"shape {list(x.shape)}"
        )
    batch, height, width, channels = x.shape
    if y.shape not in ((batch, 1, 1, channels), (batch, channels)):
        raise node.error(f"the output must be [{batch}, {channels}]: got {list(y.shape)}")
    multiplier, shift = node.multiplier(x.scale / y.scale)
    # 1 / count joins the multiplier: scaled up by the bit length of count to keep its precision.
    count = height * width
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return program.Mean(
        **node.base(0),
        input_offset=-x.zero_point,
        output_offset=y.zero_point,
        multiplier=(multiplier << extra) // count,
        shift=shift - extra,
    )


def _pad(node: Node) -> program.Pad:
    explicit = node.operator.kind == "PADV2"
    node.require_operands(3 if explicit else 2)
    x, y = node.activation(0), node.result()
    paddings = node.constant(1, "int32", "int64")
    if paddings.shape != (len(x.shape), 2) or (paddings < 0).any():
        raise node.error(
            f"paddings must be {len(x.shape)} pairs of non-negative numbers: "
            f"got {paddings.tolist()}"
        )
    if len(x.shape) > 4:
        raise node.unsupported(f"{len(x.shape)} dimensions (at most 4)")
    pairs = tuple((int(before), int(after)) for before, after in paddings)
    node.require_shape(
        y, tuple(size + sum(pair) for size, pair in zip(x.shape, pairs, strict=True))
    )
    value = y.zero_point
    if explicit:
        constant = node.constant(2, "int8")
        if constant.size != 1:
            raise node.error(f"the padding value must be one number: got {constant.size}")
        value = int(constant.ravel()[0])
    return program.Pad(**node.base(0), paddings=pairs, value=value)


def _reshape(node: Node) -> program.Reshape:
    node.require_operands(1, 2)
    x, y = node.activation(0), node.result()
    if x.size != y.size:
        raise node.error(f"cannot reshape {list(x.shape)} to {list(y.shape)}")
    return program.Reshape(**node.base(0))


def _concatenation(node: Node) -> program.Concatenation:
    count = len(node.operator.inputs)
    node.require_operands(1, max(count, 1))
    options = node.options("ConcatenationOptions")
    if options.fusedActivationFunction != 0:
        raise node.unsupported(f"fused activation function {options.fusedActivationFunction}")
    y = node.result()
    rank = len(y.shape)
    if not -rank <= options.axis < rank:
        raise node.error(f"axis must be in {-rank}..{rank - 1}: got {options.axis}")
    if rank > 4:
        raise node.unsupported(f"{rank} dimensions (at most 4)")
    axis = options.axis % rank
    parts = [node.activation(position, rank=rank) for position in range(count)]
    for part in parts:
        _require_same_scale(node, part, y)
        node.require_shape(part, (*y.shape[:axis], part.shape[axis], *y.shape[axis + 1 :]))
    if sum(part.shape[axis] for part in parts) != y.shape[axis]:
        raise node.error(f"the parts do not add up to {y.shape[axis]} along axis {axis}")
    return program.Concatenation(**node.base(*range(count)), axis=axis)


def _elementwise(node: Node) -> tuple[Tensor, Tensor]:
    node.require_operands(1)
    x, y = node.activation(0), node.result()
    node.require_shape(y, x.shape)
    return x, y


def _softmax(node: Node) -> program.Softmax:
    x, y = _elementwise(node)
    if not x.shape:
        raise node.error("the input must have at least one dimension")
    _require_sigmoid_output(node, y)
    try:
        parameters = softmax_parameters(node.options("SoftmaxOptions").beta, x.scale)
    except ValueError as error:
        raise node.error(str(error)) from error
    multiplier, shift, diff_min = parameters
    return program.Softmax(
        **node.base(0), input_multiplier=multiplier, input_left_shift=shift, diff_min=diff_min
    )


def _require_sigmoid_output(node: Node, y: Tensor) -> None:
    if (y.scale, y.zero_point) != (_SIGMOID_SCALE, -128):
        raise node.error(
            f"the output must have scale 1/256 and zero point -128: got {y.scale}, {y.zero_point}"
        )


def _lookup(node: Node, table: Callable[[tables.Scales], tables.Table]) -> program.Lookup:
    x, y = _elementwise(node)
    try:
        values = table(tables.Scales(x.scale, x.zero_point, y.scale, y.zero_point))
    except ValueError as error:
        raise node.error(str(error)) from error
    return program.Lookup(**node.base(0), table=values)


def _logistic(node: Node) -> program.Lookup:
    node.require_operands(1)
    _require_sigmoid_output(node, node.result())
    return _lookup(node, tables.logistic)


def _tanh(node: Node) -> program.Lookup:
    return _lookup(node, tables.tanh)


def _relu(node: Node) -> program.Lookup:
    return _lookup(node, tables.relu)


def _relu6(node: Node) -> program.Lookup:
    return _lookup(node, lambda scales: tables.relu(scales, maximum=6.0))


def _leaky_relu(node: Node) -> program.Lookup:
    alpha = node.options("LeakyReluOptions").alpha
    return _lookup(node, lambda scales: tables.leaky_relu(scales, alpha=alpha))


def _hard_swish(node: Node) -> program.Lookup:
    return _lookup(node, tables.hard_swish)


def _quantize(node: Node) -> program.Quantize | program.Lookup:
    node.require_operands(1)
    if node.graph.tensors[node.operator.inputs[0]].dtype == "int8":
        return _lookup(node, tables.rescale)
    x, y = node.activation(0, dtype="float32"), node.result()
    node.require_shape(y, x.shape)
    return program.Quantize(**node.base(0), scale=y.scale, zero_point=y.zero_point)


def _dequantize(node: Node) -> program.Dequantize:
    node.require_operands(1)
    x, y = node.activation(0), node.result(dtype="float32")
    node.require_shape(y, x.shape)
    return program.Dequantize(**node.base(0), scale=x.scale, zero_point=x.zero_point)


_Builder: TypeAlias = Callable[[Node], program.Op]
_BUILDERS: dict[str, _Builder] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool2d,
    "CONCATENATION": _concatenation,
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise_conv2d,
    "DEQUANTIZE": _dequantize,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": fully_connected,
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _logistic,
    "MAX_POOL_2D": _max_pool2d,
    "MEAN": _mean,
    "MUL": _mul,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RELU": _relu,
    "RELU6": _relu6,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
    "TANH": _tanh,
}
SUPPORTED: Sequence[str] = tuple(_BUILDERS)


def build(node: Node) -> program.Op:
    """Prepares a builtin operator.

    Raises:
      UnsupportedOpError: If there is no implementation for it.
      ModelError: If its operands or options are not consistent.
    """
    builder = _BUILDERS.get(node.operator.kind)
    if builder is None:
        raise node.unsupported(f"the supported ones are {', '.join(SUPPORTED)}")
    try:
        # Infinite factors are refused where they are used; here they become no NaN and no integer.
        with np.errstate(over="ignore", divide="raise", invalid="raise"):
            return builder(node)
    except (FloatingPointError, OverflowError) as error:
        raise node.error(f"its scales are out of range: {error}") from error
