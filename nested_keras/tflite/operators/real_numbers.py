"""QUANTIZE and DEQUANTIZE: between float32, int8 and uint8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.int8 import tables
from nested_keras.int8.fixed_point import round_half_away
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.lookup import Lookup
from nested_keras.tflite.operators.registration import (
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
    clamp,
    elements,
)
from nested_keras.tflite.program import Op
from nested_keras.typing import Int8Array


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """float32 -> int8: clamp(round(x / scale) + zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Dequantize(Op):
    """int8 -> float32: scale * (x - zero_point)."""

    scale: float
    zero_point: int


def _read_quantize(reader: OperatorReader) -> Quantize | Lookup:
    reader.require_operands(1)
    ends = (reader.operator.inputs[0], reader.operator.outputs[0])
    dtypes = tuple(reader.graph.tensors[index].dtype for index in ends)
    if set(dtypes) <= {"int8", "uint8"}:
        return _read_requantize(reader, *dtypes)
    x, y = reader.activation(0, dtype="float32"), reader.result()
    reader.require_shape(y, x.shape)
    return Quantize(**reader.base(0), scale=y.scale, zero_point=y.zero_point)


def _read_requantize(reader: OperatorReader, input_dtype: str, output_dtype: str) -> Lookup:
    """QUANTIZE between two scales of 8 bits: a uint8 value u is the int8 value u - 128."""
    x, y = reader.activation(0, dtype=input_dtype), reader.result(dtype=output_dtype)
    reader.require_shape(y, x.shape)
    points = (t.zero_point - (128 if t.dtype == "uint8" else 0) for t in (x, y))
    table = tables.rescale(tables.Scales(x.scale, next(points), y.scale, next(points)))
    # The bytes of u and of u - 128 differ in the highest bit alone.
    if input_dtype == "uint8":
        table = table[np.arange(256) ^ 0x80]
    if output_dtype == "uint8":
        table = table ^ np.int8(-128)
    return Lookup(**reader.base(0), table=table, dtype=output_dtype)


def _read_dequantize(reader: OperatorReader) -> Dequantize:
    reader.require_operands(1)
    x, y = reader.activation(0), reader.result(dtype="float32")
    reader.require_shape(y, x.shape)
    return Dequantize(**reader.base(0), scale=x.scale, zero_point=x.zero_point)


def _run_quantize(
    op: Quantize, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    return quantize(inputs[0], scale=op.scale, zero_point=op.zero_point)


def _run_dequantize(
    op: Dequantize, inputs: Sequence[Array], output_shape: Shape, level: int
) -> npt.NDArray[np.float32]:
    return dequantize(inputs[0], scale=op.scale, zero_point=op.zero_point)


def quantize(x: Array, *, scale: float, zero_point: int) -> Int8Array:
    """float32 -> int8: round(x / scale) half away from zero, plus zero point, saturated.

    TFLite divides in float32. A NaN gives the zero point (docs/quantization.md).
    """
    with np.errstate(over="ignore"):  # a quotient of infinity saturates
        scaled = np.asarray(x, np.float32) / np.float32(scale)
    # Beyond +-256 the result is saturated whatever the zero point; clip before the integer cast.
    limited = np.clip(np.nan_to_num(scaled.astype(np.float64), nan=0.0), -512.0, 512.0)
    return clamp(round_half_away(limited) + zero_point, -128, 127)


def dequantize(x: Array, *, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """int8 -> float32: scale * (x - zero_point), rounded once."""
    return np.float32(scale) * (x.astype(np.int32) - zero_point).astype(np.float32)


OPERATORS = (
    Registration(
        Quantize,
        readers={"QUANTIZE": _read_quantize},
        run=_run_quantize,
        c_call=CCall("nk_quantize_f32_s8", (elements, CArgument.INPUT, CArgument.OUTPUT)),
    ),
    Registration(
        Dequantize,
        readers={"DEQUANTIZE": _read_dequantize},
        run=_run_dequantize,
        c_call=CCall("nk_dequantize_s8_f32", (elements, CArgument.INPUT, CArgument.OUTPUT)),
    ),
)
