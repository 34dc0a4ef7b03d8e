"""SOFTMAX, and the scale that every operator with probabilities as output has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nested_keras.int8.softmax import softmax, softmax_parameters
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
)
from nested_keras.tflite.program import Op, Tensor
from nested_keras.typing import Int8Array

_PROBABILITY_SCALE = 1 / 256


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax over the last axis, int8 in and out (output scale 1/256, zero point -128)."""

    input_multiplier: int
    input_left_shift: int
    diff_min: int


def _read_softmax(reader: OperatorReader) -> Softmax:
    x, y = reader.same_shape()
    if not x.shape:
        raise reader.error("the input must have at least one dimension")
    require_probability_output(reader, y)
    beta = reader.options("SoftmaxOptions").beta
    try:
        return prepare_softmax(x, beta=beta, **reader.base(0))
    except ValueError as error:
        raise reader.error(str(error)) from error


def prepare_softmax(
    x: Tensor,
    *,
    beta: float,
    name: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> Softmax:
    """Prepares a softmax.

    Args:
        x: The input.
        beta: The factor of the input.
        name: As `Op`.
        inputs: As `Op`.
        outputs: As `Op`.

    Raises:
        ValueError: If beta times the input's scale is too small.
    """
    multiplier, shift, diff_min = softmax_parameters(beta, x.scale)
    return Softmax(name, inputs, outputs, multiplier, shift, diff_min)


def require_probability_output(reader: OperatorReader, y: Tensor) -> None:
    """Checks for the scale and the zero point that TFLite gives to probabilities."""
    try:
        check_probabilities(y)
    except ValueError as error:
        raise reader.error(str(error)) from error


def check_probabilities(y: Tensor) -> None:
    """Raises ValueError where an output has not the scale and zero point of probabilities."""
    if (y.scale, y.zero_point) != (_PROBABILITY_SCALE, -128):
        raise ValueError(
            f"the output must have scale 1/256 and zero point -128: got {y.scale}, {y.zero_point}"
        )


def _run_softmax(
    op: Softmax, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    return softmax(
        inputs[0],
        input_multiplier=op.input_multiplier,
        input_left_shift=op.input_left_shift,
        diff_min=op.diff_min,
    )


def _rows(op: Softmax, shape: Shape) -> int:
    return math.prod(shape) // shape[-1]


def _depth(op: Softmax, shape: Shape) -> int:
    return shape[-1]


OPERATORS = (
    Registration(
        Softmax,
        readers={"SOFTMAX": _read_softmax},
        run=_run_softmax,
        c_call=CCall("nk_softmax_s8", (_rows, _depth, CArgument.INPUT, CArgument.OUTPUT)),
    ),
)
