"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.int8.fixed_point import multiply_by_quantized_multiplier
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    Array,
    CArgument,
    CCall,
    Registration,
    RowWindow,
    Shape,
    clamp,
)
from nested_keras.tflite.operators.window import require_positive, window_geometry
from nested_keras.tflite.program import Op
from nested_keras.typing import Int8Array


@dataclass(frozen=True, eq=False)
class Pool2D(Op):
    """Base of the pooling operators."""

    filter_h: int
    filter_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class AveragePool2D(Pool2D):
    """Average over the window's valid pixels, rounded half away from zero."""


@dataclass(frozen=True, eq=False)
class MaxPool2D(Pool2D):
    """Maximum over the window's valid pixels."""


@dataclass(frozen=True, eq=False)
class Mean(Op):
    """Mean over height and width of an NHWC tensor; the output has batch * channels elements.

    The division by height * width is part of `multiplier` and `shift`.
    """

    input_offset: int
    output_offset: int
    multiplier: int
    shift: int


def _read_average_pool2d(reader: OperatorReader) -> AveragePool2D:
    return AveragePool2D(**_pool(reader))


def _read_max_pool2d(reader: OperatorReader) -> MaxPool2D:
    return MaxPool2D(**_pool(reader))


def _pool(reader: OperatorReader) -> dict[str, Any]:
    reader.require_operands(1)
    options = reader.options("Pool2DOptions")
    x, y = reader.activation(0, rank=4), reader.result(rank=4)
    reader.require_same_scale(x, y)
    require_positive(
        reader, filter_h=options.filterHeight, filter_w=options.filterWidth,
        stride_h=options.strideH, stride_w=options.strideW,
    )  # fmt: skip
    out_h, pad_top = window_geometry(
        reader, size=x.shape[1], kernel=options.filterHeight, stride=options.strideH, dilation=1,
        padding=options.padding,
    )  # fmt: skip
    out_w, pad_left = window_geometry(
        reader, size=x.shape[2], kernel=options.filterWidth, stride=options.strideW, dilation=1,
        padding=options.padding,
    )  # fmt: skip
    reader.require_shape(y, (x.shape[0], out_h, out_w, x.shape[3]))
    low, high = reader.activation_range(options.fusedActivationFunction, y)
    return {
        **reader.base(0),
        "filter_h": options.filterHeight,
        "filter_w": options.filterWidth,
        "stride_h": options.strideH,
        "stride_w": options.strideW,
        "pad_top": pad_top,
        "pad_left": pad_left,
        "activation_min": low,
        "activation_max": high,
    }


def _read_mean(reader: OperatorReader) -> Mean:
    reader.require_operands(2)
    reader.options("ReducerOptions")
    x, y = reader.activation(0), reader.result()
    axes = np.ravel(reader.constant(1, "int32"))
    if len(x.shape) != 4 or sorted({int(axis) % 4 for axis in axes}) != [1, 2]:
        raise reader.unsupported(
            f"the mean must go over height and width of 4 dimensions: got axes {axes.tolist()} of "
            f"shape {list(x.shape)}"
        )
    batch, height, width, channels = x.shape
    if y.shape not in ((batch, 1, 1, channels), (batch, channels)):
        raise reader.error(f"the output must be [{batch}, {channels}]: got {list(y.shape)}")
    multiplier, shift = reader.multiplier(x.scale / y.scale)
    # 1 / count joins the multiplier, scaled up by the bit length of count to keep precision.
    count = height * width
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return Mean(
        **reader.base(0),
        input_offset=-x.zero_point,
        output_offset=y.zero_point,
        multiplier=(multiplier << extra) // count,
        shift=shift - extra,
    )


def _run_average_pool2d(
    op: AveragePool2D, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    x = inputs[0].astype(np.int64)
    total = _pooled(x, op, output_shape, np.add)
    count = _pooled(np.ones((1, *x.shape[1:3], 1), np.int64), op, output_shape, np.add)
    # Rounded half away from zero, by a division that truncates towards zero as in C.
    mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return clamp(mean, op.activation_min, op.activation_max)


def _run_max_pool2d(
    op: MaxPool2D, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    y = _pooled(inputs[0], op, output_shape, np.maximum, initial=-128)
    return clamp(y.astype(np.int64), op.activation_min, op.activation_max)


def _pooled(
    x: Array, op: Pool2D, output_shape: Shape, reduce: np.ufunc, *, initial: int = 0
) -> Array:
    """Reduces each pooling window to one value, first its rows and then its columns.

    Pixels outside the input do not count, so a file may name a window of any size.
    """
    _, out_h, out_w, _ = output_shape
    rows = [
        reduce.reduce(x[:, window], axis=1, initial=initial)
        for window in _windows(x.shape[1], out_h, op.filter_h, op.stride_h, op.pad_top)
    ]
    x = np.stack(rows, axis=1)
    columns = [
        reduce.reduce(x[:, :, window], axis=2, initial=initial)
        for window in _windows(x.shape[2], out_w, op.filter_w, op.stride_w, op.pad_left)
    ]
    return np.stack(columns, axis=2)


def _windows(size: int, outputs: int, width: int, stride: int, padding: int) -> list[slice]:
    starts = [stride * position - padding for position in range(outputs)]
    return [slice(max(start, 0), min(max(start + width, 0), size)) for start in starts]


def _run_mean(op: Mean, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    total = (inputs[0].astype(np.int64) + op.input_offset).sum(axis=(1, 2))
    y = multiply_by_quantized_multiplier(total, op.multiplier, op.shift)
    return clamp(y + op.output_offset, -128, 127)


def _row_window(op: Pool2D) -> RowWindow:
    return RowWindow(op.filter_h, op.stride_h, op.pad_top)


_WINDOW_ARGUMENTS = (CArgument.INPUTS, CArgument.OUTPUT_DIMS, CArgument.OUTPUT)

OPERATORS = (
    Registration(
        AveragePool2D,
        readers={"AVERAGE_POOL_2D": _read_average_pool2d},
        run=_run_average_pool2d,
        c_call=CCall("nk_average_pool2d_s8", _WINDOW_ARGUMENTS, slides_a_window=True),
        row_window=_row_window,
    ),
    Registration(
        MaxPool2D,
        readers={"MAX_POOL_2D": _read_max_pool2d},
        run=_run_max_pool2d,
        c_call=CCall("nk_max_pool2d_s8", _WINDOW_ARGUMENTS, slides_a_window=True),
        row_window=_row_window,
    ),
    Registration(
        Mean,
        readers={"MEAN": _read_mean},
        run=_run_mean,
        c_call=CCall("nk_mean_s8", (CArgument.INPUTS, CArgument.OUTPUT)),
    ),
)
