"""Quantisation-aware training: the levels run as the folded graph that export converts.

Each step walks the graph with the layers' variables in the place of arrays, so that the gradient
reaches kernels, biases, gamma and beta through the fold. The step rounds as the int8 model does:
activations to their ranges (`calibrate.Ranges`), and weights to

    w_q = round(W / s),    s = max |W| over the weights of the densest level / 127,

per output channel. The formula leaves out the factor c of the folded BatchNorm, because c is
constant within a channel and cancels: the converter rounds c W (`quantize.twin_gain`).
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from nested_keras.export import activations, forward
from nested_keras.export.activations import Quantization
from nested_keras.export.calibrate import Ranges
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.nodes import Graph, Linear, Node
from nested_keras.export.plain_layers import PROBABILITY_SCALE
from nested_keras.export.representative import collect
from nested_keras.nesting.input_forms import keys_of
from nested_keras.nesting.model import NestedModel
from nested_keras.typing import Data, KerasTensor


def quantize_aware(model: NestedModel, *, representative_dataset: Data) -> None:
    """Makes a model compute as its int8 export; see `nested_keras.export.quantize_aware`."""
    if model.quantization is None:
        graph = fold(trace(model))
        shapes = [graph.nodes[name].shape[1:] for name in graph.inputs]
        data = collect(representative_dataset, shapes, keys_of(model))
        model.quantization = activations.measure(graph, data)
    run_as_int8(model, model.quantization)


def run_as_int8(model: NestedModel, quantization: Quantization) -> None:
    """Makes a model compute with a quantisation of its activations."""
    model.run_levels(functools.partial(QuantizedLevel, model, quantization))


class QuantizedLevel(keras.Model):
    """One level of a nested model, computed as its int8 export will.

    Args:
        model: The nested model, which owns the weights.
        quantization: The quantisation of the activations.
        level: The level.
    """

    def __init__(self, model: NestedModel, quantization: Quantization, level: int) -> None:
        super().__init__(name=f"{model.name}_level_{level}_int8", dtype="float32")
        # In a partial, because Keras would track an attribute as a sub-model.
        self._run = functools.partial(_run, model, quantization, level)

    def call(self, inputs: KerasTensor) -> Any:
        """Runs a batch of the model's inputs, float32."""
        return self._run(inputs)


def _run(model: NestedModel, quantization: Quantization, level: int, inputs: KerasTensor) -> Any:
    graph = fold(trace(model, read=tf.convert_to_tensor))
    graph, ranges = activations.apply(graph, quantization)
    parameters = functools.partial(_parameters, level)
    # Pixels may come as integers.
    real = [tf.cast(each, tf.float32) for each in keras.tree.flatten(inputs)]
    outputs = forward.run(graph, real, parameters, _rounding(graph, ranges))
    return keras.tree.pack_sequence_as(model.output, list(outputs))


def _rounding(graph: Graph, ranges: Ranges) -> forward.Observer:
    """Returns what rounds the output of a node as int8 does.

    A value of fixed scale that an output holds as it is stays as it is, because a loss may take the
    logarithm of a probability.
    """
    held = set(graph.outputs)
    for node in reversed(list(graph.nodes.values())):
        if node.name in held & ranges.fixed.keys() and node.fixed_scale is None:
            held.update(node.inputs)

    def rounded(node: Node, value: KerasTensor) -> Any:
        scale = node.fixed_scale
        if scale is None or node.name in held:
            return ranges.fake_quantize(node, value)
        low = 0.0 if scale == PROBABILITY_SCALE else -1.0
        high = low + 255 * scale
        return tf.quantization.fake_quant_with_min_max_args(value, low, high, num_bits=8)

    return rounded


def _parameters(level: int, node: Linear) -> tuple[Any, Any]:
    """Returns the filter that int8 holds, masked and with its gain, and the bias of one level."""
    weights = tf.cast(node.filter, tf.float32)
    densest = tf.where(node.level_map < node.levels, weights, 0.0)
    scale = tf.reduce_max(tf.abs(densest), axis=(1, 2, 3), keepdims=True) / 127.0
    scale = tf.where(scale > 0.0, scale, 1.0)
    rounding = tf.stop_gradient(tf.round(weights / scale) * scale - weights)
    masked = tf.where(node.level_map <= level, weights + rounding, 0.0)
    gain, bias = (tf.cast(values[level], tf.float32) for values in (node.gain, node.bias))
    return masked * tf.reshape(gain, (-1, 1, 1, 1)), bias
