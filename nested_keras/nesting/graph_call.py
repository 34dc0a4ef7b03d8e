"""One operator in a graph, and the layers that are made to take its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from nested_keras.nesting import supported
from nested_keras.typing import KerasArgument, KerasTensor

# Gets the tensors of a call, in their order, and returns its outputs.
Compute: TypeAlias = Callable[..., Any]


class RefusedError(ValueError):
    """An operator that no layer of a nested model computes; the text says why."""


@dataclasses.dataclass(frozen=True)
class Replacement:
    """The layers that take the place of one operation of a graph.

    Attributes:
        layers: The layers; the last one has the operation's name.
        call: Calls the layers; takes the arguments of the call of the operation.
    """

    layers: list[Any]
    call: Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class GraphCall:
    """One operator in a graph, and the layers that are made for it so far.

    Attributes:
        operation: The operator.
        name: The name of the operator in the nested model.
        arguments: The arguments of the call by name: tensors and constants.
        tensors: The tensors among the arguments.
        outputs: The outputs of the call, symbolic.
        layers: The layers, in the order in which they were made.
    """

    operation: Any
    name: str
    arguments: Mapping[str, Any]
    tensors: tuple[Any, ...]
    outputs: tuple[Any, ...]
    layers: list[Any]

    @property
    def output(self) -> Any:
        """The first output."""
        return self.outputs[0]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of the first tensor."""
        return tuple(self.tensors[0].shape)

    def layer(self, kind: type[Any], part: str = "", **arguments: KerasArgument) -> Any:
        """Makes a layer.

        Args:
            kind: Its class.
            part: The end of the layer's name, after the operator's name; "" for the last layer.
            **arguments: The arguments of the class.
        """
        layer = kind(name=f"{self.name}{part}", dtype=self.output.dtype, **arguments)
        if text := supported.refusal(layer, layer.name) or supported.export_refusal(
            layer, layer.name
        ):
            raise RefusedError(f"is not supported, because {text}")
        self.layers.append(layer)
        return layer

    def shape_of(self, output: KerasTensor, part: str = "") -> Any:
        """Makes the layer that gives a tensor the shape of an output."""
        target = [-1 if size is None else size for size in output.shape[1:]]
        if target.count(-1) > 1:
            raise RefusedError(f"must give one open size at most: got {tuple(output.shape)}")
        return self.layer(keras.layers.Reshape, part, target_shape=target)


Entry: TypeAlias = Callable[[GraphCall], Compute]
