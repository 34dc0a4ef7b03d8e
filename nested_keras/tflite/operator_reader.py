"""One operator of a .tflite graph with checked access to its operands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import quantize_multiplier, round_half_away
from nested_keras.tflite.file_reader import Graph, Operator
from nested_keras.tflite.model_error import ModelError, UnsupportedOpError
from nested_keras.tflite.program import Tensor

# Values of the schema's ActivationFunctionType.
_RELU, _RELU_N1_TO_1, _RELU6 = 1, 2, 3
_ACTIVATION_RANGES = {
    0: (None, None),
    _RELU: (0.0, None),
    _RELU_N1_TO_1: (-1.0, 1.0),
    _RELU6: (0.0, 6.0),
}


@dataclass(frozen=True, eq=False)
class OperatorReader:
    """An operator in its graph. Every accessor raises ModelError with the operator's name."""

    graph: Graph
    operator: Operator

    @property
    def name(self) -> str:
        """Name of the first output."""
        outputs = self.operator.outputs
        return self.graph.tensors[outputs[0]].name if outputs else ""

    def error(self, text: str) -> ModelError:
        """A ModelError that names this operator."""
        return ModelError(f"{self.operator.kind} {self.name!r}: {text}")

    def unsupported(self, text: str) -> UnsupportedOpError:
        """An UnsupportedOpError that names this operator."""
        return UnsupportedOpError(f"{self.operator.kind} {self.name!r} is not supported: {text}")

    def require_operands(self, low: int, high: int | None = None) -> None:
        """Checks that there are low..high inputs and one output."""
        high = low if high is None else high
        count = len(self.operator.inputs)
        if not low <= count <= high:
            expected = str(low) if low == high else f"{low}..{high}"
            raise self.error(f"expected {expected} inputs: got {count}")
        if len(self.operator.outputs) != 1:
            raise self.error(f"expected one output: got {len(self.operator.outputs)}")

    def activation(self, position: int, *, dtype: str = "int8", rank: int | None = None) -> Tensor:
        """Input `position`: a per-tensor quantised tensor with positive sizes."""
        index = self.operator.inputs[position]
        if index < 0:
            raise self.error(f"input {position} is left out")
        return self._checked(index, f"input {position}", dtype, rank)

    def result(self, *, dtype: str = "int8", rank: int | None = None) -> Tensor:
        """The output, checked in the same way."""
        return self._checked(self.operator.outputs[0], "the output", dtype, rank)

    def _checked(self, index: int, what: str, dtype: str, rank: int | None) -> Tensor:
        tensor = self.graph.tensors[index]
        if tensor.dtype != dtype:
            raise self.error(f"{what} {tensor.name!r} must be {dtype}: got {tensor.dtype}")
        if dtype in ("int8", "uint8"):
            limits = np.iinfo(dtype)
            if tensor.scale == 0.0:
                raise self.error(f"{what} {tensor.name!r} must have one scale and zero point")
            if not limits.min <= tensor.zero_point <= limits.max:
                raise self.error(
                    f"{what} {tensor.name!r} must have a zero point in "
                    f"{limits.min}..{limits.max}: got {tensor.zero_point}"
                )
        if min(tensor.shape, default=1) < 1:
            raise self.error(f"{what} {tensor.name!r} is empty: shape {list(tensor.shape)}")
        if rank is not None and len(tensor.shape) != rank:
            raise self.error(
                f"{what} {tensor.name!r} must have {rank} dimensions: shape {list(tensor.shape)}"
            )
        return tensor

    def same_shape(self) -> tuple[Tensor, Tensor]:
        """The input and the output, of the same shape."""
        self.require_operands(1)
        x, y = self.activation(0), self.result()
        self.require_shape(y, x.shape)
        return x, y

    def require_same_scale(self, x: Tensor, y: Tensor) -> None:
        """Checks that an input and the output have one scale and one zero point."""
        if (x.scale, x.zero_point) != (y.scale, y.zero_point):
            raise self.error(
                f"input and output must share scale and zero point: got {x.scale}, "
                f"{x.zero_point} and {y.scale}, {y.zero_point}"
            )

    def require_shape(self, tensor: Tensor, expected: tuple[int, ...]) -> None:
        """Checks the shape of an operand."""
        if tensor.shape != expected:
            raise self.error(
                f"{tensor.name!r} must have the shape {list(expected)}: got {list(tensor.shape)}"
            )

    def constant(self, position: int, *dtypes: str) -> npt.NDArray[Any]:
        """Value of the constant input `position`."""
        index = self.operator.inputs[position]
        tensor = self.graph.tensors[index] if index >= 0 else None
        if tensor is None or tensor.data is None:
            raise self.error(f"input {position} must be a constant")
        if tensor.dtype not in dtypes:
            raise self.error(f"input {position} must be {' or '.join(dtypes)}: got {tensor.dtype}")
        return tensor.data

    def options(self, name: str) -> Any:
        """The builtin options, which must be of the schema's class `name`."""
        options = self.operator.options
        if type(options).__name__ != f"{name}T":
            raise self.error(f"expected {name}: got {type(options).__name__}")
        return options

    def activation_range(self, fused: int, output: Tensor) -> tuple[int, int]:
        """Range of the int8 output under a fused activation function."""
        if fused not in _ACTIVATION_RANGES:
            raise self.unsupported(f"fused activation function {fused}")
        low, high = (
            bound if real is None else _quantized_bound(real, output)
            for real, bound in zip(_ACTIVATION_RANGES[fused], (-128, 127), strict=True)
        )
        return max(low, -128), min(high, 127)

    def multiplier(self, real: float) -> tuple[int, int]:
        """`quantize_multiplier` with the operator in the error."""
        try:
            return quantize_multiplier(real)
        except ValueError as error:
            raise self.error(str(error)) from error

    def base(self, *tensors: int) -> dict[str, Any]:
        """Common fields of the prepared operator: reads the inputs at positions `tensors`."""
        return {
            "name": self.name,
            "inputs": tuple(self.operator.inputs[position] for position in tensors),
            "outputs": self.operator.outputs,
        }


def _quantized_bound(real: float, output: Tensor) -> int:
    steps = float(np.float32(real) / np.float32(output.scale))  # TFLite divides in float32
    return output.zero_point + int(round_half_away(steps))
