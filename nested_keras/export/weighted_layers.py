"""The layers with weights: how each is traced to nodes. `forward` runs these nodes in float."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nested_keras.export.forward import numpy_of
from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.nodes import BatchNorm, Linear
from nested_keras.export.plain_layers import Pad, Reshape, add_activation
from nested_keras.format import LayerKind
from nested_keras.nesting import kinds, layers as nested_layers
from nested_keras.typing import KerasLayer, Value


def _linear(
    row: kinds.KernelKind,
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    shape: Shape,
) -> str:
    out_channels = shape[-1]
    flat_shape = shape
    if row.stream is LayerKind.FULLY_CONNECTED and len(shape) != 2:
        rows = int(np.prod(shape[:-1]))
        source_channels = graph.nodes[inputs[0]].shape[-1]
        inputs = (graph.add(Reshape, f"{layer.name}/rows", inputs, shape=(rows, source_channels)),)
        flat_shape = (rows, out_channels)
    nested = isinstance(layer, nested_layers.NestedKernel)
    kernel = graph.read_float(layer.kernel)
    level_map = graph.read(layer.level_map) if nested else np.zeros(kernel.shape, np.uint8)
    bias = np.zeros(out_channels) if layer.bias is None else graph.read_float(layer.bias)
    geometry = {}
    if row.stream is not LayerKind.FULLY_CONNECTED:
        geometry = {
            # TensorFlow's depthwise convolution has one stride for both directions; a height of
            # one has no other row to go to.
            "strides": kinds.pair(layer.strides, first=layer.strides[0]),
            "dilation": kinds.pair(layer.dilation_rate),
            "padding": "VALID" if layer.padding == "causal" else layer.padding.upper(),
        }
        if before := nested_layers.causal_padding(layer):
            inputs = (_pad_before(graph, f"{layer.name}/causal", inputs[0], before),)
    name = graph.add(
        Linear,
        layer.name,
        inputs,
        shape=flat_shape,
        kind=row.stream,
        filter=_ohwi(kernel, row),
        level_map=_ohwi(level_map, row),
        gain=np.ones((graph.levels, out_channels)),
        bias=numpy_of(bias).tile(bias, (graph.levels, 1)),
        depth_multiplier=kernel.shape[-1] if row.stream is LayerKind.DEPTHWISE else 1,
        block_size=layer.block_shape[-1] if nested else 1,
        per_level=nested,
        **geometry,
    )
    name = add_activation(graph, layer, layer.activation, name)
    if flat_shape != shape:
        name = graph.add(Reshape, f"{layer.name}/shape", (name,), shape=shape)
    return name


def _pad_before(graph: GraphBuilder, name: str, source: str, count: int) -> str:
    """Puts zeros before the first step of a series."""
    batch, length, channels = graph.nodes[source].shape
    shape = (batch, length + count, channels)
    return graph.add(Pad, name, (source,), shape=shape, paddings=((0, 0), (count, 0)))


def _ohwi(kernel: Value, row: kinds.KernelKind) -> Any:
    """Returns a kernel, or its level map, in the order of a filter: OHWI."""
    numpy = numpy_of(kernel)
    return numpy.transpose(numpy.reshape(kernel, row.hwio(kernel.shape)), (3, 0, 1, 2))


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


TRACES: dict[type, Trace] = {
    **{
        cls: functools.partial(_linear, row)
        for row in kinds.ROWS
        for cls in (row.keras, row.nested)
    },
    nested_layers.NestedBatchNormalization: _batch_norm,
}
