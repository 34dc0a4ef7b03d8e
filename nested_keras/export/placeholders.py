"""Operators that take the place of a placeholder in the converter's file: INT8_LOOKUP and PRELU.

TensorFlow's converter would write most functions of each value alone as several operators that each
round, or as an operator that TFLite Micro lacks. The converter writes a PRELU only where no other
operator reads a part of the formula. So the twin has a LEAKY_RELU as a placeholder for each table
and each PReLU. The converter quantises the placeholder with the given ranges, and `insert` turns
the placeholder into the operator. Each placeholder has its own slope, because the converter merges
equal operators, and because `insert` finds the placeholder by the slope.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph
from nested_keras.export.plain_layers import Table, Unary
from nested_keras.export.weighted_layers import Prelu
from nested_keras.int8 import tables
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.operators.lookup import INT8_LOOKUP
from nested_keras.typing import Int8Array, SchemaObject


def with_placeholders(graph: Graph) -> Graph:
    """Returns the graph with a LEAKY_RELU in the place of each table and each PReLU."""
    nodes = {
        name: Unary(name, node.inputs, node.shape, "leaky_relu", alpha=_slope(index))
        if isinstance(node, Table | Prelu)
        else node
        for index, (name, node) in enumerate(graph.nodes.items())
    }
    return dataclasses.replace(graph, nodes=nodes)


def insert(converted: Tree, graph: Graph) -> Tree:
    """Puts INT8_LOOKUP with its table, or PRELU with its slopes, in the place of each placeholder.

    Args:
        converted: The converter's file of `with_placeholders(graph)`.
        graph: The graph.

    Returns:
        Another tree, or the same tree where there is no placeholder.

    Raises:
        ExportError: The converter has lost a placeholder.
    """
    from ai_edge_litert import schema_py_generated as schema

    wanted = {
        np.float32(_slope(index)): node
        for index, node in enumerate(graph.nodes.values())
        if isinstance(node, Table | Prelu)
    }
    if not wanted:
        return converted
    tree = converted.copy()
    codes = {Table: tree.add_code("CUSTOM", custom=INT8_LOOKUP), Prelu: tree.add_code("PRELU")}
    for operator in tree.subgraph.operators:
        if not isinstance(operator.builtinOptions, schema.LeakyReluOptionsT):
            continue
        node = wanted.pop(np.float32(operator.builtinOptions.alpha), None)
        if node is None:
            continue
        if isinstance(node, Prelu):
            values = _add_slopes(tree, node)
        else:
            values = _add_table(tree, operator, node)
        operator.inputs = np.array([operator.inputs[0], values], np.int32)
        operator.opcodeIndex = codes[type(node)]
        operator.builtinOptions = None
        operator.builtinOptionsType = schema.BuiltinOptions.NONE
    if wanted:
        names = ", ".join(repr(node.name) for node in wanted.values())
        raise ExportError(
            f"the converted model has no operator for the functions of layers: {names}"
        )
    flatbuffer.prune(tree)
    return tree


def _add_table(tree: Tree, operator: SchemaObject, node: Table) -> int:
    """Adds the values of a function, for the scales of its operator; returns the tensor's index."""
    x, y = (tree.subgraph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    scales = tables.Scales(*_quantization(x), *_quantization(y))
    return _add_int8(tree, f"{node.name}/table", tables.tabulate(_in_numpy(node.function), scales))


def _add_slopes(tree: Tree, node: Prelu) -> int:
    """Adds the slopes of a PReLU, which lie around zero as weights do; returns the index."""
    from ai_edge_litert import schema_py_generated as schema

    slopes = np.asarray(node.alpha, np.float64)
    scale = np.float32(np.abs(slopes).max() / 127) or np.float32(1)
    index = _add_int8(tree, f"{node.name}/alpha", np.rint(slopes / scale).astype(np.int8))
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.zeros(1, np.int64)
    tree.subgraph.tensors[index].quantization = quantization
    return index


def _add_int8(tree: Tree, name: str, values: Int8Array) -> int:
    from ai_edge_litert import schema_py_generated as schema

    buffer = tree.add_buffer(values.tobytes())
    return tree.add_tensor(name, values.shape, schema.TensorType.INT8, buffer)


def _slope(index: int) -> float:
    """The slope of the placeholder at a position: unique, and unlike a slope of a user's layer."""
    return 0.75 + (index + 1) * 2.0**-20


def _quantization(tensor: SchemaObject) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _in_numpy(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A function of the user's may take no fewer axes than the model's tensors have.
    return lambda values: np.asarray(function(tf.convert_to_tensor(values[np.newaxis])))[0]
