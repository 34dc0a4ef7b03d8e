"""Layers for operators without a layer in Keras: a slice, and zeros at the ends of any axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from nested_keras.typing import KerasArgument, KerasTensor

Bounds: TypeAlias = tuple[int | None, int | None, int | None]

_register = keras.saving.register_keras_serializable(package="nested_keras")


@_register
class Slice(keras.layers.Layer):
    """`x[:, start:stop:step, ...]`, as Python counts.

    Args:
        bounds: (start, stop, step) of each axis after the batch.
        **kwargs: The arguments of `keras.layers.Layer`.
    """

    def __init__(self, bounds: Iterable[Iterable[int | None]], **kwargs: KerasArgument) -> None:
        super().__init__(**kwargs)
        self.bounds: tuple[Bounds, ...] = tuple((start, stop, step) for start, stop, step in bounds)

    def call(self, inputs: KerasTensor) -> Any:
        """Cuts the slice out of a batch."""
        return inputs[(slice(None), *(slice(*each) for each in self.bounds))]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the layer again."""
        return {**super().get_config(), "bounds": [list(each) for each in self.bounds]}


@_register
class PadAxes(keras.layers.Layer):
    """Zeros before and after the elements of each axis.

    Args:
        paddings: (before, after) of each axis after the batch.
        **kwargs: The arguments of `keras.layers.Layer`.
    """

    def __init__(self, paddings: Iterable[Iterable[int]], **kwargs: KerasArgument) -> None:
        super().__init__(**kwargs)
        self.paddings = tuple((before, after) for before, after in paddings)

    def call(self, inputs: KerasTensor) -> Any:
        """Pads a batch."""
        return keras.ops.pad(inputs, ((0, 0), *self.paddings))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the layer again."""
        return {**super().get_config(), "paddings": [list(each) for each in self.paddings]}
