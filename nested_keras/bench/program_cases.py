"""The operators of a dense model, each as a case for the baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nested_keras.bench.operator_cases import OperatorCase
from nested_keras.format import LayerKind, Stream
from nested_keras.tflite import operators
from nested_keras.tflite.program import Op, Program
from nested_keras.typing import Int8Array


@dataclass(frozen=True, eq=False)
class DenseCase:
    """A layer of a model as a dense operator, with an input and the right output.

    Attributes:
        label: The name of the output tensor.
        kind: The kind of the layer.
        dense: The operator.
        x: int8, of the shape of the input.
        y: int8, from the NumPy reference.
    """

    label: str
    kind: LayerKind
    dense: operators.Conv2D | operators.FullyConnected
    x: Int8Array
    y: Int8Array
    stream: ClassVar[Stream | None] = None
    level: ClassVar[int] = 0

    @property
    def title(self) -> str:
        """The name in error messages."""
        return self.label


def program_cases(program: Program) -> list[DenseCase | OperatorCase]:
    """Returns a case for each operator of a model that has one level, on random inputs.

    A Mean over the image stands as the average pooling that CMSIS-NN has in its place. Reshapes are
    left out, because they take no instructions.

    Raises:
        ValueError: The model has an operator that the benchmark does not know.
    """
    rng = np.random.default_rng(0)
    cases: list[DenseCase | OperatorCase] = []
    for number, op in enumerate(program.ops):
        if isinstance(op, operators.Reshape):
            continue
        shapes = [program.tensors[index].shape for index in op.inputs]
        output = program.tensors[op.outputs[0]].shape
        cases.append(_case(f"{number} {op.name}", op, shapes, output, rng))
    return cases


def _case(
    label: str,
    op: Op,
    shapes: Sequence[tuple[int, ...]],
    output: tuple[int, ...],
    rng: np.random.Generator,
) -> DenseCase | OperatorCase:
    if isinstance(op, operators.NestedSparseConv):
        op, shapes = operators.dense_op(op.layer, 0), shapes[:1]
    if isinstance(op, operators.Mean):
        batches, height, width, channels = shapes[0]
        op, output = _pooling(height, width), (batches, 1, 1, channels)
    if isinstance(op, operators.Softmax):
        shapes, output = [(1, 1, *shapes[0])], (1, 1, *output)
    if isinstance(op, operators.FullyConnected):
        op = _of_one_multiplier(op)
    arrays = [rng.integers(-128, 128, shape, dtype=np.int8) for shape in shapes]
    y = operators.run_op(op, arrays, output)
    if isinstance(op, operators.Conv2D | operators.FullyConnected):
        return DenseCase(label, _kind(op), op, arrays[0], y)
    if isinstance(op, operators.Add | operators.AveragePool2D | operators.Softmax):
        return OperatorCase(label, op, tuple(arrays), y)
    raise ValueError(f"{label}: expected a layer, Add, Mean, AveragePool2D or Softmax: got {op}")


def _kind(op: operators.Conv2D | operators.FullyConnected) -> LayerKind:
    if isinstance(op, operators.DepthwiseConv2D):
        return LayerKind.DEPTHWISE
    return LayerKind.CONV if isinstance(op, operators.Conv2D) else LayerKind.FULLY_CONNECTED


def _pooling(height: int, width: int) -> operators.AveragePool2D:
    return operators.AveragePool2D(
        name="",
        inputs=(),
        outputs=(),
        filter_h=height,
        filter_w=width,
        stride_h=1,
        stride_w=1,
        pad_top=0,
        pad_left=0,
        activation_min=-128,
        activation_max=127,
    )


def _of_one_multiplier(op: operators.FullyConnected) -> operators.FullyConnected:
    """CMSIS-NN has one multiplier for all features, and rounds a second time where it shifts."""
    multiplier = np.full_like(op.multiplier, 1 << 21)
    return dataclasses.replace(op, multiplier=multiplier, shift=np.zeros_like(op.shift))
