"""The layers that move, repeat or pad pixels: their traces, and the float computation of nodes.

`nested_keras.nesting.entries` has the other half of their entries.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.nodes import Node, image_shape
from nested_keras.export.plain_layers import PlainNode, Reshape
from nested_keras.typing import KerasLayer

# TFLite Micro transposes no more axes.
_MAX_RANK = 5


@dataclass(frozen=True, eq=False)
class Pad(PlainNode):
    """Zero padding of height and width.

    Attributes:
      paddings: ((top, bottom), (left, right)).
    """

    keeps_scale: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True

    paddings: tuple[tuple[int, int], tuple[int, int]]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.pad(operands[0], ((0, 0), *self.paddings, (0, 0)))


@dataclass(frozen=True, eq=False)
class Crop(PlainNode):
    """The pixels from (top, left) on, as many as `shape` says.

    Attributes:
        start: (top, left).
    """

    keeps_scale: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True

    start: tuple[int, int]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        (top, left), (_, height, width, _) = self.start, self.shape
        return operands[0][:, top : top + height, left : left + width, :]


@dataclass(frozen=True, eq=False)
class DepthToSpace(PlainNode):
    """Channel (a * across + b) * C + c of a pixel goes to row a and column b of its block.

    Attributes:
        block: (down, across): pixels of a block.
    """

    keeps_scale: ClassVar[bool] = True

    block: tuple[int, int]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        down, across = self.block
        _, height, width, channels = self.shape
        value = operands[0]
        # A reshape puts the columns of a block in their place, and a transposition the rows.
        # DEPTH_TO_SPACE would not do, because LiteRT's reference kernels lack the int8 version.
        if down > 1:
            rows = (-1, height // down, width // across, down, across * channels)
            value = tf.transpose(tf.reshape(value, rows), (0, 1, 3, 2, 4))
        return tf.reshape(value, (-1, *self.shape[1:]))

    def moves_pixels(self) -> bool:
        """Returns whether the node is more than a Reshape: rows of blocks beside each other."""
        down, across = self.block
        return down > 1 and self.shape[2] > across


@dataclass(frozen=True, eq=False)
class Transpose(PlainNode):
    """The axes in another order.

    Attributes:
        permutation: For each axis of the output, batch included, the axis of the input.
    """

    keeps_scale: ClassVar[bool] = True

    permutation: tuple[int, ...]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        if operands[0].shape[0] != 1 or len(self.permutation) <= _MAX_RANK:
            return tf.transpose(operands[0], self.permutation)
        value = tf.reshape(operands[0], operands[0].shape[1:])
        value = tf.transpose(value, [axis - 1 for axis in self.permutation[1:]])
        return tf.reshape(value, self.shape)

    def as_image(self) -> Transpose:
        """Returns the same operation on images of height one in the place of series."""
        shape = image_shape(self.shape)
        if shape == self.shape:
            return self
        permutation = (0, 1, *(axis + 1 for axis in self.permutation[1:]))
        return dataclasses.replace(self, shape=shape, permutation=permutation)


@dataclass(frozen=True, eq=False)
class Resize(PlainNode):
    """Height and width times whole factors.

    Attributes:
        function: "nearest" or "bilinear".
    """

    keeps_scale: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True

    function: str

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        resize = (
            tf.raw_ops.ResizeNearestNeighbor
            if self.function == "nearest"
            else tf.raw_ops.ResizeBilinear
        )
        return resize(images=operands[0], size=self.shape[1:3], half_pixel_centers=True)


def source_of_values(nodes: Mapping[str, Node], name: str) -> tuple[str, bool]:
    """Finds the first node that has the values of a node in the same order.

    The nodes between the two are reshapes, and transposes that undo each other; the converter
    leaves out both.

    Returns:
        The name of the node, and whether transposes lie between.
    """
    source, undone, turned = name, False, False
    node = nodes[name]
    if not isinstance(node, Reshape | Transpose):
        return source, undone
    order = places = np.arange(math.prod(node.shape))
    while isinstance(node, Reshape | Transpose):
        read = places
        if isinstance(node, Transpose):
            read = places.reshape(nodes[node.inputs[0]].shape).transpose(node.permutation).ravel()
            turned = True
        order, node = read[order], nodes[node.inputs[0]]
        if np.array_equal(order, places):
            source, undone = node.name, turned
    return source, undone


def _crop(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    if shape == graph.nodes[inputs[0]].shape:
        return inputs[0]
    sides = layer.cropping if len(shape) == 4 else ((0, 0), layer.cropping)
    (top, _), (left, _) = sides
    return graph.add(Crop, layer.name, inputs, shape=shape, start=(int(top), int(left)))


def _up_sampling(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    if shape == graph.nodes[inputs[0]].shape:
        return inputs[0]
    function = getattr(layer, "interpolation", "nearest")  # UpSampling1D repeats
    return graph.add(Resize, layer.name, inputs, shape=shape, function=function)


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


def _pad(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    if shape == graph.nodes[inputs[0]].shape:
        return inputs[0]
    sides = layer.padding if len(shape) == 4 else ((0, 0), layer.padding)
    paddings = tuple((int(before), int(after)) for before, after in sides)
    return graph.add(Pad, layer.name, inputs, shape=shape, paddings=paddings)


L = keras.layers
TRACES: dict[type, Trace] = {
    L.Cropping1D: _crop,
    L.Cropping2D: _crop,
    L.Permute: _permute,
    L.UpSampling1D: _up_sampling,
    L.UpSampling2D: _up_sampling,
    L.ZeroPadding1D: _pad,
    L.ZeroPadding2D: _pad,
}
