"""Functions of each value alone that go into the file as a table of 256 values: INT8_LOOKUP.

TensorFlow's converter would write most such functions as several operators that each round, or as
an operator that TFLite Micro lacks. So the twin has a LEAKY_RELU as a placeholder for each
function. The converter quantises the placeholder with the given ranges, and `insert` turns the
placeholder into INT8_LOOKUP. Each placeholder has its own slope, because the converter merges equal
operators, and because `insert` finds the placeholder by the slope.
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
from nested_keras.int8 import tables
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.operators.lookup import INT8_LOOKUP
from nested_keras.typing import SchemaObject


def with_placeholders(graph: Graph) -> Graph:
    """Returns the graph with a LEAKY_RELU in the place of each table."""
    nodes = {
        name: Unary(name, node.inputs, node.shape, "leaky_relu", alpha=_slope(index))
        if isinstance(node, Table)
        else node
        for index, (name, node) in enumerate(graph.nodes.items())
    }
    return dataclasses.replace(graph, nodes=nodes)


def insert(converted: Tree, graph: Graph) -> Tree:
    """Puts INT8_LOOKUP with its table in the place of each placeholder.

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
        if isinstance(node, Table)
    }
    if not wanted:
        return converted
    tree = converted.copy()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = INT8_LOOKUP.encode()
    code.version = 1
    tree.root.operatorCodes.append(code)
    tensors = tree.subgraph.tensors
    for operator in tree.subgraph.operators:
        if not isinstance(operator.builtinOptions, schema.LeakyReluOptionsT):
            continue
        node = wanted.pop(np.float32(operator.builtinOptions.alpha), None)
        if node is None:
            continue
        scales = tables.Scales(
            *_quantization(tensors[operator.inputs[0]]),
            *_quantization(tensors[operator.outputs[0]]),
        )
        values = tables.tabulate(_in_numpy(node.function), scales)
        table = tree.add_tensor(
            f"{node.name}/table",
            values.shape,
            schema.TensorType.INT8,
            tree.add_buffer(values.tobytes()),
        )
        operator.inputs = np.array([operator.inputs[0], table], np.int32)
        operator.opcodeIndex = len(tree.root.operatorCodes) - 1
        operator.builtinOptions = None
        operator.builtinOptionsType = schema.BuiltinOptions.NONE
    if wanted:
        names = ", ".join(repr(node.name) for node in wanted.values())
        raise ExportError(
            f"the converted model has no operator for the functions of layers: {names}"
        )
    flatbuffer.prune(tree)
    return tree


def _slope(index: int) -> float:
    """The slope of the placeholder at a position: unique, and unlike a slope of a user's layer."""
    return 0.75 + (index + 1) * 2.0**-20


def _quantization(tensor: SchemaObject) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _in_numpy(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A function of the user's may take no fewer axes than the model's tensors have.
    return lambda values: np.asarray(function(tf.convert_to_tensor(values[np.newaxis])))[0]
