"""The operators of a `Program`: one file per family has everything about an operator.

A file of this folder with a tuple `OPERATORS` is a family; nothing else lists the operators.
docs/adding_an_operator.md names the files of a new operator. Other modules import the classes
below.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import numpy as np

from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from nested_keras.tflite.operators.elementwise import Add, Mul
from nested_keras.tflite.operators.lookup import Lookup
from nested_keras.tflite.operators.nested import NestedSparseConv, dense_op
from nested_keras.tflite.operators.pooling import AveragePool2D, MaxPool2D, Mean
from nested_keras.tflite.operators.probabilities import Softmax
from nested_keras.tflite.operators.real_numbers import Dequantize, Quantize
from nested_keras.tflite.operators.rearrange import Rearrange
from nested_keras.tflite.operators.registration import Array, Registration, Shape
from nested_keras.tflite.operators.resizing import ResizeBilinear
from nested_keras.tflite.operators.shape import Concatenation, Pad, Reshape
from nested_keras.tflite.program import Op, Program

__all__ = [
    "Add",
    "AveragePool2D",
    "Concatenation",
    "Conv2D",
    "DepthwiseConv2D",
    "Dequantize",
    "FullyConnected",
    "Lookup",
    "MaxPool2D",
    "Mean",
    "Mul",
    "NestedSparseConv",
    "Pad",
    "Prelu",
    "Quantize",
    "Rearrange",
    "Reshape",
    "ResizeBilinear",
    "Softmax",
    "Sub",
    "OPERATORS",
    "dense_op",
    "mixes_samples",
    "read_op",
    "registration_of",
    "run_op",
]

_FAMILIES = [
    importlib.import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
]
OPERATORS: tuple[Registration, ...] = tuple(
    entry for family in _FAMILIES for entry in getattr(family, "OPERATORS", ())
)
"""Every operator."""

_BY_CLASS = {entry.op: entry for entry in OPERATORS}
_READERS = {name: reader for entry in OPERATORS for name, reader in entry.readers.items()}
_CUSTOM_READERS = {
    name: reader for entry in OPERATORS for name, reader in entry.custom_readers.items()
}


def registration_of(op: Op) -> Registration | None:
    """Returns the registration of an operator; None for a class without a registration."""
    return _BY_CLASS.get(type(op))


def read_op(reader: OperatorReader) -> Op:
    """Prepares an operator of a .tflite, with the same parameters as TFLite computes.

    Args:
        reader: The operator in its graph.

    Returns:
        The prepared operator.

    Raises:
        UnsupportedOpError: If there is no implementation for the operator.
        ModelError: If its operands or options are not consistent.
    """
    operator = reader.operator
    readers = _CUSTOM_READERS if operator.custom else _READERS
    read = readers.get(operator.kind)
    if read is None:
        kind = "custom ones" if operator.custom else "ones"
        raise reader.unsupported(f"the supported {kind} are {', '.join(sorted(readers))}")
    try:
        # An infinite factor passes, because its user refuses it; a NaN raises here.
        with np.errstate(over="ignore", divide="raise", invalid="raise"):
            return read(reader)
    except (FloatingPointError, OverflowError) as error:
        raise reader.error(f"its scales are out of range: {error}") from error


def mixes_samples(op: Op, program: Program) -> bool:
    """Returns whether an operator would act differently on a larger first axis."""
    return _BY_CLASS[type(op)].mixes_samples(op, program)


def run_op(op: Op, inputs: Sequence[Array], output_shape: Shape, level: int = 0) -> Array:
    """Runs one operator in NumPy, bit-exact with TFLite's reference kernels.

    Args:
        op: The prepared operator.
        inputs: Its activations, in the order of `op.inputs`; the first axis may be any batch size.
        output_shape: Shape of the output with that batch size.
        level: Nested level; only NESTED_SPARSE_CONV uses the level.

    Returns:
        The output: int8, or float32 for a Dequantize.
    """
    return _BY_CLASS[type(op)].run(op, inputs, output_shape, level).reshape(output_shape)
