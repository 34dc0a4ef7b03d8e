"""NESTED_SPARSE_CONV: a convolution, depthwise or fully connected, whose weights are a stream."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.format import FormatError, LayerKind, LayerParams, Stream
from nested_keras.format.levels import check_level
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators import convolution
from nested_keras.tflite.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from nested_keras.tflite.operators.registration import (
    Array,
    Registration,
    RowWindow,
    Shape,
)
from nested_keras.tflite.program import Op, Tensor

NESTED_SPARSE_CONV = "NESTED_SPARSE_CONV"


@dataclass(frozen=True, eq=False)
class NestedSparseConv(Op):
    """NESTED_SPARSE_CONV: the stream carries all parameters (docs/nested_format.md)."""

    layer: Stream


class StreamMismatchError(ModelError):
    """A packed stream does not fit the tensors of its operator."""


def read_nested_sparse_conv(reader: OperatorReader) -> NestedSparseConv:
    """NESTED_SPARSE_CONV: inputs [x, level or -1, stream]; the stream must fit the tensors."""
    reader.require_operands(3)
    if reader.operator.custom_options:
        raise reader.error(
            f"expected no custom options: got {len(reader.operator.custom_options)} bytes"
        )
    level = reader.operator.inputs[1]
    if level >= 0 and level != reader.graph.level_input:
        raise reader.error(
            f"input 1 must be the int32[1] graph input 'level' or left out: "
            f"got {reader.graph.tensors[level].name!r}"
        )
    try:
        layer = Stream.parse(reader.constant(2, "uint8").tobytes())
    except FormatError as error:
        raise reader.error(f"the packed stream is not valid: {error}") from error
    try:
        require_fit(layer.params, reader.activation(0), reader.result())
    except StreamMismatchError as error:
        raise reader.error(str(error)) from error
    return NestedSparseConv(layer=layer, **reader.base(0))


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


@functools.lru_cache(maxsize=256)
def dense_op(layer: Stream, level: int) -> Op:
    """The dense operator that equals one level of a packed stream.

    Args:
      layer: The packed stream.
      level: 0 .. levels - 1.

    Returns:
      A Conv2D, DepthwiseConv2D or FullyConnected whose pruned weights are zero.

    Raises:
      ValueError: If the level is out of range.
    """
    nested, p = layer.weights, layer.params
    check_level(level, levels=nested.levels)
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
        return FullyConnected(filter=weights.reshape(p.out_channels, -1), **common)
    common.update(
        stride_h=p.stride_h,
        stride_w=p.stride_w,
        dilation_h=p.dilation_h,
        dilation_w=p.dilation_w,
        pad_top=p.pad_top,
        pad_left=p.pad_left,
    )
    if p.kind == LayerKind.DEPTHWISE:
        return DepthwiseConv2D(filter=weights, depth_multiplier=p.depth_multiplier, **common)
    return Conv2D(filter=weights, **common)


def _run(op: NestedSparseConv, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    dense = dense_op(op.layer, level)
    return _DENSE_KERNELS[type(dense)](dense, inputs, output_shape, level)


def _row_window(op: NestedSparseConv) -> RowWindow | None:
    p = op.layer.params
    if p.kind is LayerKind.FULLY_CONNECTED:
        return None
    return RowWindow((p.kernel_h - 1) * p.dilation_h + 1, p.stride_h, p.pad_top)


_DENSE_KERNELS = {registration.op: registration.run for registration in convolution.OPERATORS}

OPERATORS = (
    Registration(
        NestedSparseConv,
        readers={},
        run=_run,
        c_call=None,
        custom_readers={NESTED_SPARSE_CONV: read_nested_sparse_conv},
        row_window=_row_window,
    ),
)
