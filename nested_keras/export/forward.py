"""Run a folded graph in float with TensorFlow, for calibration and conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from nested_keras.export.nodes import Graph, Input, Linear, Node
from nested_keras.export.plain_layers import FUSED_ACTIVATIONS, PlainNode
from nested_keras.export.tensor_names import scope_name
from nested_keras.format import LayerKind
from nested_keras.typing import Float32Array, FloatArray, Value

Parameters: TypeAlias = Callable[[Linear], tuple[Any, Any]]
Observer: TypeAlias = Callable[[Node, Any], Any]

# Examples that `observe` runs at once.
_BATCH = 64


def numpy_of(value: Value) -> Any:
    """Returns the NumPy module for a value: TensorFlow's NumPy for a tensor."""
    return np if isinstance(value, np.ndarray) else tf.experimental.numpy


def level_parameters(level: int) -> Parameters:
    """Returns a function from a linear node to its filter (OHWI, with gain) and bias at a level."""

    def parameters(node: Linear) -> tuple[FloatArray, FloatArray]:
        gain = node.gain[level].reshape(-1, 1, 1, 1)
        return node.masked_filter(level) * gain, node.bias[level]

    return parameters


def observe(
    graph: Graph,
    data: tuple[Float32Array, ...],
    see: Callable[[int, Node, Float32Array], None],
) -> None:
    """Shows every node's output, at each level, for all examples.

    Args:
        graph: The folded graph.
        data: Examples, one array [n, ...] per input.
        see: Called with the level, a node and its output for some of the examples.
    """
    for level in range(graph.levels):

        def show(node: Node, value: Value, level: int = level) -> Any:
            see(level, node, np.asarray(value))
            return value

        parameters = level_parameters(level)
        for start in range(0, len(data[0]), _BATCH):
            run(graph, [array[start : start + _BATCH] for array in data], parameters, show)


def run(
    graph: Graph, inputs: Sequence[Any], parameters: Parameters, observe: Observer
) -> tuple[Any, ...]:
    """Runs a graph without BatchNorm nodes.

    Args:
        graph: The folded graph.
        inputs: One float32 tensor per graph input, [n, ...]; any n where no node mixes the batch
            with other dimensions.
        parameters: Gives the filter (OHWI) and bias of a linear node.
        observe: Called with every node and its output; its result takes the place of the output.

    Returns:
        The graph's outputs.
    """
    values: dict[str, Any] = {}
    feeds = dict(zip(graph.inputs, inputs, strict=True))
    for index, node in enumerate(graph.nodes.values()):
        with tf.name_scope(scope_name(index)):
            if isinstance(node, Input):
                value = feeds[node.name]
            elif isinstance(node, Linear):
                value = _linear(node, values[node.inputs[0]], *parameters(node))
            elif isinstance(node, PlainNode):
                value = node.compute([values[name] for name in node.inputs])
            else:
                raise TypeError(f"no TensorFlow form of {type(node).__name__}")
            values[node.name] = observe(node, value)
    return tuple(values[name] for name in graph.outputs)


def _linear(node: Linear, x: Value, filter_ohwi: Value, bias: Value) -> Any:
    kernel = _to_tensorflow(node, _float32(filter_ohwi))
    strides = (1, *node.strides, 1)
    if node.kind is LayerKind.CONV:
        y = tf.nn.conv2d(x, kernel, strides, node.padding, dilations=node.dilation)
    elif node.kind is LayerKind.DEPTHWISE:
        y = tf.nn.depthwise_conv2d(x, kernel, strides, node.padding, dilations=node.dilation)
    else:
        y = tf.matmul(x, kernel)
    return FUSED_ACTIVATIONS[node.activation](y + _float32(bias))


def _float32(value: Value) -> Any:
    return value.astype(np.float32) if isinstance(value, np.ndarray) else value


def _to_tensorflow(node: Linear, filter_ohwi: Value) -> Any:
    """OHWI to TensorFlow's order: HWIO, [H, W, C, D] for depthwise, [I, O] for a matrix."""
    numpy = numpy_of(filter_ohwi)
    if node.kind is LayerKind.FULLY_CONNECTED:
        return numpy.transpose(filter_ohwi[:, 0, 0, :])
    if node.kind is LayerKind.CONV:
        return numpy.transpose(filter_ohwi, (1, 2, 3, 0))
    shape = (*filter_ohwi.shape[1:3], -1, node.depth_multiplier)
    return numpy.reshape(numpy.transpose(filter_ohwi, (1, 2, 0, 3)), shape)
