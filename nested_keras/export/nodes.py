"""The exporter's own picture of a network: small frozen nodes in execution order (NumPy only).

This file has the nodes with weights; `plain_layers` has nodes without weights. In training
(`export.aware`) the values of the nodes are tensors in the place of arrays.

Every node has one output. Shapes are NHWC with a batch of one. Filters are OHWI,
[out_channels, kernel_h, kernel_w, in_channels] with in_channels = 1 for depthwise: the order of
TFLite's convolution filters and of the packed stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nested_keras.format import LayerKind
from nested_keras.typing import FloatArray, UInt8Array


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    The class holds the facts of the int8 operator that the other steps of export need.

    Attributes:
        has_values: Whether arrays are among the fields; two such nodes are never merged.
        keeps_scale: Whether TFLite gives the output the scale of the inputs.
        keeps_channels: Whether a factor on an input channel becomes the factor of that output
            channel.
        name: Unique name, taken from the Keras layer.
        inputs: Names of the nodes whose outputs are read.
        shape: Output shape; the batch is 1.
    """

    has_values: ClassVar[bool] = False
    keeps_scale: ClassVar[bool] = False
    keeps_channels: ClassVar[bool] = False

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def shares_range(self) -> bool:
        """Whether the output must be calibrated together with the inputs."""
        return self.keeps_scale

    @property
    def fixed_scale(self) -> float | None:
        """Scale of the output where TFLite fixes it, as for a sigmoid."""
        return None

    def with_activation(self, function: str) -> Node | None:
        """Returns the node with relu or relu6 applied to its output, if its operator can do that.

        Args:
            function: "relu" or "relu6".
        """
        return None

    def as_image(self) -> Node:
        """Returns the same operation on images of height one in the place of series."""
        return replace(self, shape=image_shape(self.shape))


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of a series [1, length, channels] as an image, any other as it is."""
    return (shape[0], 1, *shape[1:]) if len(shape) == 3 else shape


@dataclass(frozen=True, eq=False)
class Input(Node):
    """A graph input."""

    has_values: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Convolution, depthwise convolution or matrix product, then gain, bias and activation.

    At level l: `activation(gain[l] * (filter * (level_map <= l)) @ x + bias[l])`.

    Attributes:
        kind: Convolution, depthwise convolution or matrix product.
        filter: float64 OHWI, all weights, also those that no level uses.
        level_map: uint8 OHWI: the first level that uses the weight, N where no level does.
        gain: float64 [N, O], the folded BatchNorm's factor; ones without a BatchNorm.
        bias: float64 [N, O].
        strides: (vertical, horizontal).
        dilation: (vertical, horizontal).
        padding: "SAME" or "VALID".
        depth_multiplier: Output channels per input channel of a depthwise node, else 1.
        weights: Number of weights of the layer's kernel, fewer than the filter's where there are
            gaps between them; 0 for as many.
        block_size: Neighbouring input channels pruned together: 1, 2 or 4.
        activation: "linear", "relu" or "relu6".
        per_level: Whether the node differs between levels, by its mask or by its BatchNorm.
    """

    has_values: ClassVar[bool] = True

    kind: LayerKind
    filter: FloatArray
    level_map: UInt8Array
    gain: FloatArray
    bias: FloatArray
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "VALID"
    depth_multiplier: int = 1
    weights: int = 0
    block_size: int = 1
    activation: str = "linear"
    per_level: bool = False

    @property
    def levels(self) -> int:
        """Number of levels, N."""
        return int(self.gain.shape[0])

    def with_activation(self, function: str) -> Node | None:
        """Returns the node with relu or relu6 applied to its output, if it has no activation."""
        return replace(self, activation=function) if self.activation == "linear" else None

    @property
    def has_gaps(self) -> bool:
        """Whether there are weights that no level uses."""
        return bool((self.level_map >= self.levels).any())

    def masked_filter(self, level: int) -> FloatArray:
        """The weights that `level` uses; zero elsewhere."""
        return np.where(self.level_map <= level, self.filter, 0.0)


@dataclass(frozen=True, eq=False)
class BatchNorm(Node):
    """`gain[l] * x + bias[l]` along the last axis: BatchNormalization, Normalization, Rescaling.

    Attributes:
        gain: float64 [N, C]: gamma / sqrt(variance + epsilon).
        bias: float64 [N, C]: beta - mean * gain.
        per_level: Whether the levels have statistics of their own.
    """

    has_values: ClassVar[bool] = True

    gain: FloatArray
    bias: FloatArray
    per_level: bool = True


@dataclass(frozen=True, eq=False)
class Graph:
    """A network.

    Attributes:
        nodes: All nodes by name, in execution order, inputs among them.
        inputs: Names of the input nodes in the model's order.
        outputs: Names of the nodes whose values are the model's outputs.
        levels: Number of levels, N.
    """

    nodes: Mapping[str, Node]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    levels: int

    def consumers(self) -> Counter[str]:
        """How often each node's output is read, by nodes and as a model output."""
        reads = Counter(name for node in self.nodes.values() for name in node.inputs)
        reads.update(self.outputs)
        return reads

    def linear_nodes(self) -> tuple[Linear, ...]:
        """All nodes with weights, in execution order."""
        return tuple(node for node in self.nodes.values() if isinstance(node, Linear))
