"""Folds BatchNorm and activations into the nodes before them.

A convolution y = W x + b followed by BatchNorm computes, at level l,

    gamma_l (W x + b - mean_l) / sqrt(var_l + epsilon) + beta_l = g_l (W x) + (g_l b + bias_l)

with g_l = gamma_l / sqrt(var_l + epsilon) and bias_l = beta_l - mean_l g_l, as in
`nodes.BatchNorm`. The fold requires that the BatchNorm alone reads the output of the convolution,
and that the convolution has no activation. Any other BatchNorm becomes a 1x1 depthwise convolution
with weights of one. A relu or relu6 moves into the node in front, if no other node reads that node
and its operator can apply the function (`Node.with_activation`). BatchNorm and relu also move past
nodes that only move pixels, such as the DepthToSpace of a transposed convolution. Zeros that a
layer puts around an image become the padding of the convolution behind, if they are those of
TensorFlow's padding "SAME".
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping

import keras
import numpy as np

from nested_keras.export.calibrate import fixed_scales, with_own_scales
from nested_keras.export.forward import numpy_of
from nested_keras.export.moving_layers import Crop, DepthToSpace, Pad, Transpose, source_of_values
from nested_keras.export.nodes import BatchNorm, Graph, Linear, Node
from nested_keras.export.plain_layers import (
    PROBABILITY_SCALE,
    Binary,
    Pool,
    Reshape,
    Table,
    Unary,
)
from nested_keras.export.series import reshapes_behind_sums
from nested_keras.format import LayerKind

_FUSED_ACTIVATIONS = ("relu", "relu6")


def fold(graph: Graph, *, fuse: bool = True) -> Graph:
    """Returns the same network without BatchNorm nodes and with fused activations.

    A fused node keeps the name of the first of its parts.

    Args:
        graph: As traced.
        fuse: Whether nodes move into the nodes in front; if not, each layer keeps its own node.
    """
    graph = _with_plain_relu6(graph)
    reads = graph.consumers()
    folded: dict[str, Node] = {}
    # Name in the old graph -> name of the node that now computes it.
    moved: dict[str, str] = {}
    # How often each of the folded nodes is read.
    uses: Counter[str] = Counter()
    for old in graph.nodes.values():
        node = dataclasses.replace(old, inputs=tuple(moved[name] for name in old.inputs))
        if fuse and isinstance(node, Linear):
            node = _without_pad(folded, node, uses)
        fused = None
        if fuse and old.inputs and uses[node.inputs[0]] == 1:
            fused = _fuse(_producer(folded, node, uses), node)
        if fused is not None:
            folded[fused.name] = fused
            parts: tuple[Node, ...] = (folded[node.inputs[0]],)
        elif isinstance(node, BatchNorm):
            parts = _as_depthwise(node)
        else:
            parts = (node,)
        folded.update({part.name: part for part in parts})
        moved[node.name] = parts[-1].name
        uses.update({part.name: 1 for part in parts[:-1]})
        uses[parts[-1].name] = reads[old.name]
    outputs = tuple(moved[name] for name in graph.outputs)
    if not fuse:
        return Graph(folded, graph.inputs, outputs, graph.levels)
    folded = {name: _apart(folded, _plain(node)) for name, node in folded.items()}
    graph = Graph(folded, graph.inputs, outputs, graph.levels)
    return with_own_scales(reshapes_behind_sums(graph))


def _with_plain_relu6(graph: Graph) -> Graph:
    """Returns the same network without relu6 behind values that lie between -1 and 1 anyway.

    A sigmoid, softmax or tanh has a scale that TFLite fixes, and a node that moves its pixels has
    the same scale. A RELU6 behind would need a scale of its own, and TFLite Micro's RELU6 cannot
    have another scale than its input. An output keeps a node of its own, a relu.
    """
    fixed = fixed_scales(graph)
    outputs = {source_of_values(graph.nodes, name)[0] for name in graph.outputs}
    nodes: dict[str, Node] = {}
    moved: dict[str, str] = {}
    for old in graph.nodes.values():
        node = dataclasses.replace(old, inputs=tuple(moved.get(name, name) for name in old.inputs))
        if isinstance(node, Unary) and node.function == "relu6" and node.inputs[0] in fixed:
            if fixed[node.inputs[0]] == PROBABILITY_SCALE and node.name not in outputs:
                moved[node.name] = node.inputs[0]
                continue
            node = dataclasses.replace(node, function="relu")
        nodes[node.name] = node
    return dataclasses.replace(graph, nodes=nodes)


def _producer(folded: Mapping[str, Node], reader: Node, uses: Counter[str]) -> Node:
    """Returns the node that computes the input of another, before nodes that only move pixels."""
    # A Reshape may change the channels, which matters only to a BatchNorm.
    movers = Crop | DepthToSpace | Reshape if isinstance(reader, Unary) else Crop | DepthToSpace
    node = folded[reader.inputs[0]]
    while isinstance(node, movers) and uses[node.inputs[0]] == 1:
        node = folded[node.inputs[0]]
    return node


def _fuse(producer: Node, node: Node) -> Node | None:
    """Returns the producer with `node` fused into it, or None where that is impossible."""
    if isinstance(node, Unary) and node.function in _FUSED_ACTIVATIONS:
        return producer.with_activation(node.function)
    if (
        isinstance(node, BatchNorm)
        and isinstance(producer, Linear)
        and producer.activation == "linear"
    ):
        # Behind a DepthToSpace, each pixel of a block has the same channels.
        blocks = producer.shape[-1] // node.shape[-1]
        gain, bias = (numpy_of(v).tile(v, (1, blocks)) for v in (node.gain, node.bias))
        return dataclasses.replace(
            producer,
            gain=gain * producer.gain,
            bias=gain * producer.bias + bias,
            per_level=producer.per_level or _differs(node),
        )
    return None


def _without_pad(folded: dict[str, Node], node: Linear, uses: Counter[str]) -> Linear:
    """Returns a convolution that pads its input itself, in the place of the node in front.

    The node in front is taken out of `folded`, if it pads as "SAME" does for this one reader.
    """
    pad = folded[node.inputs[0]]
    if not isinstance(pad, Pad) or uses[pad.name] > 1 or node.padding != "VALID":
        return node
    sizes = folded[pad.inputs[0]].shape[1:3]
    _, height, width, _ = node.filter.shape
    for size, out, kernel, stride, dilation, (before, _) in zip(
        sizes,
        node.shape[1:3],
        (height, width),
        node.strides,
        node.dilation,
        pad.paddings,
        strict=True,
    ):
        # TensorFlow puts the smaller half of the zeros before the image.
        needed = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        if out != -(-size // stride) or before != needed // 2:
            return node
    del folded[pad.name]
    return dataclasses.replace(node, inputs=pad.inputs, padding="SAME")


def _differs(node: BatchNorm) -> bool:
    return node.per_level and node.gain.shape[0] > 1


def _plain(node: Node) -> Node:
    """Returns a DepthToSpace that moves no pixel as the Reshape that the converter makes of it."""
    if isinstance(node, DepthToSpace) and not node.moves_pixels():
        return Reshape(node.name, node.inputs, node.shape)
    return node


def _apart(folded: Mapping[str, Node], node: Node) -> Node:
    """Returns an activation, or a sum of a tensor with itself, as a table where it would be moved.

    The converter would compute a matrix product with several readers twice, once with the
    activation. It would move the activation in front of a transposition, where a layer has other
    readers, or in front of a reshape, and a sum behind as well. It would fuse a relu into a pool,
    and lose the range of the relu where the relu is an output. It would move a sum of a tensor with
    itself in front of a transposition, and lose the range of the sum.
    """
    if (
        isinstance(node, Binary)
        and node.function == "add"
        and len({*node.inputs}) == 1
        and _is_turned(folded, node.inputs[0])
    ):
        return Table(node.name, node.inputs[:1], node.shape, lambda x: node.compute([x, x]))
    if not (isinstance(node, Unary) and node.function in _FUSED_ACTIVATIONS):
        return node
    producer = folded[node.inputs[0]]
    is_product = isinstance(producer, Linear) and producer.kind is LayerKind.FULLY_CONNECTED
    is_pooled_relu = isinstance(producer, Pool) and node.function == "relu"
    if is_product or is_pooled_relu or isinstance(producer, Reshape | Transpose):
        function = getattr(keras.activations, node.function)
        return Table(node.name, node.inputs, node.shape, function)
    return node


def _is_turned(folded: Mapping[str, Node], name: str) -> bool:
    """Whether a transposition computes a node, or one that reshapes stand behind."""
    node = folded[name]
    while isinstance(node, Reshape):
        node = folded[node.inputs[0]]
    return isinstance(node, Transpose)


def _as_depthwise(node: BatchNorm) -> tuple[Node, ...]:
    """A BatchNorm on its own: a 1x1 depthwise convolution, between reshapes unless 4-D."""
    channels = node.shape[-1]
    image = node.shape if len(node.shape) == 4 else (1, 1, math.prod(node.shape[:-1]), channels)
    linear = Linear(
        name=node.name,
        inputs=node.inputs,
        shape=image,
        kind=LayerKind.DEPTHWISE,
        filter=np.ones((channels, 1, 1, 1)),
        level_map=np.zeros((channels, 1, 1, 1), np.uint8),
        gain=node.gain,
        bias=node.bias,
        per_level=_differs(node),
    )
    if image == node.shape:
        return (linear,)
    before = Reshape(f"{node.name}/image", node.inputs, image)
    after = Reshape(f"{node.name}/shape", (node.name,), node.shape)
    return before, dataclasses.replace(linear, inputs=(before.name,)), after
