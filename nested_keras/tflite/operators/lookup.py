"""Operators of one int8 input that a table of 256 values replaces: the activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nested_keras.int8 import tables
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.probabilities import require_probability_output
from nested_keras.tflite.operators.registration import (
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
    elements,
    same_row,
)
from nested_keras.tflite.program import Op
from nested_keras.typing import Int8Array

INT8_LOOKUP = "INT8_LOOKUP"
"""Custom code of a function that TFLite and TFLite Micro do not both have in int8."""


@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """Element-wise int8 -> int8 function by table: output = table[input + 128].

    LOGISTIC, TANH, RELU, RELU6, LEAKY_RELU, HARD_SWISH and QUANTIZE between two scales of 8
    bits have 256 possible inputs, so lowering evaluates TFLite's arithmetic once for each input.
    The custom operator INT8_LOOKUP has its table in the file.

    QUANTIZE from or to uint8 is a table as well, because the kernel reads every byte as int8.

    Attributes:
        dtype: Type of the output, "int8" or "uint8".
    """

    table: Int8Array
    dtype: str = "int8"


def read_lookup(reader: OperatorReader, table: Callable[[tables.Scales], tables.Table]) -> Lookup:
    """Reads an operator of one input; `table` makes the table from the scales of both ends."""
    x, y = reader.same_shape()
    try:
        values = table(tables.Scales(x.scale, x.zero_point, y.scale, y.zero_point))
    except ValueError as error:
        raise reader.error(str(error)) from error
    return Lookup(**reader.base(0), table=values)


def _read_logistic(reader: OperatorReader) -> Lookup:
    reader.require_operands(1)
    require_probability_output(reader, reader.result())
    return read_lookup(reader, tables.logistic)


def _read_tanh(reader: OperatorReader) -> Lookup:
    return read_lookup(reader, tables.tanh)


def _read_relu(reader: OperatorReader) -> Lookup:
    return read_lookup(reader, tables.relu)


def _read_relu6(reader: OperatorReader) -> Lookup:
    return read_lookup(reader, lambda scales: tables.relu(scales, maximum=6.0))


def _read_leaky_relu(reader: OperatorReader) -> Lookup:
    alpha = reader.options("LeakyReluOptions").alpha
    return read_lookup(reader, lambda scales: tables.leaky_relu(scales, alpha=alpha))


def _read_hard_swish(reader: OperatorReader) -> Lookup:
    return read_lookup(reader, tables.hard_swish)


def _read_int8_lookup(reader: OperatorReader) -> Lookup:
    """INT8_LOOKUP: inputs [x, table], the table a constant int8[256]."""
    reader.require_operands(2)
    x, y = reader.activation(0), reader.result()
    reader.require_shape(y, x.shape)
    table = reader.constant(1, "int8")
    if table.shape != (256,):
        raise reader.error(f"the table must have 256 entries: got the shape {list(table.shape)}")
    return Lookup(**reader.base(0), table=table)


def _run_lookup(op: Lookup, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    return op.table[inputs[0].view(np.int8).astype(np.int64) + 128].view(op.dtype)


def _parameters(op: Lookup, rank: int) -> dict[str, Int8Array]:
    return {"table": op.table}


OPERATORS = (
    Registration(
        Lookup,
        readers={
            "HARD_SWISH": _read_hard_swish,
            "LEAKY_RELU": _read_leaky_relu,
            "LOGISTIC": _read_logistic,
            "RELU": _read_relu,
            "RELU6": _read_relu6,
            "TANH": _read_tanh,
        },
        custom_readers={INT8_LOOKUP: _read_int8_lookup},
        run=_run_lookup,
        c_call=CCall("nk_lookup_s8", (elements, CArgument.INPUT, CArgument.OUTPUT), _parameters),
        row_window=same_row,
    ),
)
