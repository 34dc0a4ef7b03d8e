"""Keras layers -> nodes: walks the functional graph of a nested model.

One walk serves all levels, since `at_level(l)` calls the same layers in the same order for every
l: the nodes take every level's values from the layers' own variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

from nested_keras.export import nodes
from nested_keras.export.export_errors import ExportError, UnsupportedLayerError
from nested_keras.export.forward import numpy_of
from nested_keras.export.nodes import FloatArray, Graph, Node, UInt8Array
from nested_keras.format import LayerKind
from nested_keras.nesting import keras_graph, layers as nested_layers, supported
from nested_keras.nesting.model import NestedModel

# Layers that do nothing at inference.
_IDENTITIES = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout2D,
)
# Keras's name of a function -> the function of a node.
_FUNCTIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hard_silu": "hard_swish",
    "softmax": "softmax",
}


def trace(model: NestedModel, *, read: Callable[[Any], Any] = np.asarray) -> Graph:
    """Walks a nested model.

    Args:
      model: A NestedModel with fixed input shapes.
      read: Gives the value of a layer's variable: as an array, or as a tensor that training can
        differentiate by.

    Returns:
      The graph, nothing folded yet.

    Raises:
      ExportError: Not a NestedModel, or an input of unknown size.
      UnsupportedLayerError: A layer or activation that export does not know, by name.
    """
    if not isinstance(model, NestedModel):
        raise ExportError(
            "expected a NestedModel (nested_keras.nest makes one): "
            f"got {type(model).__module__}.{type(model).__name__}"
        )
    return _Tracer(model.levels, read).trace(model)


class _Tracer:
    """Collects nodes; one instance per walk."""

    def __init__(self, levels: int, read: Callable[[Any], Any]) -> None:
        self.levels = levels
        self.read = read
        self.nodes: dict[str, Node] = {}
        self.produced: dict[tuple[int, int], str] = {}
        self.calls: dict[tuple[int, tuple[str, ...]], str] = {}
        self.plain: dict[tuple[Any, ...], str] = {}

    def trace(self, functional: Any) -> Graph:
        """Walks from the outputs back, in an order in which every node's inputs come first."""
        inputs = []
        for tensor in functional.inputs:
            if None in tensor.shape[1:]:
                raise ExportError(
                    f"input {tensor.name!r} needs a fixed shape: got {tuple(tensor.shape)}"
                )
            inputs.append(self.visit(tensor))
        outputs = [self.visit(tensor) for tensor in functional.outputs]
        if len({*inputs, *outputs}) != len(inputs) + len(outputs):
            raise ExportError(
                f"every output must be computed and listed once: got inputs {inputs}, "
                f"outputs {outputs}"
            )
        return Graph(self.nodes, tuple(inputs), tuple(outputs), self.levels)

    def visit(self, tensor: Any) -> str:
        """Makes the nodes that compute a Keras tensor; returns the name of the last."""
        stack = [tensor]
        while stack:
            operation, index, _, arguments = keras_graph.source(stack[-1])
            key = (id(operation), index)
            sources = arguments.keras_tensors
            missing = [t for t in sources if self._key(t) not in self.produced]
            if key not in self.produced and missing:
                stack.extend(missing)
                continue
            if key not in self.produced:
                names = tuple(self.produced[self._key(t)] for t in sources)
                # A layer that is called twice on one tensor computes the same twice.
                call = id(operation), names
                if call not in self.calls:
                    _check(operation, arguments)
                    self.calls[call] = self.add_operation(operation, names, stack[-1])
                self.produced[key] = self.calls[call]
            stack.pop()
        return self.produced[self._key(tensor)]

    @staticmethod
    def _key(tensor: Any) -> tuple[int, int]:
        operation, index, *_ = keras_graph.source(tensor)
        return id(operation), index

    def add_operation(self, operation: Any, inputs: tuple[str, ...], output: Any) -> str:
        """Makes the nodes of one call of one layer."""
        shape = (1, *output.shape[1:])
        handler = _HANDLERS.get(supported.kind_of(operation))
        if handler is None:  # a NestedModel that was put together by hand
            kind = type(operation).__name__
            raise UnsupportedLayerError(
                f"layer {operation.name!r} ({kind}) must be one that nested_keras.nest makes"
            )
        return handler(self, operation, inputs, shape)

    def read_float(self, variable: Any) -> Any:
        """Reads a variable; an array as float64."""
        value = self.read(variable)
        return value.astype(np.float64) if isinstance(value, np.ndarray) else value

    def unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... where it is taken: a shared layer's later calls."""
        candidate, count = name, 0
        while candidate in self.nodes:
            count += 1
            candidate = f"{name}_{count}"
        return candidate

    def add(self, cls: type[Node], name: str, inputs: tuple[str, ...], **fields: Any) -> str:
        """Adds one node, or finds one without weights that computes the same; returns its name."""
        weighty = cls in (nodes.Input, nodes.Linear, nodes.BatchNorm)
        # The converter would merge two of them, and neither would be found in its file.
        same = () if weighty else (cls, inputs, *sorted(fields.items()))
        if same in self.plain:
            return self.plain[same]
        name = self.unique(name)
        self.nodes[name] = cls(name=name, inputs=inputs, **fields)
        if not weighty:
            self.plain[same] = name
        return name

    def add_activation(self, layer: Any, function: Any, source: str) -> str:
        """Adds the node of an activation, a function or a layer; none for the linear one."""
        shape = self.nodes[source].shape
        if isinstance(function, keras.layers.Layer):
            return _HANDLERS[supported.kind_of(function)](self, function, (source,), shape)
        name = supported.activation_name(function)
        if name in (None, "linear"):
            return source
        if name == "silu":
            gate = self.add(
                nodes.Unary, f"{layer.name}/sigmoid", (source,), shape=shape, function="sigmoid"
            )
            return self.add(
                nodes.Binary, f"{layer.name}/silu", (source, gate), shape=shape, function="multiply"
            )
        # keras.activations.leaky_relu has a slope of 0.2 unless told otherwise.
        return self.add(
            nodes.Unary,
            f"{layer.name}/{name}",
            (source,),
            shape=shape,
            function=_FUNCTIONS[name],
            alpha=0.2 if name == "leaky_relu" else 0.0,
        )

    # One method per group of layers: (layer, names of the inputs, output shape) -> name.

    def input(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(nodes.Input, layer.name, inputs, shape=shape)

    def identity(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return inputs[0]

    def linear(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        kind, to_ohwi = next(how for cls, how in _LINEAR_KINDS.items() if isinstance(layer, cls))
        out_channels = shape[-1]
        flat_shape = shape
        if kind is LayerKind.FULLY_CONNECTED and len(shape) != 2:
            rows = int(np.prod(shape[:-1]))
            source_channels = self.nodes[inputs[0]].shape[-1]
            inputs = (
                self.add(
                    nodes.Reshape, f"{layer.name}/rows", inputs, shape=(rows, source_channels)
                ),
            )
            flat_shape = (rows, out_channels)
        nested = isinstance(layer, _NESTED_LAYERS)
        kernel = self.read_float(layer.kernel)
        level_map = self.read(layer.level_map) if nested else np.zeros(kernel.shape, np.uint8)
        bias = np.zeros(out_channels) if layer.bias is None else self.read_float(layer.bias)
        geometry = {}
        if kind is not LayerKind.FULLY_CONNECTED:
            geometry = {
                "strides": tuple(layer.strides),
                "dilation": tuple(layer.dilation_rate),
                "padding": layer.padding.upper(),
            }
        name = self.add(
            nodes.Linear,
            layer.name,
            inputs,
            shape=flat_shape,
            kind=kind,
            filter=to_ohwi(kernel),
            level_map=to_ohwi(level_map),
            gain=np.ones((self.levels, out_channels)),
            bias=numpy_of(bias).tile(bias, (self.levels, 1)),
            depth_multiplier=kernel.shape[-1] if kind is LayerKind.DEPTHWISE else 1,
            block_size=layer.block_shape[-1] if nested else 1,
            per_level=nested,
            **geometry,
        )
        name = self.add_activation(layer, layer.activation, name)
        if flat_shape != shape:
            name = self.add(nodes.Reshape, f"{layer.name}/shape", (name,), shape=shape)
        return name

    def batch_norm(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        variance = self.read_float(layer.moving_variance) + layer.epsilon
        gain = 1.0 / numpy_of(variance).sqrt(variance)
        if layer.gamma is not None:
            gain = gain * self.read_float(layer.gamma)
        bias = -self.read_float(layer.moving_mean) * gain
        if layer.beta is not None:
            bias = bias + self.read_float(layer.beta)
        return self.add(nodes.BatchNorm, layer.name, inputs, shape=shape, gain=gain, bias=bias)

    def activation(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add_activation(layer, layer.activation, inputs[0])

    def relu(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        slope = float(layer.negative_slope or 0.0)
        function = "leaky_relu" if slope else "relu6" if layer.max_value else "relu"
        return self.add(
            nodes.Unary, layer.name, inputs, shape=shape, function=function, alpha=slope
        )

    def leaky_relu(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(
            nodes.Unary,
            layer.name,
            inputs,
            shape=shape,
            function="leaky_relu",
            alpha=float(layer.negative_slope),
        )

    def softmax(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(nodes.Unary, layer.name, inputs, shape=shape, function="softmax")

    def binary(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        function = "multiply" if isinstance(layer, keras.layers.Multiply) else "add"
        inputs = tuple(self.with_rank(len(shape), name) for name in inputs)
        # TFLite's operators take two operands: more are combined one after the other.
        name = inputs[0]
        for position, other in enumerate(inputs[1:], start=1):
            partial = tuple(np.broadcast_shapes(self.nodes[name].shape, self.nodes[other].shape))
            last = position == len(inputs) - 1
            name = self.add(
                nodes.Binary,
                layer.name if last else f"{layer.name}/partial",
                (name, other),
                shape=partial,
                function=function,
            )
        return name

    def with_rank(self, rank: int, name: str) -> str:
        """Puts axes of one after the batch, as Keras does where the operands' ranks differ."""
        batch, *rest = self.nodes[name].shape
        if 1 + len(rest) == rank:
            return name
        shape = (batch, *[1] * (rank - 1 - len(rest)), *rest)
        return self.add(nodes.Reshape, f"{name}/rank_{rank}", (name,), shape=shape)

    def concatenate(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(
            nodes.Concatenate, layer.name, inputs, shape=shape, axis=layer.axis % len(shape)
        )

    def pool(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(
            nodes.Pool,
            layer.name,
            inputs,
            shape=shape,
            function="max" if isinstance(layer, keras.layers.MaxPooling2D) else "average",
            size=tuple(layer.pool_size),
            strides=tuple(layer.strides),
            padding=layer.padding.upper(),
        )

    def global_average(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(nodes.Mean, layer.name, inputs, shape=shape)

    def global_max(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        _, height, width, channels = self.nodes[inputs[0]].shape
        name = self.add(
            nodes.Pool,
            layer.name,
            inputs,
            shape=(1, 1, 1, channels),
            function="max",
            size=(height, width),
            strides=(1, 1),
            padding="VALID",
        )
        if len(shape) == 4:
            return name
        return self.add(nodes.Reshape, f"{layer.name}/flatten", (name,), shape=shape)

    def pad(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        paddings = tuple((int(before), int(after)) for before, after in layer.padding)
        return self.add(nodes.Pad, layer.name, inputs, shape=shape, paddings=paddings)

    def reshape(self, layer: Any, inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
        return self.add(nodes.Reshape, layer.name, inputs, shape=shape)


def _check(operation: Any, arguments: Any) -> None:
    """Refuses a call of a layer that the nodes cannot say."""
    name = operation.name
    text = supported.refusal(operation, name) or supported.export_refusal(operation, name)
    if not isinstance(operation, keras.layers.InputLayer):
        text = text or supported.call_refusal(operation, name, arguments.args, arguments.kwargs)
    if text:
        raise UnsupportedLayerError(text)


def _conv_to_ohwi(kernel: Any) -> Any:
    return numpy_of(kernel).transpose(kernel, (3, 0, 1, 2))


def _depthwise_to_ohwi(kernel: Any) -> Any:
    """[H, W, C, D] -> [C * D, H, W, 1]: output channel c * D + d reads input channel c."""
    numpy = numpy_of(kernel)
    height, width = kernel.shape[:2]
    return numpy.transpose(numpy.reshape(kernel, (height, width, -1, 1)), (2, 0, 1, 3))


def _dense_to_ohwi(kernel: Any) -> Any:
    return numpy_of(kernel).transpose(kernel)[:, np.newaxis, np.newaxis, :]


_NESTED_LAYERS = (
    nested_layers.NestedConv2D,
    nested_layers.NestedDepthwiseConv2D,
    nested_layers.NestedDense,
)
_LINEAR_KINDS: dict[type, tuple[LayerKind, Callable[[Any], FloatArray | UInt8Array]]] = {
    keras.layers.Conv2D: (LayerKind.CONV, _conv_to_ohwi),
    keras.layers.DepthwiseConv2D: (LayerKind.DEPTHWISE, _depthwise_to_ohwi),
    keras.layers.Dense: (LayerKind.FULLY_CONNECTED, _dense_to_ohwi),
}


_Handler: TypeAlias = Callable[[_Tracer, Any, tuple[str, ...], tuple[int, ...]], str]
_HANDLERS: dict[type, _Handler] = {
    **dict.fromkeys(_IDENTITIES, _Tracer.identity),
    **dict.fromkeys(_LINEAR_KINDS, _Tracer.linear),
    **dict.fromkeys(_NESTED_LAYERS, _Tracer.linear),
    keras.layers.InputLayer: _Tracer.input,
    nested_layers.NestedBatchNormalization: _Tracer.batch_norm,
    keras.layers.Activation: _Tracer.activation,
    keras.layers.ReLU: _Tracer.relu,
    keras.layers.LeakyReLU: _Tracer.leaky_relu,
    keras.layers.Softmax: _Tracer.softmax,
    keras.layers.Add: _Tracer.binary,
    keras.layers.Multiply: _Tracer.binary,
    keras.layers.Concatenate: _Tracer.concatenate,
    keras.layers.AveragePooling2D: _Tracer.pool,
    keras.layers.MaxPooling2D: _Tracer.pool,
    keras.layers.GlobalAveragePooling2D: _Tracer.global_average,
    keras.layers.GlobalMaxPooling2D: _Tracer.global_max,
    keras.layers.ZeroPadding2D: _Tracer.pad,
    keras.layers.Flatten: _Tracer.reshape,
    keras.layers.Reshape: _Tracer.reshape,
}
