"""The nodes that cut or lengthen any axis: the traces of their layers, and the float computation.

The layers stand for operators between layers; see `nested_keras.nesting.shape_layers`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.nodes import image_shape
from nested_keras.export.plain_layers import PlainNode
from nested_keras.nesting import shape_layers
from nested_keras.nesting.shape_layers import Bounds
from nested_keras.typing import KerasLayer


@dataclass(frozen=True, eq=False)
class Slice(PlainNode):
    """A slice, as Python counts.

    Attributes:
      bounds: (start, stop, step) of each axis after the batch.
    """

    keeps_scale: ClassVar[bool] = True

    bounds: tuple[Bounds, ...]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return operands[0][(slice(None), *(slice(*each) for each in self.bounds))]

    def as_image(self) -> Slice:
        """Returns the same operation on images of height one in the place of series."""
        shape = image_shape(self.shape)
        more = ((None, None, None),) * (len(shape) - len(self.shape))
        return dataclasses.replace(self, shape=shape, bounds=(*more, *self.bounds))


@dataclass(frozen=True, eq=False)
class PadAxes(PlainNode):
    """Zeros before and after the elements of each axis.

    Attributes:
      paddings: (before, after) of each axis after the batch.
    """

    keeps_scale: ClassVar[bool] = True

    paddings: tuple[tuple[int, int], ...]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.pad(operands[0], ((0, 0), *self.paddings))

    def as_image(self) -> PadAxes:
        """Returns the same operation on images of height one in the place of series."""
        shape = image_shape(self.shape)
        more = ((0, 0),) * (len(shape) - len(self.shape))
        return dataclasses.replace(self, shape=shape, paddings=(*more, *self.paddings))


def _slice(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    return graph.add(Slice, layer.name, inputs, shape=shape, bounds=layer.bounds)


def _pad_axes(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    if shape == graph.nodes[inputs[0]].shape:
        return inputs[0]
    return graph.add(PadAxes, layer.name, inputs, shape=shape, paddings=layer.paddings)


TRACES: dict[type, Trace] = {shape_layers.Slice: _slice, shape_layers.PadAxes: _pad_axes}
