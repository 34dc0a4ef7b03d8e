"""The layers without weights: the traces to nodes, and the float computation of the nodes.

`TRACES` has one entry per Keras layer: the second half of the layer's entry in
`nested_keras.nesting.entries`; see docs/adding_a_layer.md.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from nested_keras.export.graph_builder import GraphBuilder, Shape, Trace
from nested_keras.export.nodes import Input, Node, image_shape
from nested_keras.nesting import entries, kinds, supported
from nested_keras.typing import Activation, KerasLayer

# The functions that TFLite's operators may apply to their own output.
FUSED_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "softmax": tf.nn.softmax,
    # The form in which the converter finds HARD_SWISH.
    "hard_swish": lambda x: x * tf.nn.relu6(x + np.float32(3)) * np.float32(1 / 6),
}
PROBABILITY_SCALE = 1 / 256
"""Scale that TFLite fixes for int8 outputs in 0..1."""
# Scale of functions whose int8 output TFLite fixes.
_FIXED_SCALES = {"sigmoid": PROBABILITY_SCALE, "softmax": PROBABILITY_SCALE, "tanh": 1 / 128}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
}
_EXTREMA: dict[str, Callable[[Any, Any], Any]] = {"maximum": tf.maximum, "minimum": tf.minimum}
# Keras's name of a function -> the function of a `Unary`. Others become a `Table`.
_FUNCTION_NAMES = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hard_silu": "hard_swish",
    "softmax": "softmax",
}


@dataclass(frozen=True, eq=False)
class PlainNode(Node, abc.ABC):
    """A node without weights."""

    @abc.abstractmethod
    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float.

        Args:
          operands: The outputs of the nodes in `inputs`, float32 [n, ...].

        Returns:
          The node's output, float32 [n, ...].
        """


@dataclass(frozen=True, eq=False)
class Unary(PlainNode):
    """An element-wise function that TFLite has, or softmax along the last axis.

    Attributes:
      function: "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_swish" or "softmax".
      alpha: Slope of leaky_relu below zero.
    """

    function: str
    alpha: float = 0.0

    @property
    def shares_range(self) -> bool:
        """Whether the output must be calibrated together with the input.

        TFLite Micro's RELU6 clamps the int8 values of its input and takes no other scale.
        """
        return self.function == "relu6"

    @property
    def fixed_scale(self) -> float | None:
        """Scale of the output where TFLite fixes it."""
        return _FIXED_SCALES.get(self.function)

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        if self.function == "leaky_relu":
            return tf.nn.leaky_relu(operands[0], self.alpha)
        return _FUNCTIONS[self.function](operands[0])


@dataclass(frozen=True, eq=False)
class Table(PlainNode):
    """A function of each value alone, which int8 holds as a table of 256 values.

    See `placeholders`.

    Attributes:
      function: Keras's function; takes and returns a tensor.
    """

    function: Callable[[Any], Any]

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return self.function(tf.convert_to_tensor(operands[0]))


@dataclass(frozen=True, eq=False)
class Binary(PlainNode):
    """Sum, difference or product of two tensors with broadcasting.

    Attributes:
      function: "add", "subtract" or "multiply".
      activation: "linear", "relu" or "relu6".
    """

    function: str
    activation: str = "linear"

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        first, second = operands
        return FUSED_ACTIVATIONS[self.activation](_OPERATORS[self.function](first, second))

    def with_activation(self, function: str) -> Node | None:
        """Returns the node with relu or relu6 applied to its output, if it has no activation."""
        return replace(self, activation=function) if self.activation == "linear" else None


@dataclass(frozen=True, eq=False)
class Extremum(PlainNode):
    """The larger or the smaller of two tensors with broadcasting.

    TFLite's operator keeps the scale of its operands and has no fused activation, unlike `Binary`.

    Attributes:
      function: "maximum" or "minimum".
    """

    keeps_scale: ClassVar[bool] = True

    function: str

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        first, second = operands
        return _EXTREMA[self.function](first, second)


@dataclass(frozen=True, eq=False)
class Concatenate(PlainNode):
    """Concatenation.

    Attributes:
      axis: Non-negative axis.
    """

    keeps_scale: ClassVar[bool] = True

    axis: int

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.concat(operands, self.axis)

    def as_image(self) -> Concatenate:
        """Returns the same operation on images of height one in the place of series."""
        shape = image_shape(self.shape)
        return dataclasses.replace(self, shape=shape, axis=self.axis + len(shape) - len(self.shape))


@dataclass(frozen=True, eq=False)
class Pool(PlainNode):
    """Maximum or average over windows; padding pixels do not count.

    Attributes:
      function: "max" or "average".
      size: (height, width) of the window.
      strides: (vertical, horizontal).
      padding: "SAME" or "VALID".
    """

    keeps_scale: ClassVar[bool] = True
    keeps_channels: ClassVar[bool] = True

    function: str
    size: tuple[int, int]
    strides: tuple[int, int]
    padding: str

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        pool = tf.nn.max_pool2d if self.function == "max" else tf.nn.avg_pool2d
        return pool(operands[0], self.size, self.strides, self.padding)


@dataclass(frozen=True, eq=False)
class Mean(PlainNode):
    """Mean over height and width; `shape` says whether both stay as axes of one."""

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.reduce_mean(operands[0], (1, 2), keepdims=len(self.shape) == 4)


@dataclass(frozen=True, eq=False)
class Reshape(PlainNode):
    """The same elements in another shape."""

    keeps_scale: ClassVar[bool] = True

    def compute(self, operands: list[Any]) -> Any:
        """Runs the node in float."""
        return tf.reshape(operands[0], (-1, *self.shape[1:]))


def add_activation(
    graph: GraphBuilder, layer: KerasLayer, function: Activation, source: str
) -> str:
    """Adds the node of an activation, a function or a layer; no node for the linear function."""
    shape = graph.nodes[source].shape
    if isinstance(function, keras.layers.Layer):
        return TRACES[supported.kind_of(function)](graph, function, (source,), shape)
    name = supported.activation_name(function)
    if function is None or name == "linear":
        return source
    if name is None:  # the user's own
        own = f"{layer.name}/{supported.function_name(function)}"
        function = functools.partial(function)  # which can be hashed, as not every object can
        return graph.add(Table, own, (source,), shape=shape, function=function)
    if name not in _FUNCTION_NAMES:
        function = supported.canonical(function)
        return graph.add(Table, f"{layer.name}/{name}", (source,), shape=shape, function=function)
    # The default slope of keras.activations.leaky_relu is 0.2.
    return graph.add(
        Unary,
        f"{layer.name}/{name}",
        (source,),
        shape=shape,
        function=_FUNCTION_NAMES[name],
        alpha=0.2 if name == "leaky_relu" else 0.0,
    )


def _input(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    return graph.add(Input, layer.name, inputs, shape=shape)


def _identity(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    return inputs[0]


def _activation(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    return add_activation(graph, layer, layer.activation, inputs[0])


def _relu(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    limits = {
        "negative_slope": float(layer.negative_slope or 0.0),
        "max_value": layer.max_value,
        "threshold": float(layer.threshold or 0.0),
    }
    slope = limits["negative_slope"]
    if limits["threshold"] or limits["max_value"] not in (None, 6) or (slope and layer.max_value):
        relu = functools.partial(keras.activations.relu, **limits)
        return graph.add(Table, layer.name, inputs, shape=shape, function=relu)
    if slope:
        return _leaky_relu(graph, layer, inputs, shape)
    function = "relu6" if layer.max_value else "relu"
    return graph.add(Unary, layer.name, inputs, shape=shape, function=function)


def _elu(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    elu = functools.partial(keras.activations.elu, alpha=float(layer.alpha))
    return graph.add(Table, layer.name, inputs, shape=shape, function=elu)


def _leaky_relu(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    slope = float(layer.negative_slope)
    if slope == 1.0:  # the converter leaves out what changes nothing
        return inputs[0]
    return graph.add(Unary, layer.name, inputs, shape=shape, function="leaky_relu", alpha=slope)


def _softmax(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    return graph.add(Unary, layer.name, inputs, shape=shape, function="softmax")


def _pairwise(
    kind: type[Binary | Extremum],
    function: str,
    graph: GraphBuilder,
    layer: KerasLayer,
    inputs: tuple[str, ...],
    shape: Shape,
) -> str:
    inputs = tuple(_with_rank(graph, len(shape), name) for name in inputs)
    # TFLite's operators take two operands, so further operands are combined one after the other.
    name = inputs[0]
    for position, other in enumerate(inputs[1:], start=1):
        partial = tuple(np.broadcast_shapes(graph.nodes[name].shape, graph.nodes[other].shape))
        last = position == len(inputs) - 1
        name = graph.add(
            kind,
            layer.name if last else f"{layer.name}/partial",
            (name, other),
            shape=partial,
            function=function,
        )
    return name


def _average(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    total = _pairwise(Binary, "add", graph, layer, inputs, shape)
    share = functools.partial(operator.mul, 1.0 / len(inputs))
    return graph.add(Table, f"{layer.name}/share", (total,), shape=shape, function=share)


def _with_rank(graph: GraphBuilder, rank: int, name: str) -> str:
    """Puts axes of one after the batch, as Keras does where the operands' ranks differ."""
    batch, *rest = graph.nodes[name].shape
    if 1 + len(rest) == rank:
        return name
    shape = (batch, *[1] * (rank - 1 - len(rest)), *rest)
    return graph.add(Reshape, f"{name}/rank_{rank}", (name,), shape=shape)


def _concatenate(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    if len(inputs) == 1:  # the converter leaves out what changes nothing
        return inputs[0]
    return graph.add(Concatenate, layer.name, inputs, shape=shape, axis=layer.axis % len(shape))


def _pool(
    function: str, graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    if kinds.pair(layer.pool_size) == (1, 1) and shape == graph.nodes[inputs[0]].shape:
        return inputs[0]
    return graph.add(
        Pool,
        layer.name,
        inputs,
        shape=shape,
        function=function,
        size=kinds.pair(layer.pool_size),
        strides=kinds.pair(layer.strides),
        padding=layer.padding.upper(),
    )


def _global_average(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    one_pixel = math.prod(shape) == math.prod(graph.nodes[inputs[0]].shape)
    return graph.add(Reshape if one_pixel else Mean, layer.name, inputs, shape=shape)


def _global_max(
    graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape
) -> str:
    _, *size, channels = graph.nodes[inputs[0]].shape
    if math.prod(size) == 1:
        return graph.add(Reshape, layer.name, inputs, shape=shape)
    pooled = (1, *[1] * len(size), channels)
    name = graph.add(
        Pool,
        layer.name,
        inputs,
        shape=pooled,
        function="max",
        size=kinds.pair(size),
        strides=(1, 1),
        padding="VALID",
    )
    if shape == pooled:
        return name
    return graph.add(Reshape, f"{layer.name}/flatten", (name,), shape=shape)


def _reshape(graph: GraphBuilder, layer: KerasLayer, inputs: tuple[str, ...], shape: Shape) -> str:
    return graph.add(Reshape, layer.name, inputs, shape=shape)


L = keras.layers
TRACES: dict[type, Trace] = {
    L.InputLayer: _input,
    # Layers that do nothing at inference.
    **dict.fromkeys(entries.augmentations(), _identity),
    L.ActivityRegularization: _identity,
    L.AlphaDropout: _identity,
    L.Dropout: _identity,
    L.GaussianDropout: _identity,
    L.GaussianNoise: _identity,
    L.Identity: _identity,
    L.Pipeline: _identity,
    L.RandomCrop: _identity,
    L.SpatialDropout1D: _identity,
    L.SpatialDropout2D: _identity,
    L.Activation: _activation,
    L.ELU: _elu,
    L.ReLU: _relu,
    L.LeakyReLU: _leaky_relu,
    L.Softmax: _softmax,
    L.Add: functools.partial(_pairwise, Binary, "add"),
    L.Subtract: functools.partial(_pairwise, Binary, "subtract"),
    L.Average: _average,
    L.Multiply: functools.partial(_pairwise, Binary, "multiply"),
    L.Maximum: functools.partial(_pairwise, Extremum, "maximum"),
    L.Minimum: functools.partial(_pairwise, Extremum, "minimum"),
    L.Concatenate: _concatenate,
    L.AveragePooling1D: functools.partial(_pool, "average"),
    L.AveragePooling2D: functools.partial(_pool, "average"),
    L.MaxPooling1D: functools.partial(_pool, "max"),
    L.MaxPooling2D: functools.partial(_pool, "max"),
    L.GlobalAveragePooling1D: _global_average,
    L.GlobalAveragePooling2D: _global_average,
    L.GlobalMaxPooling1D: _global_max,
    L.GlobalMaxPooling2D: _global_max,
    L.Flatten: _reshape,
    L.Reshape: _reshape,
}
