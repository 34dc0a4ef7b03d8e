"""The export as a story: `STEPS` is the list of steps, and each step fills fields of one state.

Read this file first. Each step calls the functions of other files, which do the work.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from nested_keras.export import activations, interface, placeholders, rewrite
from nested_keras.export.calibrate import Ranges
from nested_keras.export.compare import compare
from nested_keras.export.convert import convert
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.interface import TypeLike
from nested_keras.export.match import ConvertedLayer, match, unshaped
from nested_keras.export.nodes import Graph
from nested_keras.export.pack import PackedLayer, pack
from nested_keras.export.quantize import lifts, twin_gains
from nested_keras.export.representative import collect
from nested_keras.export.shrink import Optimize, check_optimize, check_size, shrink
from nested_keras.export.verify import verify
from nested_keras.nesting import fitting
from nested_keras.nesting.input_forms import keys_of
from nested_keras.nesting.model import NestedModel
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.lowering import lower_graph
from nested_keras.tflite.program import Program
from nested_keras.typing import Data, Float32Array, FloatArray

# The value of a field before the step that fills it.
_LATER: Any = None


@dataclass(frozen=True, eq=False)
class ExportState:
    """The state of an export: each step returns a copy with more fields filled.

    Attributes:
        model: The nested model.
        representative_dataset: The user's examples, in any form.
        with_types: Gives a tree inputs and outputs of the types that the user wants.
        optimize: "latency", "size" or the most bytes of the file.
        graph: The network as nodes; traced, then folded, then equalised.
        data: Representative examples, one float32 array [n, ...] per input.
        ranges: Quantisation of the activations.
        gains: For each linear node, the factors [O] with which its filter is in the file.
        dense: The .tflite of the densest level, from builtin operators.
        program: The converter's file, prepared to run.
        layers: The linear nodes in `program`, by name of node.
        packed: The layers that become NESTED_SPARSE_CONV.
        nested: The .tflite with all levels.
        dense_tflite: `dense`, written.
        tflite: `nested`, written.
    """

    model: NestedModel
    representative_dataset: Any
    with_types: Callable[[Tree], Tree] = lambda tree: tree
    optimize: Optimize = "latency"
    graph: Graph = _LATER
    data: tuple[Float32Array, ...] = _LATER
    ranges: Ranges = _LATER
    gains: Mapping[str, FloatArray] = _LATER
    dense: Tree = _LATER
    program: Program = _LATER
    layers: Mapping[str, ConvertedLayer] = _LATER
    packed: tuple[PackedLayer, ...] = _LATER
    nested: Tree = _LATER
    dense_tflite: bytes = _LATER
    tflite: bytes = _LATER


Step: TypeAlias = Callable[[ExportState], ExportState]


@dataclass(frozen=True)
class ExportedModel:
    """The result of an export.

    Attributes:
        tflite: The nested model, with inputs and outputs of the chosen types, and the int32[1]
            input `level` last.
        dense_tflite: TensorFlow's own int8 model of the densest level, from builtin operators and
            INT8_LOOKUP, with the same inputs and outputs.
        levels: Number of levels.
    """

    tflite: bytes
    dense_tflite: bytes
    levels: int


def build(
    model: NestedModel,
    *,
    representative_dataset: Data,
    inference_input_type: TypeLike,
    inference_output_type: TypeLike,
    optimize: Optimize,
) -> ExportedModel:
    """Exports a nested model; see `nested_keras.export.build`."""
    optimize = check_optimize(optimize)
    with_types = functools.partial(
        interface.with_types,
        inputs=interface.type_name(inference_input_type, argument="inference_input_type"),
        outputs=interface.type_name(inference_output_type, argument="inference_output_type"),
    )
    state = ExportState(model, representative_dataset, with_types, optimize)
    for step in STEPS:
        state = step(state)
    fitting.warn_of_shortfall(model, hint="train with callbacks.NestedPruning()", stacklevel=4)
    return ExportedModel(state.tflite, state.dense_tflite, state.graph.levels)


def trace_layers(state: ExportState) -> ExportState:
    """Turns the Keras model into a graph of nodes, with the weights of all levels."""
    return dataclasses.replace(state, graph=trace(state.model))


def fold_batch_norm(state: ExportState) -> ExportState:
    """Moves BatchNorm and activations into the nodes before them."""
    return dataclasses.replace(state, graph=fold(state.graph))


def collect_examples(state: ExportState) -> ExportState:
    """Gathers the representative examples, one array per input."""
    shapes = [state.graph.nodes[name].shape[1:] for name in state.graph.inputs]
    data = collect(state.representative_dataset, shapes, keys_of(state.model))
    return dataclasses.replace(state, data=data)


def compare_in_float(state: ExportState) -> ExportState:
    """Checks that the graph equals the Keras model in float, before int8 rounds."""
    compare(state.model, state.graph, state.data)
    return state


def quantize_activations(state: ExportState) -> ExportState:
    """Evens out channels and fixes the int8 ranges, unless training has fixed them already."""
    graph = state.graph
    measured = state.model.quantization or activations.measure(graph, state.data)
    graph, ranges = activations.apply(graph, measured)
    gains = twin_gains(graph.linear_nodes(), ranges.scale, functools.partial(unshaped, graph))
    return dataclasses.replace(state, graph=graph, ranges=ranges, gains=gains)


def convert_densest_level(state: ExportState) -> ExportState:
    """Lets TensorFlow convert a plain twin of the densest level, with enlarged small filters."""
    enlarged = lifts(state.graph.linear_nodes(), state.gains)
    gains = {name: gain * enlarged[name] for name, gain in state.gains.items()}
    converted = convert(state.graph, ranges=state.ranges, twin_gain=gains)
    dense = placeholders.insert(flatbuffer.load(converted), state.graph)
    if any((lift != 1).any() for lift in enlarged.values()):
        _, layers = _matched(state.graph, dense, gains)
        dense = rewrite.without_lifts(dense, layers.values(), enlarged)
    return dataclasses.replace(state, dense=dense)


def match_operators(state: ExportState) -> ExportState:
    """Finds the operator of each layer in the converted file, and checks its weights."""
    program, layers = _matched(state.graph, state.dense, state.gains)
    return dataclasses.replace(state, program=program, layers=layers)


def _matched(
    graph: Graph, dense: Tree, gains: Mapping[str, FloatArray]
) -> tuple[Program, Mapping[str, ConvertedLayer]]:
    program = lower_graph(read_graph(dense))
    scales = rewrite.filter_scales(dense)
    return program, match(graph, program, twin_gain=gains, filter_scales=scales)


def pack_streams(state: ExportState) -> ExportState:
    """Computes the tables of every level and packs the layers that differ between levels."""
    return dataclasses.replace(state, packed=pack(state.layers, state.program))


def name_after_layers(state: ExportState) -> ExportState:
    """Gives the tensors of the converted file the names of the layers."""
    return dataclasses.replace(state, dense=rewrite.name_after_layers(state.dense, state.graph))


def nest_operators(state: ExportState) -> ExportState:
    """Puts NESTED_SPARSE_CONV in the place of the packed layers and adds the input `level`."""
    return dataclasses.replace(state, nested=rewrite.nest_operators(state.dense, state.packed))


def write_files(state: ExportState) -> ExportState:
    """Writes both files, whose trees are complete now."""
    return dataclasses.replace(
        state,
        dense_tflite=flatbuffer.save(state.with_types(state.dense)),
        tflite=flatbuffer.save(state.with_types(state.nested)),
    )


def verify_levels(state: ExportState) -> ExportState:
    """Compares every level of the written file with a dense int8 model, bit for bit."""
    goldens = (
        state.with_types(rewrite.dense_level(state.dense, state.packed, level))
        for level in range(state.graph.levels)
    )
    verify(state.tflite, goldens=goldens, data=state.data)
    return state


def shrink_streams(state: ExportState) -> ExportState:
    """Packs the streams anew into fewer bytes, if the user wants that."""
    packed = shrink(
        state.packed, state.program, optimize=state.optimize, file_bytes=len(state.tflite)
    )
    if packed is state.packed:
        return state
    nested = rewrite.nest_operators(state.dense, packed)
    tflite = flatbuffer.save(state.with_types(nested))
    check_size(tflite, state.optimize)
    return dataclasses.replace(state, packed=packed, nested=nested, tflite=tflite)


STEPS: tuple[Step, ...] = (
    trace_layers,
    fold_batch_norm,
    collect_examples,
    compare_in_float,
    quantize_activations,
    convert_densest_level,
    match_operators,
    pack_streams,
    name_after_layers,
    nest_operators,
    write_files,
    verify_levels,
    shrink_streams,
)
