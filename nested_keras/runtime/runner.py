"""The part that all runtimes share: checks of inputs and level, float inputs, any batch size."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.format.levels import check_level
from nested_keras.tflite.lowering import Interface, lower
from nested_keras.tflite.operators.real_numbers import quantize
from nested_keras.tflite.program import Program, Tensor
from nested_keras.tflite.unpacking import HEAD_BYTES, check_head

Array: TypeAlias = npt.NDArray[Any]


ModelFile: TypeAlias = bytes | str | Path
"""The bytes or the path of a .tflite."""

AnyModel: TypeAlias = ModelFile | Program
"""The bytes, the path or the prepared graph of a .tflite."""


def read_model(model: ModelFile) -> bytes:
    """Reads a model given as bytes or as the path of its file.

    Raises:
        nested_keras.runtime.ModelError: The file is no .tflite.
    """
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    with Path(model).open("rb") as file:
        # A wrong path may name a file larger than the memory, or a device without an end.
        head = file.read(HEAD_BYTES)
        check_head(head)
        return head + file.read()


def load_program(model: AnyModel) -> Program:
    """Prepares a model; all runtimes and the code generator take a model through this function.

    Args:
        model: Contents of a .tflite, its path, or a prepared graph.

    Returns:
        The graph.

    Raises:
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
        nested_keras.runtime.UnsupportedOpError: The runtimes do not know an operator.
    """
    return model if isinstance(model, Program) else lower(read_model(model))


class ModelRunner(abc.ABC):
    """A .tflite model that can be run at each of its levels.

    Attributes:
        levels: Number of levels; level 0 is the sparsest, levels - 1 the densest.
        input_details: Name, shape, dtype, scale and zero point of each input without the level.
        output_details: Name, shape, dtype, scale and zero point of each output.
    """

    def __init__(self, interface: Interface | Program) -> None:
        """Takes the interface from a prepared model."""
        self.levels = interface.levels
        self.input_details = tuple(interface.tensors[index] for index in interface.inputs)
        self.output_details = tuple(interface.tensors[index] for index in interface.outputs)

    def run(self, x: Array | Sequence[Array], level: int | None = None) -> Any:
        """Runs a batch.

        Args:
            x: Input of shape [n, ...], or a sequence of inputs for a model with several inputs, of
                the type that the model takes. Numbers of any other type except int8 count as real
                numbers, and are quantised with the input's scale. n is a multiple of the model's
                own batch size.
            level: 0 .. levels - 1; None is the densest.

        Returns:
            The output of shape [n, ...], or a tuple of outputs for a model with several outputs.

        Raises:
            ValueError: If number, shape or type of the inputs or the level are wrong.
        """
        level = check_level(level, levels=self.levels)
        inputs = self._checked_inputs(x)
        parts = [self._run_batch(chunk, level) for chunk in self._chunks(inputs)]
        outputs = tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    @abc.abstractmethod
    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        """Runs at most `_chunk_size` samples; inputs have the model's own types."""

    @property
    def _chunk_size(self) -> int:
        """Samples per `_run_batch`."""
        return self.input_details[0].shape[0]

    def _chunks(self, inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
        for start in range(0, len(inputs[0]), self._chunk_size):
            yield tuple(value[start : start + self._chunk_size] for value in inputs)

    def _checked_inputs(self, x: Array | Sequence[Array]) -> tuple[Array, ...]:
        values = x if isinstance(x, list | tuple) else (x,)
        if len(values) != len(self.input_details):
            raise ValueError(f"expected {len(self.input_details)} inputs: got {len(values)}")
        inputs = tuple(
            as_input(np.asarray(value), tensor)
            for value, tensor in zip(values, self.input_details, strict=True)
        )
        sizes = [len(value) for value in inputs]
        batch = self.input_details[0].shape[0]
        if len(set(sizes)) != 1 or sizes[0] < 1 or sizes[0] % batch:
            raise ValueError(
                f"the number of samples must be a positive multiple of {batch}, the same for all "
                f"inputs: got {sizes}"
            )
        return inputs


def as_input(value: Array, tensor: Tensor) -> Array:
    """Checks one input, and quantises real numbers where the model takes 8 bits.

    Args:
        value: [n, ...], of the type of the tensor, or of any other type except int8.
        tensor: The input of the model.

    Returns:
        [n, ...] of the type of the tensor.

    Raises:
        ValueError: If shape or type are wrong.
    """
    if value.shape[1:] != tensor.shape[1:] or value.ndim != len(tensor.shape):
        raise ValueError(
            f"input {tensor.name!r} must have the shape {['n', *tensor.shape[1:]]}: "
            f"got {list(value.shape)}"
        )
    if value.dtype == tensor.dtype:
        return value
    if value.dtype.kind not in "biuf" or value.dtype == np.int8:
        expected = " or ".join(dict.fromkeys((tensor.dtype, "real numbers")))
        raise ValueError(f"input {tensor.name!r} must be {expected}: got {value.dtype}")
    real = value.astype(np.float32)
    if tensor.dtype == "float32":
        return real
    offset = 128 if tensor.dtype == "uint8" else 0
    codes = quantize(real, scale=tensor.scale, zero_point=tensor.zero_point - offset)
    return (codes.astype(np.int16) + offset).astype(tensor.dtype)
