"""PAD, CONCATENATION and changes of shape alone: RESHAPE, SQUEEZE, EXPAND_DIMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    MAX_RANK,
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
    own_fields,
)
from nested_keras.tflite.program import Op, Program
from nested_keras.typing import Int8Array


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """Constant padding of up to four dimensions; `paddings` has (before, after) for each."""

    paddings: tuple[tuple[int, int], ...]
    value: int


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Copy with another shape (RESHAPE, SQUEEZE, EXPAND_DIMS)."""


@dataclass(frozen=True, eq=False)
class Concatenation(Op):
    """Concatenation along `axis` (non-negative); all operands share scale and zero point."""

    axis: int


def _read_pad(reader: OperatorReader) -> Pad:
    explicit = reader.operator.kind == "PADV2"
    reader.require_operands(3 if explicit else 2)
    x, y = reader.activation(0), reader.result()
    paddings = reader.constant(1, "int32", "int64")
    if paddings.shape != (len(x.shape), 2) or (paddings < 0).any():
        raise reader.error(
            f"paddings must be {len(x.shape)} pairs of non-negative numbers: "
            f"got {paddings.tolist()}"
        )
    if len(x.shape) > MAX_RANK:
        raise reader.unsupported(f"{len(x.shape)} dimensions (at most {MAX_RANK})")
    pairs = tuple((int(before), int(after)) for before, after in paddings)
    reader.require_shape(
        y, tuple(size + sum(pair) for size, pair in zip(x.shape, pairs, strict=True))
    )
    value = y.zero_point
    if explicit:
        constant = reader.constant(2, "int8")
        if constant.size != 1:
            raise reader.error(f"the padding value must be one number: got {constant.size}")
        value = int(constant.ravel()[0])
    return Pad(**reader.base(0), paddings=pairs, value=value)


def _read_reshape(reader: OperatorReader) -> Reshape:
    reader.require_operands(1, 2)
    x, y = reader.activation(0), reader.result()
    if x.size != y.size:
        raise reader.error(f"cannot reshape {list(x.shape)} to {list(y.shape)}")
    return Reshape(**reader.base(0))


def _read_concatenation(reader: OperatorReader) -> Concatenation:
    count = len(reader.operator.inputs)
    reader.require_operands(1, max(count, 1))
    options = reader.options("ConcatenationOptions")
    if options.fusedActivationFunction != 0:
        raise reader.unsupported(f"fused activation function {options.fusedActivationFunction}")
    y = reader.result()
    rank = len(y.shape)
    if not -rank <= options.axis < rank:
        raise reader.error(f"axis must be in {-rank}..{rank - 1}: got {options.axis}")
    if rank > MAX_RANK:
        raise reader.unsupported(f"{rank} dimensions (at most {MAX_RANK})")
    axis = options.axis % rank
    parts = [reader.activation(position, rank=rank) for position in range(count)]
    for part in parts:
        reader.require_same_scale(part, y)
        reader.require_shape(part, (*y.shape[:axis], part.shape[axis], *y.shape[axis + 1 :]))
    if sum(part.shape[axis] for part in parts) != y.shape[axis]:
        raise reader.error(f"the parts do not add up to {y.shape[axis]} along axis {axis}")
    return Concatenation(**reader.base(*range(count)), axis=axis)


def _run_pad(op: Pad, inputs: Sequence[Array], output_shape: Shape, level: int) -> Int8Array:
    return np.pad(inputs[0], op.paddings, constant_values=op.value)


def _run_reshape(op: Reshape, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    return inputs[0].reshape(output_shape)


def _run_concatenation(
    op: Concatenation, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Array:
    return np.concatenate(inputs, axis=op.axis)


def _pad_parameters(op: Pad, rank: int) -> dict[str, Any]:
    """Returns the fields in C, with pairs of zeros for the leading dimensions."""
    return {**own_fields(op), "paddings": ((0, 0),) * (MAX_RANK - len(op.paddings)) + op.paddings}


def _concatenation_parameters(op: Concatenation, rank: int) -> dict[str, Any]:
    """Returns the fields in C, with an axis that counts the leading dimensions too."""
    return {"axis": op.axis + MAX_RANK - rank}


def _pad_mixes_samples(op: Pad, program: Program) -> bool:
    return op.paddings[0] != (0, 0)


def _concatenation_mixes_samples(op: Concatenation, program: Program) -> bool:
    return op.axis == 0 or any(program.tensors[index].data is not None for index in op.inputs)


OPERATORS = (
    Registration(
        Pad,
        readers={"PAD": _read_pad, "PADV2": _read_pad},
        run=_run_pad,
        c_call=CCall(
            "nk_pad_s8",
            (CArgument.INPUTS, CArgument.OUTPUT_DIMS, CArgument.OUTPUT),
            parameters=_pad_parameters,
        ),
        mixes_samples=_pad_mixes_samples,
    ),
    Registration(
        Reshape,
        readers={"EXPAND_DIMS": _read_reshape, "RESHAPE": _read_reshape, "SQUEEZE": _read_reshape},
        run=_run_reshape,
        c_call=None,
    ),
    Registration(
        Concatenation,
        readers={"CONCATENATION": _read_concatenation},
        run=_run_concatenation,
        c_call=CCall(
            "nk_concatenation_s8",
            (CArgument.INPUT_LIST, CArgument.OUTPUT_DIMS, CArgument.OUTPUT),
            parameters=_concatenation_parameters,
        ),
        mixes_samples=_concatenation_mixes_samples,
    ),
)
