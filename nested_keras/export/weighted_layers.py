"""The layers with weights or statistics: the traces to nodes.

`forward` runs these nodes in float.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from nested_keras.export.forward import numpy_of
from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.moving_layers import Crop, DepthToSpace, Pad
from nested_keras.export.nodes import BatchNorm, Linear, Node, image_shape
from nested_keras.export.plain_layers import PlainNode, Reshape, add_activation
from nested_keras.format import LayerKind
from nested_keras.nesting import filters, kinds, layers as nested_layers
from nested_keras.typing import FloatArray, KerasLayer, Value


def _linear(
    row: kinds.KernelKind,
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    shape: Shape,
) -> str:
    flat_shape = shape
    if len(shape) > 4:  # a Dense
        flat_shape = (1, 1, int(np.prod(shape[1:-1])), shape[-1])
        flat_input = (*flat_shape[:-1], graph.nodes[inputs[0]].shape[-1])
        inputs = (graph.add(Reshape, f"{layer.name}/pixels", inputs, shape=flat_input),)
    geometry = {}
    if row.stream is not LayerKind.FULLY_CONNECTED:
        geometry = {
            # TensorFlow's depthwise convolution has one stride for both directions. The vertical
            # stride has no effect, because an image of height one has one row of pixels.
            "strides": kinds.pair(layer.strides, first=layer.strides[0]),
            "dilation": kinds.pair(layer.dilation_rate),
            "padding": "VALID" if layer.padding == "causal" else layer.padding.upper(),
        }
        if before := nested_layers.causal_padding(layer):
            inputs = (_pad_before(graph, f"{layer.name}/causal", inputs[0], before),)
    name = _add_linear(row, graph, layer, inputs, shape=flat_shape, **geometry)
    name = add_activation(graph, layer, layer.activation, name)
    if flat_shape != shape:
        name = graph.add(Reshape, f"{layer.name}/shape", (name,), shape=shape)
    return name


def _pad_before(graph: GraphBuilder, name: str, source: str, count: int) -> str:
    """Puts zeros before the first step of a series."""
    batch, length, channels = graph.nodes[source].shape
    shape = (batch, length + count, channels)
    return graph.add(Pad, name, (source,), shape=shape, paddings=((0, 0), (count, 0)))


def _conv_transpose(
    row: kinds.KernelKind,
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    shape: Shape,
) -> str:
    """Adds a plain convolution whose channels hold blocks of pixels; see `nesting.filters`."""
    axes = filters.up_axes(layer)
    _, *window, source_channels = graph.nodes[inputs[0]].shape
    sizes = kinds.pair(window)

    def of_rank(height: int, width: int, channels: int) -> Shape:
        """A series has no height, which is one."""
        return (1, *(height, width)[-len(window) :], channels)

    padding = "SAME" if all(axis.pads_as_same for axis in axes) else "VALID"
    if padding == "VALID":
        paddings = tuple((axis.before, axis.after) for axis in axes)
        height, width = (n + sum(pair) for n, pair in zip(sizes, paddings, strict=True))
        padded = of_rank(height, width, source_channels)
        name = graph.add(Pad, f"{layer.name}/pad", inputs, shape=padded, paddings=paddings)
        inputs = (name,)
    height, width = (axis.pixels(n) for axis, n in zip(axes, sizes, strict=True))
    down, across = block = tuple(axis.stride for axis in axes)
    name = _add_linear(
        row,
        graph,
        layer,
        inputs,
        shape=of_rank(height, width, down * across * shape[-1]),
        dilation=tuple(axis.dilation for axis in axes),
        padding=padding,
    )
    image = of_rank(height * down, width * across, shape[-1])
    if block != (1, 1):
        name = graph.add(DepthToSpace, f"{layer.name}/image", (name,), shape=image, block=block)
    if image != shape:
        name = graph.add(Crop, f"{layer.name}/crop", (name,), shape=shape, start=(0, 0))
    return add_activation(graph, layer, layer.activation, name)


def _add_linear(
    row: kinds.KernelKind,
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    *,
    shape: Shape,
    **geometry: Any,
) -> str:
    """Adds the node of a layer's kernel and bias."""
    nested = isinstance(layer, nested_layers.NestedKernel)
    kernel = graph.read_float(layer.kernel)
    level_map = graph.read(layer.level_map) if nested else np.zeros(kernel.shape, np.uint8)
    out_channels = shape[-1]
    bias = np.zeros(out_channels) if layer.bias is None else graph.read_float(layer.bias)
    places = row.places(layer)
    return graph.add(
        Linear,
        layer.name,
        inputs,
        shape=shape,
        kind=row.stream_on(len(shape)),
        filter=_ohwi(kernel, row, places, outside=0),
        level_map=_ohwi(level_map, row, places, outside=graph.levels),
        gain=np.ones((graph.levels, out_channels)),
        bias=numpy_of(bias).tile(bias, (graph.levels, out_channels // bias.shape[0])),
        weights=int(np.prod(kernel.shape)),
        depth_multiplier=kernel.shape[-1] if row.stream is LayerKind.DEPTHWISE else 1,
        block_size=layer.block_shape[-1] if nested else 1,
        per_level=nested,
        **geometry,
    )


def _ohwi(
    values: Value, row: kinds.KernelKind, places: filters.Places | None, *, outside: int
) -> Any:
    """Returns a kernel, or its level map, in the order of a filter: OHWI.

    `outside` fills the places of a filter that have no weight in the kernel.
    """
    numpy = numpy_of(values)
    if places is not None:
        flat = numpy.reshape(values, (-1,))
        flat = numpy.concatenate([flat, numpy.asarray([outside], flat.dtype)], axis=0)
        return numpy.take(flat, np.where(places < 0, flat.shape[0] - 1, places), axis=0)
    return numpy.transpose(numpy.reshape(values, row.hwio(values.shape)), (3, 0, 1, 2))


def _batch_norm(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    variance = graph.read_float(layer.moving_variance) + layer.epsilon
    gain = 1.0 / numpy_of(variance).sqrt(variance)
    if layer.gamma is not None:
        gain = gain * graph.read_float(layer.gamma)
    bias = -graph.read_float(layer.moving_mean) * gain
    if layer.beta is not None:
        bias = bias + graph.read_float(layer.beta)
    return graph.add(BatchNorm, layer.name, inputs, shape=shape, gain=gain, bias=bias)


def _rescaling(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    scale, offset = (np.asarray(value, np.float64) for value in (layer.scale, layer.offset))
    return _affine(graph, layer, inputs, shape, scale=scale, offset=offset)


def _normalization(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    mean, variance = (np.asarray(value, np.float64) for value in (layer.mean, layer.variance))
    deviation = np.sqrt(variance)
    if layer.invert:
        return _affine(graph, layer, inputs, shape, scale=deviation, offset=mean)
    scale = 1.0 / np.maximum(deviation, keras.config.epsilon())
    return _affine(graph, layer, inputs, shape, scale=scale, offset=-mean * scale)


def _affine(
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    shape: Shape,
    *,
    scale: FloatArray,
    offset: FloatArray,
) -> str:
    """`scale * x + offset`, both broadcast to x: a BatchNorm, the same at all levels.

    The first axis with more than one value, and all axes behind that axis, count as channels.
    """
    both = np.broadcast_shapes(scale.shape, offset.shape)
    sizes = (*[1] * (len(shape) - len(both)), *both)
    first = next((axis for axis, size in enumerate(sizes) if size > 1), len(shape) - 1)
    channels = shape[first:]
    flat = (*shape[:first], int(np.prod(channels)))
    if flat != shape:
        inputs = (graph.add(Reshape, f"{layer.name}/channels", inputs, shape=flat),)
    gain, bias = (
        np.tile(
            np.broadcast_to(value.reshape(value.shape[-len(channels) :]), channels).ravel(),
            (graph.levels, 1),
        )
        for value in (scale, offset)
    )
    name = graph.add(
        BatchNorm, layer.name, inputs, shape=flat, gain=gain, bias=bias, per_level=False
    )
    if flat != shape:
        name = graph.add(Reshape, f"{layer.name}/back", (name,), shape=shape)
    return name


@dataclass(frozen=True, eq=False)
class Prelu(PlainNode):
    """x where it is not negative, alpha * x below.

    Attributes:
        alpha: float64, of the rank of x without the batch.
    """

    has_values: ClassVar[bool] = True

    alpha: FloatArray

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        (x,) = operands
        return tf.where(x < 0, tf.cast(self.alpha, tf.float32) * x, x)

    def as_image(self) -> Node:
        """Returns the same operation on images of height one in the place of series."""
        slopes = image_shape((1, *self.alpha.shape))[1:]
        alpha = numpy_of(self.alpha).reshape(self.alpha, slopes)
        return dataclasses.replace(self, shape=image_shape(self.shape), alpha=alpha)


def _prelu(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    alpha = graph.read_float(layer.alpha)
    return graph.add(Prelu, layer.name, inputs, shape=shape, alpha=alpha)


TRACES: dict[type, Trace] = {
    cls: functools.partial(_conv_transpose if row.keras in kinds.TRANSPOSED else _linear, row)
    for row in kinds.ROWS
    for cls in (row.keras, row.nested)
}
TRACES |= {
    nested_layers.NestedBatchNormalization: _batch_norm,
    keras.layers.Normalization: _normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.PReLU: _prelu,
}
