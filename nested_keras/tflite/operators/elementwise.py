"""ADD, SUB, MUL, MAXIMUM, MINIMUM and PRELU: two operands that broadcast."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.cortex_m.short_sum import ShortSum, find_short_sum, short_factor
from nested_keras.int8.fixed_point import Int64Array, multiply_by_quantized_multiplier
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    MAX_RANK,
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
    clamp,
    own_fields,
    same_row,
)
from nested_keras.tflite.program import Op, Program, Tensor
from nested_keras.typing import Int8Array

_ADD_LEFT_SHIFT = 20


@dataclass(frozen=True, eq=False)
class _InOneScale(Op):
    """Two operands that are converted to one scale (TFLite's int8 rule, left_shift = 20).

    A constant operand stays a tensor of the program: its index is in `inputs`.
    """

    left_shift: int
    input1_offset: int
    input1_multiplier: int
    input1_shift: int
    input2_offset: int
    input2_multiplier: int
    input2_shift: int
    output_offset: int
    output_multiplier: int
    output_shift: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class Add(_InOneScale):
    """Element-wise sum with broadcasting."""


@dataclass(frozen=True, eq=False)
class Sub(_InOneScale):
    """Element-wise difference with broadcasting."""


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """Element-wise product with broadcasting."""

    input1_offset: int
    input2_offset: int
    output_offset: int
    output_multiplier: int
    output_shift: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class Maximum(Op):
    """Element-wise maximum with broadcasting; inputs and output share scale and zero point."""


@dataclass(frozen=True, eq=False)
class Minimum(Op):
    """Element-wise minimum with broadcasting; inputs and output share scale and zero point."""


@dataclass(frozen=True, eq=False)
class Prelu(Op):
    """x where it is not negative, alpha * x below; the slopes alpha broadcast to x.

    Each of the two branches has its own multiplier.
    """

    input_offset: int
    alpha_offset: int
    output_offset: int
    positive_multiplier: int
    positive_shift: int
    negative_multiplier: int
    negative_shift: int


def broadcast_operands(reader: OperatorReader) -> tuple[Tensor, Tensor, Tensor]:
    """Returns both operands and the output; checks that the shapes broadcast to the output's."""
    reader.require_operands(2)
    a, b, y = reader.activation(0), reader.activation(1), reader.result()
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = ()
    if shape != y.shape:
        raise reader.error(
            f"shapes {list(a.shape)} and {list(b.shape)} do not broadcast to {list(y.shape)}"
        )
    if len(y.shape) > MAX_RANK:
        raise reader.unsupported(f"{len(y.shape)} dimensions (at most {MAX_RANK})")
    return a, b, y


def _in_one_scale(reader: OperatorReader, options: str) -> dict[str, Any]:
    """The fields of a sum or a difference."""
    a, b, y = broadcast_operands(reader)
    low, high = reader.activation_range(reader.options(options).fusedActivationFunction, y)
    # Both inputs are converted to twice the larger scale, shifted left by 20 bits.
    common = 2 * max(a.scale, b.scale)
    factors = (
        reader.multiplier(a.scale / common),
        reader.multiplier(b.scale / common),
        reader.multiplier(common / (2**_ADD_LEFT_SHIFT * y.scale)),
    )
    if factors[2][1] > 0:
        raise reader.error(
            f"the output scale must be above {common / 2**_ADD_LEFT_SHIFT}: got {y.scale}"
        )
    return {
        **reader.base(0, 1),
        "left_shift": _ADD_LEFT_SHIFT,
        "input1_offset": -a.zero_point,
        "input1_multiplier": factors[0][0],
        "input1_shift": factors[0][1],
        "input2_offset": -b.zero_point,
        "input2_multiplier": factors[1][0],
        "input2_shift": factors[1][1],
        "output_offset": y.zero_point,
        "output_multiplier": factors[2][0],
        "output_shift": factors[2][1],
        "activation_min": low,
        "activation_max": high,
    }


def _read_add(reader: OperatorReader) -> Add:
    return Add(**_in_one_scale(reader, "AddOptions"))


def _read_sub(reader: OperatorReader) -> Sub:
    return Sub(**_in_one_scale(reader, "SubOptions"))


def _read_mul(reader: OperatorReader) -> Mul:
    a, b, y = broadcast_operands(reader)
    low, high = reader.activation_range(reader.options("MulOptions").fusedActivationFunction, y)
    # TFLite computes this factor in float32.
    factor = np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale)
    multiplier, shift = reader.multiplier(float(factor))
    return Mul(
        **reader.base(0, 1),
        input1_offset=-a.zero_point,
        input2_offset=-b.zero_point,
        output_offset=y.zero_point,
        output_multiplier=multiplier,
        output_shift=shift,
        activation_min=low,
        activation_max=high,
    )


def _require_one_scale(reader: OperatorReader) -> None:
    a, b, y = broadcast_operands(reader)
    reader.require_same_scale(a, y)
    reader.require_same_scale(b, y)


def _read_maximum(reader: OperatorReader) -> Maximum:
    _require_one_scale(reader)
    return Maximum(**reader.base(0, 1))


def _read_minimum(reader: OperatorReader) -> Minimum:
    _require_one_scale(reader)
    return Minimum(**reader.base(0, 1))


def _read_prelu(reader: OperatorReader) -> Prelu:
    x, alpha, y = broadcast_operands(reader)
    reader.require_shape(y, x.shape)
    # TFLite computes both factors in float32.
    scale = np.float32(x.scale)
    positive = reader.multiplier(float(scale / np.float32(y.scale)))
    negative = reader.multiplier(float(scale * np.float32(alpha.scale) / np.float32(y.scale)))
    return Prelu(
        **reader.base(0, 1),
        input_offset=-x.zero_point,
        alpha_offset=-alpha.zero_point,
        output_offset=y.zero_point,
        positive_multiplier=positive[0],
        positive_shift=positive[1],
        negative_multiplier=negative[0],
        negative_shift=negative[1],
    )


def _scaled(op: _InOneScale, inputs: Sequence[Array]) -> tuple[Int64Array, Int64Array]:
    a, b = (x.astype(np.int64) for x in inputs)
    scaled_a = multiply_by_quantized_multiplier(
        (a + op.input1_offset) << op.left_shift, op.input1_multiplier, op.input1_shift
    )
    scaled_b = multiply_by_quantized_multiplier(
        (b + op.input2_offset) << op.left_shift, op.input2_multiplier, op.input2_shift
    )
    return scaled_a, scaled_b


def _requantize(op: _InOneScale, total: Int64Array) -> Int8Array:
    y = multiply_by_quantized_multiplier(total, op.output_multiplier, op.output_shift)
    return clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _run_add(op: Add, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    a, b = _scaled(op, inputs)
    return _requantize(op, a + b)


def _run_sub(op: Sub, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    a, b = _scaled(op, inputs)
    return _requantize(op, a - b)


def _run_mul(op: Mul, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    a, b = (x.astype(np.int64) for x in inputs)
    product = (a + op.input1_offset) * (b + op.input2_offset)
    y = multiply_by_quantized_multiplier(product, op.output_multiplier, op.output_shift)
    return clamp(y + op.output_offset, op.activation_min, op.activation_max)


def _run_prelu(op: Prelu, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    x, alpha = (values.astype(np.int64) for values in inputs)
    x = x + op.input_offset
    positive = multiply_by_quantized_multiplier(x, op.positive_multiplier, op.positive_shift)
    product = x * (alpha + op.alpha_offset)
    negative = multiply_by_quantized_multiplier(product, op.negative_multiplier, op.negative_shift)
    return clamp(np.where(x >= 0, positive, negative) + op.output_offset, -128, 127)


def _run_maximum(op: Maximum, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    return np.maximum(*inputs)


def _run_minimum(op: Minimum, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    return np.minimum(*inputs)


def has_short_form(op: Add) -> bool:
    """Returns whether the short form of a sum gives the same bytes (`cortex_m.short_sum`)."""
    return _short_form(op) != ShortSum()


def _with_short_form(op: _InOneScale, rank: int) -> dict[str, Any]:
    """The fields of nk_add_params: those of the dataclass, then the short form."""
    return {**own_fields(op), **_short_form(op)._asdict()}


def _short_form(op: _InOneScale) -> ShortSum:
    values = np.arange(-128, 128)
    wide = dataclasses.replace(op, activation_min=-128, activation_max=127)
    a, b = _scaled(wide, (values[:, np.newaxis], values))
    is_sum = isinstance(op, Add)
    sums = _requantize(wide, a + b if is_sum else a - b)
    shift = op.left_shift + op.output_shift
    factor1, factor2 = (
        short_factor(multiplier, op.output_multiplier, input_shift + shift)
        for multiplier, input_shift in (
            (op.input1_multiplier, op.input1_shift),
            (op.input2_multiplier, op.input2_shift),
        )
    )
    return find_short_sum(sums, factor1, factor2 if is_sum else -factor2)


def broadcast_mixes_samples(op: Op, program: Program) -> bool:
    """Returns whether broadcasting does not align the first axes."""
    tensors = [program.tensors[index] for index in (*op.inputs, *op.outputs)]
    ranks = [len(tensor.shape) for tensor in tensors if tensor.data is None]
    constants = [tensor.shape for tensor in tensors if tensor.data is not None]
    return len(set(ranks)) > 1 or any(
        len(shape) == ranks[0] and shape[0] != 1 for shape in constants
    )


BROADCAST_ARGUMENTS = (CArgument.INPUTS, CArgument.OUTPUT_DIMS, CArgument.OUTPUT)

OPERATORS = (
    Registration(
        Add,
        readers={"ADD": _read_add},
        run=_run_add,
        c_call=CCall("nk_add_s8", BROADCAST_ARGUMENTS, _with_short_form),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
    Registration(
        Sub,
        readers={"SUB": _read_sub},
        run=_run_sub,
        c_call=CCall("nk_sub_s8", BROADCAST_ARGUMENTS, _with_short_form),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
    Registration(
        Mul,
        readers={"MUL": _read_mul},
        run=_run_mul,
        c_call=CCall("nk_mul_s8", BROADCAST_ARGUMENTS),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
    Registration(
        Maximum,
        readers={"MAXIMUM": _read_maximum},
        run=_run_maximum,
        c_call=CCall("nk_maximum_s8", BROADCAST_ARGUMENTS),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
    Registration(
        Minimum,
        readers={"MINIMUM": _read_minimum},
        run=_run_minimum,
        c_call=CCall("nk_minimum_s8", BROADCAST_ARGUMENTS),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
    Registration(
        Prelu,
        readers={"PRELU": _read_prelu},
        run=_run_prelu,
        c_call=CCall("nk_prelu_s8", BROADCAST_ARGUMENTS),
        mixes_samples=broadcast_mixes_samples,
        row_window=same_row,
    ),
)
