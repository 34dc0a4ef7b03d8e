"""Turn the bytes of a .tflite file into a `Program`: check everything, resolve all parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import Graph, read_graph
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators import NestedSparseConv, read_op
from nested_keras.tflite.operators.nested import NESTED_SPARSE_CONV, read_nested_sparse_conv
from nested_keras.tflite.program import Program, Tensor


@dataclass(frozen=True, eq=False)
class Interface:
    """The inputs, outputs and levels that the caller of a model sees.

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
        model: The whole file. Activations are int8; graph inputs and outputs may be uint8 or
            float32 behind QUANTIZE and DEQUANTIZE; all shapes are static.

    Returns:
        The prepared graph, with operators and tensors in the order of the file.

    Raises:
        UnsupportedOpError: If an operator has no implementation here; the text names it.
        ModelError: If the file is foreign, truncated, damaged or inconsistent.
    """
    return lower_graph(read_graph(flatbuffer.load(bytes(model))))


def lower_graph(graph: Graph) -> Program:
    """Prepares the graph of a parsed model; see `lower`."""
    inputs = _inputs(graph)
    nested = _nested_ops(graph)
    levels = _levels(nested.values())
    _check_data_flow(graph)
    return Program(
        tensors=graph.tensors,
        ops=tuple(
            nested[position] if position in nested else read_op(OperatorReader(graph, operator))
            for position, operator in enumerate(graph.operators)
        ),
        inputs=inputs,
        outputs=graph.outputs,
        levels=levels,
        level_input=graph.level_input,
    )


def read_interface(graph: Graph) -> Interface:
    """Reads inputs, outputs and levels of a model that may hold any builtin operator.

    Raises:
        ModelError: If a NESTED_SPARSE_CONV of the graph is not valid.
    """
    return Interface(
        tensors=graph.tensors,
        inputs=_inputs(graph),
        outputs=graph.outputs,
        levels=_levels(_nested_ops(graph).values()),
        level_input=graph.level_input,
    )


def _inputs(graph: Graph) -> tuple[int, ...]:
    """Checks the graph inputs and outputs; returns the inputs without the level."""
    inputs = tuple(index for index in graph.inputs if index != graph.level_input)
    if not inputs or not graph.outputs:
        raise ModelError(f"expected inputs and outputs: got {len(inputs)} and {len(graph.outputs)}")
    for index in (*inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype not in ("int8", "uint8", "float32") or min(tensor.shape, default=0) < 1:
            raise ModelError(
                f"graph input or output {tensor.name!r} must be int8, uint8 or float32 "
                f"with at least one dimension: got {tensor.dtype}{list(tensor.shape)}"
            )
    return inputs


def _nested_ops(graph: Graph) -> dict[int, NestedSparseConv]:
    """Reads every NESTED_SPARSE_CONV, by its position in the graph."""
    return {
        position: read_nested_sparse_conv(OperatorReader(graph, operator))
        for position, operator in enumerate(graph.operators)
        if operator.custom and operator.kind == NESTED_SPARSE_CONV
    }


def _levels(ops: Iterable[NestedSparseConv]) -> int:
    counts = {op.name: len(op.layer.levels) for op in ops}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise ModelError(
            f"all {NESTED_SPARSE_CONV} streams must have equal numbers of levels: {listing}"
        )
    return next(iter(counts.values()), 1)


def _check_data_flow(graph: Graph) -> None:
    """Checks that every tensor is written once, before it is read."""
    written = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    if written & set(graph.inputs) or len(set(graph.inputs)) != len(graph.inputs):
        raise ModelError("a graph input is a constant or listed twice")
    written |= set(graph.inputs)
    for operator in graph.operators:
        reader = OperatorReader(graph, operator)
        for index in operator.inputs:
            if index >= 0 and index not in written:
                raise reader.error(f"reads {graph.tensors[index].name!r} before it is written")
        for index in operator.outputs:
            if index in written:
                raise reader.error(f"writes {graph.tensors[index].name!r} a second time")
            written.add(index)
    for index in graph.outputs:
        if index not in written:
            raise ModelError(f"nothing writes the graph output {graph.tensors[index].name!r}")
