"""From the bytes of a .tflite file to a `Program`: checks everything, resolves every parameter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import Graph, read_graph
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operator_reader import Node
from nested_keras.tflite.operators import builtins
from nested_keras.tflite.operators.convolutions import NESTED_SPARSE_CONV, nested_sparse_conv
from nested_keras.tflite.program import NestedSparseConv, Op, Program, Tensor

LEVEL_INPUT = "level"


@dataclass(frozen=True, eq=False)
class Interface:
    """What the caller of a model sees.

    Attributes:
      tensors: All tensors of the graph.
      inputs: Tensor indices of the graph inputs without the level.
      outputs: Tensor indices of the graph outputs.
      levels: Number of nested levels; 1 for a graph without NESTED_SPARSE_CONV.
      level_input: Tensor index of the graph input `level`, or None.
    """

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    levels: int
    level_input: int | None


def lower(model: bytes) -> Program:
    """Parses and prepares a fully int8 .tflite model, nested or not.

    Args:
      model: The whole file. Activations are int8; graph inputs and outputs may be float32 behind
        QUANTIZE and DEQUANTIZE; all shapes are static.

    Returns:
      The prepared graph, with operators and tensors in the order of the file.

    Raises:
      UnsupportedOpError: If an operator has no implementation here; the text names it.
      ModelError: If the file is foreign, truncated, damaged or inconsistent.
    """
    return lower_graph(read_graph(flatbuffer.load(bytes(model))))


def lower_graph(graph: Graph) -> Program:
    """Prepares the graph of a parsed model; see `lower`."""
    level_input = _level_input(graph)
    inputs = _checked_inputs(graph, level_input)
    nested = _nested_ops(graph, level_input)
    levels = _levels(nested.values())
    _check_data_flow(graph)
    ops = (
        nested[position] if position in nested else _builtin_op(Node(graph, operator))
        for position, operator in enumerate(graph.operators)
    )
    return Program(
        tensors=graph.tensors,
        ops=tuple(ops),
        inputs=inputs,
        outputs=graph.outputs,
        levels=levels,
        level_input=level_input,
    )


def read_interface(graph: Graph) -> Interface:
    """Reads inputs, outputs and levels of a model that may hold any builtin operator.

    Raises:
      ModelError: If a NESTED_SPARSE_CONV in it is not valid.
    """
    level_input = _level_input(graph)
    inputs = _checked_inputs(graph, level_input)
    return Interface(
        tensors=graph.tensors,
        inputs=inputs,
        outputs=graph.outputs,
        levels=_levels(_nested_ops(graph, level_input).values()),
        level_input=level_input,
    )


def _checked_inputs(graph: Graph, level_input: int | None) -> tuple[int, ...]:
    """Checks the graph's inputs and outputs; returns the inputs without the level."""
    inputs = tuple(index for index in graph.inputs if index != level_input)
    if not inputs or not graph.outputs:
        raise ModelError(f"expected inputs and outputs: got {len(inputs)} and {len(graph.outputs)}")
    for index in (*inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype not in ("int8", "float32") or min(tensor.shape, default=0) < 1:
            raise ModelError(
                f"graph input or output {tensor.name!r} must be int8 or float32 with at least one "
                f"dimension: got {tensor.dtype}{list(tensor.shape)}"
            )
    return inputs


def _level_input(graph: Graph) -> int | None:
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if (tensor.name, tensor.dtype, tensor.shape) == (LEVEL_INPUT, "int32", (1,)):
            return index
    return None


def _is_nested(node: Node) -> bool:
    return node.operator.custom and node.operator.kind == NESTED_SPARSE_CONV


def _nested_ops(graph: Graph, level_input: int | None) -> dict[int, NestedSparseConv]:
    """The nested operators by their position; each stream is parsed here, once."""
    nodes = enumerate(Node(graph, operator) for operator in graph.operators)
    return {
        position: nested_sparse_conv(node, level_input=level_input)
        for position, node in nodes
        if _is_nested(node)
    }


def _builtin_op(node: Node) -> Op:
    if node.operator.custom:
        raise node.unsupported(f"the only custom operator is {NESTED_SPARSE_CONV}")
    return builtins.build(node)


def _levels(ops: Iterable[NestedSparseConv]) -> int:
    counts = {op.name: len(op.layer.levels) for op in ops}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise ModelError(f"all {NESTED_SPARSE_CONV} streams must hold as many levels: {listing}")
    return next(iter(counts.values()), 1)


def _check_data_flow(graph: Graph) -> None:
    """Checks that every tensor is written once, before it is read."""
    written = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    if written & set(graph.inputs) or len(set(graph.inputs)) != len(graph.inputs):
        raise ModelError("a graph input is a constant or listed twice")
    written |= set(graph.inputs)
    for operator in graph.operators:
        node = Node(graph, operator)
        for index in operator.inputs:
            if index >= 0 and index not in written:
                raise node.error(f"reads {graph.tensors[index].name!r} before it is written")
        for index in operator.outputs:
            if index in written:
                raise node.error(f"writes {graph.tensors[index].name!r} a second time")
            written.add(index)
    for index in graph.outputs:
        if index not in written:
            raise ModelError(f"nothing writes the graph output {graph.tensors[index].name!r}")
