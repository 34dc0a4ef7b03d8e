"""Turn Keras layers into nodes by a walk over the functional graph of a nested model.

One walk serves all levels, because `at_level(l)` calls the same layers in the same order for every
l. The nodes take the values of every level from the layers' own variables.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nested_keras.export import axes, moving_layers, plain_layers, weighted_layers
from nested_keras.export.export_errors import ExportError, UnsupportedLayerError
from nested_keras.export.graph_builder import GraphBuilder, Trace
from nested_keras.export.moving_layers import source_of_values
from nested_keras.export.nodes import Graph
from nested_keras.export.plain_layers import Table
from nested_keras.export.series import series_as_images
from nested_keras.nesting import keras_graph, supported
from nested_keras.nesting.model import NestedModel
from nested_keras.typing import KerasArgument, KerasModel, KerasOperation, KerasTensor

TRACES: dict[type, Trace] = {
    **plain_layers.TRACES,
    **moving_layers.TRACES,
    **axes.TRACES,
    **weighted_layers.TRACES,
}

_EXTREMA = (keras.layers.Maximum, keras.layers.Minimum)


def trace(model: NestedModel, *, read: Callable[[Any], Any] = np.asarray) -> Graph:
    """Walks a nested model.

    Args:
        model: A NestedModel with fixed input shapes.
        read: Gives the value of a layer's variable, as an array, or in training as a tensor with a
            gradient.

    Returns:
        The graph, with no node folded.

    Raises:
        ExportError: The model is no NestedModel, or an input has an unknown size.
        UnsupportedLayerError: A layer or activation that export does not know, by name.
    """
    if not isinstance(model, NestedModel):
        raise ExportError(
            "expected a NestedModel (nested_keras.nest makes one): "
            f"got {type(model).__module__}.{type(model).__name__}"
        )
    return series_as_images(_Tracer(model.levels, read).trace(model))


class _Tracer:
    """Walks the graph of a model; one instance per walk."""

    def __init__(self, levels: int, read: Callable[[Any], Any]) -> None:
        self.builder = GraphBuilder(levels, read)
        self.produced: dict[tuple[int, int], str] = {}
        self.calls: dict[tuple[int, tuple[str, ...]], str] = {}

    def trace(self, functional: KerasModel) -> Graph:
        """Walks back from the outputs; the inputs of each node come before the node."""
        inputs = []
        for tensor in functional.inputs:
            if text := supported.input_refusal(tensor):
                raise ExportError(text)
            inputs.append(self.visit(tensor))
        outputs = self.copied([self.visit(tensor) for tensor in functional.outputs], inputs)
        return Graph(self.builder.nodes, tuple(inputs), tuple(outputs), self.builder.levels)

    def copied(self, outputs: list[str], inputs: list[str]) -> list[str]:
        """Returns the outputs, with a copy for each that is an input or another output.

        In a .tflite, a tensor is one input or one output. The copy is a table, because the
        converter would leave out an operator that does nothing. Transposes that undo each other
        do nothing either, and an output behind them would lose its name.
        """
        nodes = self.builder.nodes
        taken = {(name, nodes[name].shape) for name in inputs}
        found = []
        for name in outputs:
            (source, undone), shape = source_of_values(nodes, name), nodes[name].shape
            if (source, shape) in taken or undone:
                same = functools.partial(tf.identity)  # unlike that of any other copy
                name = self.builder.add(Table, f"{name}/copy", (name,), shape=shape, function=same)
            taken.add((source, shape))
            found.append(name)
        return found

    def visit(self, tensor: KerasTensor) -> str:
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
                # Two calls of a layer on equal values give equal outputs, so one node is enough.
                call = id(operation), tuple(map(self.same, names))
                if call not in self.calls:
                    _check(operation, arguments)
                    self.calls[call] = self.add_operation(operation, names, stack[-1])
                self.produced[key] = self.calls[call]
            stack.pop()
        return self.produced[self._key(tensor)]

    def same(self, name: str) -> str:
        """Returns the first node that has the values and the shape of a node."""
        nodes = self.builder.nodes
        source, _ = source_of_values(nodes, name)
        return source if nodes[source].shape == nodes[name].shape else name

    @staticmethod
    def _key(tensor: KerasTensor) -> tuple[int, int]:
        operation, index, *_ = keras_graph.source(tensor)
        return id(operation), index

    def add_operation(
        self, operation: KerasOperation, inputs: tuple[str, ...], output: KerasTensor
    ) -> str:
        """Makes the nodes of one call of one layer."""
        shape = (1, *output.shape[1:])
        kind = supported.kind_of(operation)
        if kind in _EXTREMA and len({self.same(name) for name in inputs}) == 1:
            return inputs[0]  # the converter would leave out an operator that changes nothing
        make_nodes = TRACES.get(kind)
        if make_nodes is None:  # a NestedModel that was put together by hand
            raise UnsupportedLayerError(
                f"layer {operation.name!r} ({type(operation).__name__}) must be one that "
                "nested_keras.nest makes"
            )
        return make_nodes(self.builder, operation, inputs, shape)


def _check(operation: KerasOperation, arguments: KerasArgument) -> None:
    """Refuses a call of a layer that no node can express."""
    name = operation.name
    text = supported.refusal(operation, name) or supported.export_refusal(operation, name)
    if not isinstance(operation, keras.layers.InputLayer):
        text = text or supported.call_refusal(operation, name, arguments.args, arguments.kwargs)
    if text:
        raise UnsupportedLayerError(text)
