"""Evens out the channels that a depthwise convolution reads, so that one int8 range serves all.

Int8 gives an activation one scale for all of its channels. Channels may differ a hundredfold, as
after a sparse pointwise convolution with a few weights per channel. A small channel then has few
int8 steps, and a depthwise convolution enlarges the rounding error, because a depthwise convolution
reads each channel alone. Factors that cancel even out the channels: with f > 0,

    relu(f (g x + b)) = f relu(g x + b),        depthwise(f y) / f = depthwise(y),

so the node that makes channel c may scale the channel by f_c, if the gain of the depthwise
convolution is divided by f_c. In int8 both factors go into tables that each channel and level has
anyway, so the factors cost no memory. Channels are scaled up towards the largest channel of the
activation, level by level. (This is the cross-layer equalisation of Nagel et al., arXiv:1906.04721,
without its other half, because the scales of weights are per channel here.)

A channel is scaled up no further than its rounding matters. A larger factor would gain nothing, and
may cost time: a channel whose sums are enlarged to int8 leaves the range of the kernels' short
requantisation (docs/kernels.md).

relu6 does not let factors through: f relu6(x) ends at 6 f, another limit for each channel, and an
int8 layer has one limit for all of its channels. Nodes with relu6 are not scaled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from nested_keras.export import forward
from nested_keras.export.nodes import Graph, Linear, Node
from nested_keras.format import LayerKind
from nested_keras.typing import Float32Array, FloatArray, Value

# By the name of a node: factors of its channels, [N, O].
Factors: TypeAlias = Mapping[str, FloatArray]

# A smaller channel counts as 1/1024 of the largest channel, because its rounding does not matter,
# and because the entries of the tables must stay in range.
_LARGEST = 1024.0
# The rounding of a channel may move the result of the depthwise convolution by this share of one
# int8 step of that result. The result's own rounding moves it by up to half a step.
_MOVED = 0.25


def measure_factors(graph: Graph, data: tuple[Float32Array, ...]) -> Factors:
    """Measures the factors that even out the channels in front of depthwise convolutions.

    Args:
        graph: The folded graph.
        data: Representative examples, one array [n, ...] per input.

    Returns:
        Factors for `equalize`, 1 or more. Where one of the two nodes is equal at all levels, the
        factors are equal at all levels too, so that the node stays equal.
    """
    pairs = list(_pairs(graph))
    largest = {node.name: np.zeros(node.gain.shape) for pair in pairs for node in pair}

    def see(level: int, node: Node, array: Float32Array) -> None:
        if node.name in largest:
            seen = np.abs(array).max(axis=tuple(range(array.ndim - 1)))
            largest[node.name][level] = np.maximum(largest[node.name][level], seen)

    if pairs:
        forward.observe(graph, data, see)
    makers = {maker.name for maker, _ in pairs}
    factors = {}
    for maker, reader in pairs:
        values = largest[maker.name]
        most = values.max()
        results = largest[reader.name]
        # The channels of a depthwise convolution that is a maker itself get factors of their own.
        enough = _enough(reader, most, results if reader.name in makers else results.max())
        if not (maker.per_level and reader.per_level):
            values[:], enough[:] = values.max(axis=0), enough.max(axis=0)
        used = values > 0.0  # a channel that is always zero stays as it is
        even = np.ones_like(values)
        even[used] = most / np.maximum(values, most / _LARGEST)[used]
        factors[maker.name] = np.clip(enough, 1.0, even)
    return factors


def _enough(reader: Linear, most: float, results: FloatArray) -> FloatArray:
    """Returns the factors [N, C] beyond which the rounding of a channel does not matter.

    Rounding moves a value by up to half a step, which is `most` / 255 / factor, and a result by up
    to that times the sum of the magnitudes of the weights.

    Args:
        reader: The depthwise convolution that reads the channels.
        most: The largest value of all channels.
        results: The largest results that share a scale with each result; [N, O] or a number.
    """
    levels = range(reader.levels)
    sums = [np.abs(reader.masked_filter(level)).sum(axis=(1, 2, 3)) for level in levels]
    moved = 0.5 * most * np.abs(reader.gain * sums)
    enough = np.divide(
        moved, _MOVED * results, out=np.full_like(moved, np.inf), where=np.asarray(results) > 0.0
    )
    channels = enough.reshape(reader.levels, -1, reader.depth_multiplier)
    factors: FloatArray = channels.max(axis=-1)
    return factors


def equalize(graph: Graph, factors: Factors) -> Graph:
    """Returns the same network with scaled channels.

    Args:
        graph: The folded graph; its gains and biases may be tensors.
        factors: The result of `measure_factors` for the same graph.
    """
    nodes: dict[str, Any] = dict(graph.nodes)
    for maker, reader in _pairs(graph):
        if maker.name not in factors:
            continue
        factor = np.asarray(factors[maker.name])
        scaled = nodes[maker.name]
        nodes[maker.name] = dataclasses.replace(
            scaled, gain=_times(scaled.gain, factor), bias=_times(scaled.bias, factor)
        )
        scaled = nodes[reader.name]
        inverse = np.repeat(1.0 / factor, reader.depth_multiplier, axis=1)
        nodes[reader.name] = dataclasses.replace(scaled, gain=_times(scaled.gain, inverse))
    return dataclasses.replace(graph, nodes=nodes)


def _pairs(graph: Graph) -> Iterator[tuple[Linear, Linear]]:
    """Nodes whose channels may be scaled, and the depthwise convolution that alone reads them."""
    reads = graph.consumers()
    reader_of = {name: node for node in graph.nodes.values() for name in node.inputs}
    for maker in graph.linear_nodes():
        node: Node = maker
        while reads[node.name] == 1 and node.name in reader_of:
            node = reader_of[node.name]
            if not node.keeps_channels:
                break
        if (
            node is not maker
            and isinstance(node, Linear)
            and node.kind is LayerKind.DEPTHWISE
            and maker.activation in ("linear", "relu")
        ):
            yield maker, node


def _times(values: Value, factor: FloatArray) -> Any:
    if isinstance(values, np.ndarray):
        return values * factor
    return values * tf.cast(factor, values.dtype)
