"""The layers that move or repeat pixels: how each is traced to nodes, and how these run in float.

The other half of their entries stands in `nested_keras.nesting.entries`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.plain_layers import PlainNode, Reshape
from nested_keras.typing import KerasLayer


class Move(PlainNode):
    """A node whose int8 operator keeps the scale of its one input."""

    keeps_scale = True


@dataclass(frozen=True, eq=False)
class Crop(Move):
    """The pixels from (top, left) on, as many as `shape` says.

    Attributes:
        start: (top, left).
    """

    start: tuple[int, int]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        (top, left), (_, height, width, _) = self.start, self.shape
        return operands[0][:, top : top + height, left : left + width, :]


@dataclass(frozen=True, eq=False)
class DepthToSpace(Move):
    """Channel (a * across + b) * C + c of a pixel goes to row a and column b of its block.

    Attributes:
        block: (down, across): pixels of a block.
    """

    block: tuple[int, int]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        down, across = self.block
        _, height, width, channels = self.shape
        value = operands[0]
        # A reshape puts the columns of a block in their place. The rows need a transposition; not
        # DEPTH_TO_SPACE, of which LiteRT's reference kernels lack the quantised version.
        if down > 1:
            rows = (-1, height // down, width // across, down, across * channels)
            value = tf.transpose(tf.reshape(value, rows), (0, 1, 3, 2, 4))
        return tf.reshape(value, (-1, *self.shape[1:]))


@dataclass(frozen=True, eq=False)
class Transpose(Move):
    """The axes in another order.

    Attributes:
        permutation: For each axis of the output, the batch included, that of the input.
    """

    permutation: tuple[int, ...]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.transpose(operands[0], self.permutation)


@dataclass(frozen=True, eq=False)
class Resize(Move):
    """Height and width times whole factors.

    Attributes:
        function: "nearest" or "bilinear".
    """

    function: str

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        resize = (
            tf.raw_ops.ResizeNearestNeighbor
            if self.function == "nearest"
            else tf.raw_ops.ResizeBilinear
        )
        return resize(images=operands[0], size=self.shape[1:3], half_pixel_centers=True)


def _crop(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    (top, _), (left, _) = layer.cropping
    return graph.add(Crop, layer.name, inputs, shape=shape, start=(int(top), int(left)))


def _up_sampling(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    if tuple(layer.size) == (1, 1):
        return inputs[0]
    return graph.add(Resize, layer.name, inputs, shape=shape, function=layer.interpolation)


def _permute(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    """Neighbours that stay neighbours become one axis: TFLite Micro transposes five at most."""
    sizes = graph.nodes[inputs[0]].shape
    # Axes of the output, runs of the input's axes, those of one pixel left out.
    runs: list[list[int]] = []
    for axis in (axis for axis in layer.dims if sizes[axis] > 1):
        last = runs[-1][-1] if runs else axis
        if runs and all(sizes[between] == 1 for between in range(last + 1, axis)) and last < axis:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    order = sorted(runs)
    if order == runs:
        return graph.add(Reshape, layer.name, inputs, shape=shape)
    size_of = {run[0]: math.prod(sizes[axis] for axis in run) for run in runs}
    before = (1, *(size_of[run[0]] for run in order))
    after = (1, *(size_of[run[0]] for run in runs))
    permutation = (0, *(1 + order.index(run) for run in runs))
    if before != sizes:
        name = graph.add(Reshape, f"{layer.name}/runs", inputs, shape=before)
        inputs = (name,)
    last_name = layer.name if after == shape else f"{layer.name}/transposed"
    name = graph.add(Transpose, last_name, inputs, shape=after, permutation=permutation)
    if after == shape:
        return name
    return graph.add(Reshape, layer.name, (name,), shape=shape)


L = keras.layers
TRACES: dict[type, Trace] = {
    L.Cropping2D: _crop,
    L.Permute: _permute,
    L.UpSampling2D: _up_sampling,
}
