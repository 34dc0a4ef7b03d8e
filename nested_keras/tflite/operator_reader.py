"""One operator of a .tflite graph with checked access to its operands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.tflite.file_reader import Graph, Operator, Quantization
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
class Node:
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
        """Checks the number of inputs (low..high) and that there is one output."""
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
        if dtype == "int8" and tensor.scale == 0.0:
            raise self.error(f"{what} {tensor.name!r} must have one scale and zero point")
        if dtype == "int8" and not -128 <= tensor.zero_point <= 127:
            raise self.error(
                f"{what} {tensor.name!r} must have a zero point in -128..127: "
                f"got {tensor.zero_point}"
            )
        if min(tensor.shape, default=1) < 1:
            raise self.error(f"{what} {tensor.name!r} is empty: shape {list(tensor.shape)}")
        if rank is not None and len(tensor.shape) != rank:
            raise self.error(
                f"{what} {tensor.name!r} must have {rank} dimensions: shape {list(tensor.shape)}"
            )
        return tensor

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

    def bias(self, channels: int) -> npt.NDArray[np.int32]:
        """The optional int32 bias at input 2; zeros where it is left out."""
        if len(self.operator.inputs) < 3 or self.operator.inputs[2] < 0:
            return np.zeros(channels, np.int32)
        value = self.constant(2, "int32")
        if value.shape != (channels,):
            raise self.error(f"the bias must have {channels} values: got {list(value.shape)}")
        return value

    def filter_quantization(self, channels: int) -> Quantization:
        """Scales of the filter at input 1: one or one per output channel, zero points zero."""
        quantization = self.graph.quantization[self.operator.inputs[1]]
        if quantization.scales.size not in (1, channels):
            raise self.error(
                f"the filter must have 1 or {channels} scales: got {quantization.scales.size}"
            )
        if quantization.zero_points.any():
            raise self.error("the filter must be quantised symmetrically (zero point 0)")
        return quantization

    def options(self, name: str) -> Any:
        """The builtin options, which must be of the schema's class `name`."""
        options = self.operator.options
        if type(options).__name__ != f"{name}T":
            raise self.error(f"expected {name}: got {type(options).__name__}")
        return options

    def positive(self, **values: int) -> None:
        """Checks that each named option is at least 1."""
        for name, value in values.items():
            if value < 1:
                raise self.error(f"{name} must be at least 1: got {value}")

    def activation_range(self, fused: int, output: Tensor) -> tuple[int, int]:
        """Range of the int8 output under a fused activation function."""
        if fused not in _ACTIVATION_RANGES:
            raise self.unsupported(f"fused activation function {fused}")
        low, high = (
            bound if real is None else self._quantized_bound(real, output)
            for real, bound in zip(_ACTIVATION_RANGES[fused], (-128, 127), strict=True)
        )
        return max(low, -128), min(high, 127)

    @staticmethod
    def _quantized_bound(real: float, output: Tensor) -> int:
        steps = float(np.float32(real) / np.float32(output.scale))  # TFLite divides in float32
        return output.zero_point + int(np.sign(steps) * np.floor(abs(steps) + 0.5))

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
