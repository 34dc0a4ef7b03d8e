"""Compares the folded graph in float with the Keras model, before anything is rounded.

All later steps compare with the folded graph, so an error of the graph would stay unseen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np

from nested_keras.export import forward
from nested_keras.export.export_errors import ExportError
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.nodes import Graph, Node
from nested_keras.nesting import fidelity
from nested_keras.nesting.model import NestedModel, call_at, record
from nested_keras.typing import Float32Array, Value

_MOST_EXAMPLES = 7
# A share of the largest output. Folding multiplies BatchNorm's factors into the weights, which
# makes 1e-6 in a small network and more in a deep one. A layer that was mistaken for another is off
# by 1e-2 and more.
_SHARE = 1e-3


def compare(model: NestedModel, graph: Graph, data: tuple[Float32Array, ...]) -> None:
    """Compares every level on a few examples.

    Args:
        model: The nested model.
        graph: Its folded graph.
        data: Representative examples, one array [n, ...] per input.

    Raises:
        ExportError: A level differs; the text names the level and the first layer that differs.
    """
    inputs = [array[: _examples(graph, len(data[0]))] for array in data]
    batch = keras.tree.pack_sequence_as(model.input, inputs)
    share = max(_SHARE, fidelity.tolerance(model))
    for level in range(graph.levels):
        want = fidelity.flat(model.float_level(level)(batch, training=False))
        if not all(np.isfinite(each).all() for each in want):
            return  # the calibration refuses such outputs with its own text
        got = fidelity.flat(
            forward.run(graph, inputs, forward.level_parameters(level), lambda _, value: value)
        )
        runs = fidelity.Trace(want), fidelity.Trace(got)
        if wrong := fidelity.first_difference(*runs, share=share):
            layer = _first_layer(model, inputs, level=level, share=share)
            raise ExportError(
                f"level {level} must compute what the Keras model does: {layer or wrong}"
            )


def _examples(graph: Graph, available: int) -> int:
    """Returns a number of examples that no tensor has along another axis.

    Keras on TensorFlow takes the operand [n, 1] of a sum for a bias, where the other operand has n
    channels.
    """
    sizes = {size for node in graph.nodes.values() for size in node.shape}
    counts = range(1, min(available, _MOST_EXAMPLES) + 1)
    return max((count for count in counts if count not in sizes), default=1)


def _first_layer(
    model: NestedModel, inputs: list[Float32Array], *, level: int, share: float
) -> str | None:
    """Names the first layer that differs, among the layers with one call."""
    batch = keras.tree.pack_sequence_as(model.input, inputs)
    wanted = record(model, batch, call_at(level), name_of=lambda layer: str(layer.name)).layers
    calls = Counter(name for name, _ in wanted)
    values: dict[str, Any] = {}

    def note(node: Node, value: Value) -> Any:
        # The nodes of a layer have its name, and the last such node is the output of the layer.
        values[node.name.split("/")[0]] = np.asarray(value)
        return value

    graph = fold(trace(model), fuse=False)
    forward.run(graph, inputs, forward.level_parameters(level), note)
    common = [(name, want) for name, want in wanted if calls[name] == 1 and name in values]
    # A series of the model is an image in the graph.
    found = [
        (name, values[name].reshape(want.shape) if values[name].size == want.size else values[name])
        for name, want in common
    ]
    return fidelity.first_difference(
        fidelity.Trace((), tuple(common)), fidelity.Trace((), tuple(found)), share=share
    )
