"""Give a .tflite of batch 1 a larger batch, so that an interpreter runs many samples at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nested_keras.tflite import flatbuffer, operators, program
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.lowering import lower_graph
from nested_keras.tflite.model_error import ModelError

# By the name of the operator, the input that holds the shape of the output.
_SHAPE_INPUT = {"RESHAPE": 1, "TRANSPOSE_CONV": 0}


def keeps_samples_apart(graph: program.Program) -> bool:
    """Returns whether the first axis of every activation is a batch of one that can be larger."""
    activations = {index for op in graph.ops for index in (*op.inputs, *op.outputs)}
    shapes = [
        graph.tensors[index].shape
        for index in activations | {*graph.inputs, *graph.outputs}
        if graph.tensors[index].data is None
    ]
    return all(len(shape) >= 2 and shape[0] == 1 for shape in shapes) and not any(
        operators.mixes_samples(op, graph) for op in graph.ops
    )


def with_batch(model: bytes, size: int) -> Tree | None:
    """Rewrites a model to run `size` samples at once.

    Args:
        model: The whole file.
        size: The number of samples, 1 or more.

    Returns:
        The model as a tree; None if the model mixes samples, or has an operator that this package
        does not know.
    """
    tree = flatbuffer.load(model)
    graph = read_graph(tree)
    try:
        if not keeps_samples_apart(lower_graph(graph)):
            return None
    except ModelError:
        return None
    given = {graph.level_input, *(i for i, t in enumerate(graph.tensors) if t.data is not None)}
    for index, tensor in enumerate(tree.subgraph.tensors):
        if index not in given:
            tensor.shape = _widened(tensor.shape, size)
            tensor.shapeSignature = None
    for operator, entry in zip(graph.operators, tree.subgraph.operators, strict=True):
        position = _SHAPE_INPUT.get(operator.kind)
        if position is None or operator.custom:
            continue
        if getattr(entry.builtinOptions, "newShape", None) is not None:
            entry.builtinOptions.newShape = _widened(entry.builtinOptions.newShape, size)
        if len(operator.inputs) > position:
            inputs = [int(each) for each in entry.inputs]
            inputs[position] = _widened_constant(tree, inputs[position], size)
            entry.inputs = inputs
    return tree


def _widened(shape: Sequence[int], size: int) -> list[int]:
    return [size, *(int(each) for each in shape[1:])]


def _widened_constant(tree: Tree, index: int, size: int) -> int:
    """Adds a copy of a constant shape with another batch, because others may share the constant."""
    old = tree.subgraph.tensors[index]
    content = np.asarray(tree.root.buffers[old.buffer].data, np.uint8).tobytes()
    values = np.frombuffer(content, np.int32).copy()
    values[0] = size
    buffer = tree.add_buffer(values.tobytes())
    return tree.add_tensor(flatbuffer.text(old.name), (len(values),), old.type, buffer)
