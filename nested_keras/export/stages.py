"""The whole way from a model to its files: `build` is the list of the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nested_keras.export import activations, rewrite
from nested_keras.export.compare import compare
from nested_keras.export.convert import convert
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.match import match
from nested_keras.export.pack import pack
from nested_keras.export.quantize import twin_gain
from nested_keras.export.representative import collect, keys_of
from nested_keras.export.verify import verify
from nested_keras.nesting import fitting
from nested_keras.tflite.lowering import lower


@dataclass(frozen=True)
class ExportedModel:
    """What an export makes.

    Attributes:
      tflite: The nested model: int8 inputs and outputs, the int32[1] input `level` last.
      dense_tflite: TensorFlow's own int8 model of the densest level, from builtin operators.
      levels: Number of levels.
    """

    tflite: bytes
    dense_tflite: bytes
    levels: int


def build(model: Any, *, representative_dataset: Any) -> ExportedModel:
    """Exports a nested model; see `nested_keras.export.build`."""
    graph = fold(trace(model))
    shapes = [graph.nodes[name].shape[1:] for name in graph.inputs]
    data = collect(representative_dataset, shapes, keys_of(model))
    compare(model, graph, data)
    graph, ranges = activations.apply(graph, model.quantization or activations.measure(graph, data))
    gains = {
        node.name: twin_gain(node, input_scale=ranges.scale(node.inputs[0]))
        for node in graph.linear_nodes()
    }
    converted = convert(graph, ranges=ranges, twin_gain=gains)
    program = lower(converted)
    layers = match(
        graph,
        program,
        twin_gain=gains,
        filter_scales=rewrite.filter_scales(converted),
    )
    packed = pack(layers, program, twin_gain=gains)
    dense = rewrite.name_after_layers(converted, graph)
    nested = rewrite.nest_operators(dense, packed)
    verify(nested, dense=dense, layers=packed, data=data)
    fitting.warn_of_shortfall(model, hint="train with callbacks.NestedPruning()", stacklevel=4)
    return ExportedModel(tflite=nested, dense_tflite=dense, levels=graph.levels)
