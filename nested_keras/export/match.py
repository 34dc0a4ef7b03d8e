"""Finds each node's operator in the converted file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph, Linear
from nested_keras.export.plain_layers import Reshape
from nested_keras.export.tensor_names import node_of_tensor
from nested_keras.format import LayerKind
from nested_keras.tflite.operators import Conv2D, DepthwiseConv2D, FullyConnected
from nested_keras.tflite.program import Program
from nested_keras.typing import FloatArray

WeightedOp: TypeAlias = Conv2D | FullyConnected

_KINDS = {
    Conv2D: LayerKind.CONV,
    DepthwiseConv2D: LayerKind.DEPTHWISE,
    FullyConnected: LayerKind.FULLY_CONNECTED,
}
# The converter rounds in float32: how far over half a step a weight may lie.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class ConvertedLayer:
    """A linear node in the converted file.

    Attributes:
        node: The node.
        index: Position of the operator in the file.
        op: The prepared operator.
        filter: int8 OHWI.
        filter_scale: float32 [O].
        gain: float64 [O], the factors with which the filter was converted.
        input_scale: Scale of the operator's input.
        output_scale: Scale of the operator's output.
    """

    node: Linear
    index: int
    op: WeightedOp
    filter: npt.NDArray[np.int8]
    filter_scale: npt.NDArray[np.float32]
    gain: FloatArray
    input_scale: float
    output_scale: float


def match(
    graph: Graph,
    program: Program,
    *,
    twin_gain: Mapping[str, FloatArray],
    filter_scales: Mapping[int, npt.NDArray[np.float32]],
) -> dict[str, ConvertedLayer]:
    """Pairs every linear node with its operator and checks the converter's weights.

    Args:
        graph: The folded graph.
        program: The converted file.
        twin_gain: By name of node, the factors [O] with which the filter was converted.
        filter_scales: Scales of the filter of the operator at each position.

    Returns:
        The layers by node name.

    Raises:
        ExportError: A node has no operator or two operators, or a weight is not as expected.
    """
    layers: dict[str, ConvertedLayer] = {}
    for index, op in enumerate(program.ops):
        if not isinstance(op, Conv2D | FullyConnected):
            continue
        node = node_of_tensor(op.name, graph)
        if isinstance(node, Reshape):  # the converter lets FULLY_CONNECTED reshape its output
            node = graph.nodes[unshaped(graph, node.name)]
        if not isinstance(node, Linear):
            raise ExportError(f"no layer belongs to the converted operator {op.name!r}")
        if node.name in layers:
            raise ExportError(
                f"layer {node.name!r} must become one operator: "
                f"got {layers[node.name].op.name!r} and {op.name!r}"
            )
        layer = ConvertedLayer(
            node=node,
            index=index,
            op=op,
            filter=_ohwi(op),
            filter_scale=_for_each_channel(filter_scales[index], op),
            gain=twin_gain[node.name],
            input_scale=program.tensors[op.inputs[0]].scale,
            output_scale=program.tensors[op.outputs[0]].scale,
        )
        _check_weights(layer)
        layers[node.name] = layer
    missing = [node.name for node in graph.linear_nodes() if node.name not in layers]
    if missing:
        raise ExportError(f"the converted model has no operator for layers: {', '.join(missing)}")
    return layers


def unshaped(graph: Graph, name: str) -> str:
    """Returns the name of the node whose values a node has, which may be a Reshape of them."""
    node = graph.nodes[name]
    return unshaped(graph, node.inputs[0]) if isinstance(node, Reshape) else name


def _ohwi(op: WeightedOp) -> npt.NDArray[np.int8]:
    return op.filter if op.filter.ndim == 4 else op.filter[:, np.newaxis, np.newaxis, :]


def _for_each_channel(scales: npt.NDArray[np.float32], op: WeightedOp) -> npt.NDArray[np.float32]:
    """Returns a scale per channel: the converter gives one to a depthwise filter of zeros alone."""
    of_zeros = scales.size == 1 and not op.filter.any()
    return np.full(len(_ohwi(op)), scales[0]) if of_zeros else scales


def _check_weights(layer: ConvertedLayer) -> None:
    node = layer.node
    expected = node.masked_filter(node.levels - 1) * layer.gain.reshape(-1, 1, 1, 1)
    kind = _KINDS[type(layer.op)]
    if (kind, layer.filter.shape) != (node.kind, expected.shape):
        raise ExportError(
            f"layer {node.name!r}: expected a {node.kind.name} of shape {expected.shape}: "
            f"got a {kind.name} of shape {layer.filter.shape}"
        )
    if layer.filter_scale.shape != (len(expected),):
        raise ExportError(
            f"layer {node.name!r}: expected {len(expected)} filter scales: "
            f"got {layer.filter_scale.size}"
        )
    steps = expected / layer.filter_scale.reshape(-1, 1, 1, 1)
    error = float(np.abs(steps - layer.filter).max())
    if error > 0.5 + _ROUNDING:
        raise ExportError(
            f"layer {node.name!r}: the converter's weights are {error:.3g} steps off (at most 0.5 "
            "expected)"
        )
