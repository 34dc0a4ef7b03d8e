"""Activation ranges, united over all levels: one int8 quantisation of activations serves all.

Operators that only move or select values (pooling, padding, reshaping, concatenation, maximum and
minimum) keep scale and zero point in TFLite. Nodes on both sides of such an operator form a group
with one range, so that the converter adds no requantisation inside a group. A relu6 on its own
joins the group of its input, because TFLite Micro's kernel takes no other scale.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from nested_keras.export import forward
from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph, Node
from nested_keras.export.plain_layers import Table
from nested_keras.typing import Float32Array, Value

# Narrower ranges are noise to the converter (its near-zero tolerance is 1e-6).
_SMALLEST_WIDTH = 1e-5


@dataclass(frozen=True)
class Ranges:
    """Quantisation of every node's output.

    Attributes:
      limits: (low, high) in real units for each node whose group is calibrated, low <= 0 <= high.
      fixed: Scale of each node whose int8 form TFLite fixes.
    """

    limits: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, float]

    def scale(self, name: str) -> float:
        """Real units per step of a node's int8 output; the converter may round the scale."""
        if name in self.fixed:
            return self.fixed[name]
        low, high = self.limits[name]
        return (high - low) / 255

    def fake_quantize(self, node: Node, value: Value) -> Any:
        """Rounds a node's output to its int8 values, where it has a range of its own.

        The gradient passes straight through within the range.
        """
        if node.name in self.fixed:
            return value
        # Beside an operand of fixed scale the converter would give that scale to the output too.
        if node.keeps_scale and all(name not in self.fixed for name in node.inputs):
            return value
        low, high = self.limits[node.name]
        return tf.quantization.fake_quant_with_min_max_args(value, low, high, num_bits=8)


def calibrate(graph: Graph, data: tuple[Float32Array, ...]) -> Ranges:
    """Measures the range of every node's output over all examples and all levels.

    Args:
      graph: The folded graph.
      data: Representative examples, one array [n, ...] per input.

    Returns:
      Ranges that contain zero, as affine int8 needs it.

    Raises:
      ExportError: An output is NaN or infinite.
    """
    groups = _groups(graph)
    limits = dict.fromkeys(groups.values(), (0.0, 0.0))

    def widen(level: int, node: Node, array: Float32Array) -> None:
        smallest, largest = float(array.min()), float(array.max())
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            raise ExportError(
                f"layer {node.name!r} must have finite outputs: got {smallest} to {largest} "
                f"at level {level}"
            )
        low, high = limits[groups[node.name]]
        limits[groups[node.name]] = (min(low, smallest), max(high, largest))

    forward.observe(graph, data, widen)
    fixed = fixed_scales(graph)
    return Ranges(
        limits={
            name: _widen(*limits[group]) for name, group in groups.items() if name not in fixed
        },
        fixed=fixed,
    )


def fixed_scales(graph: Graph) -> dict[str, float]:
    """The scale of each node whose int8 form TFLite fixes."""
    scales = {name: graph.nodes[group].fixed_scale for name, group in _groups(graph).items()}
    return {name: scale for name, scale in scales.items() if scale is not None}


def _groups(graph: Graph) -> dict[str, str]:
    """Name of each node -> name of the node that stands for its group.

    A fixed scale passes through single-input operators, and through a concatenation or a maximum
    whose operands all have this scale. Any other concatenation or maximum has a free scale, and the
    converter requantises the operands of fixed scale.
    """
    leader: dict[str, str] = {}
    for node in graph.nodes.values():
        leader[node.name] = node.name
        if not node.shares_range:
            continue
        tied = [leader[name] for name in node.inputs]
        scales = [graph.nodes[name].fixed_scale for name in tied]
        if len(set(scales)) > 1 or not node.keeps_scale:
            tied = [name for name, fixed in zip(tied, scales, strict=True) if fixed is None]
        merged = [*tied, node.name]
        for name, old in leader.items():
            if old in merged:
                leader[name] = merged[0]
    return leader


def with_own_scales(graph: Graph) -> Graph:
    """Returns the same network, with a table that gives a value of fixed scale another scale.

    The converter requantises an operand of fixed scale in front of a concatenation, maximum or
    minimum of free scale. If a reshape or another operator that keeps the scale stands between, the
    converter requantises the value in front of this operator. All other readers of the value would
    then read the requantised values too, which end where the range of the concatenation ends. So
    the table stands between, unless all readers share the range.
    """
    groups, fixed = _groups(graph), fixed_scales(graph)
    # Each group of fixed scale -> the groups of its readers; None: the values stay.
    readers: dict[str, set[str | None]] = {groups[name]: set() for name in fixed}
    for node in graph.nodes.values():
        for name in fixed.keys() & set(node.inputs):
            if groups[node.name] != groups[name]:
                reader = groups[node.name] if _requantizes(node, fixed) else None
                readers[groups[name]].add(reader)
    for name in fixed.keys() & set(graph.outputs):
        readers[groups[name]].add(None)
    nodes: dict[str, Node] = {}
    for node in graph.nodes.values():
        inputs = []
        for name in node.inputs:
            if _requantizes(node, fixed) and name in fixed and len(readers[groups[name]]) > 1:
                source, name = name, f"{name}/in/{groups[node.name]}"
                same = functools.partial(tf.identity)  # unlike that of any other table
                nodes[name] = Table(name, (source,), graph.nodes[source].shape, same)
            inputs.append(name)
        nodes[node.name] = replace(node, inputs=tuple(inputs))
    return replace(graph, nodes=nodes)


def _requantizes(node: Node, fixed: Mapping[str, float]) -> bool:
    """Whether the converter gives operands of fixed scale the scale of the node's output."""
    return node.keeps_scale and len(node.inputs) > 1 and node.name not in fixed


def _widen(low: float, high: float) -> tuple[float, float]:
    """A range wide enough to quantise; an output that is always zero may have any scale."""
    if low == high == 0.0:
        return 0.0, 1.0
    return low, max(high, low + _SMALLEST_WIDTH)
