"""Edits the converted file: readable names, the nested operators, one level's dense model.

Every function returns a new tree, and does not change its argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.export.export_errors import ExportError
from nested_keras.export.match import ConvertedLayer
from nested_keras.export.nodes import Graph, Linear
from nested_keras.export.pack import PackedLayer
from nested_keras.export.tensor_names import input_name, node_of_tensor, output_name
from nested_keras.format import LayerKind
from nested_keras.tflite import flatbuffer, kernel_weights
from nested_keras.tflite.file_reader import LEVEL_INPUT
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.operators.nested import NESTED_SPARSE_CONV
from nested_keras.typing import FloatArray, SchemaObject

_SIGNATURE = "serving_default"


def filter_scales(dense: Tree) -> dict[int, npt.NDArray[np.float32]]:
    """Scales of the constant filters, by the position of the operator."""
    subgraph = dense.subgraph
    scales = {}
    for index, operator in enumerate(subgraph.operators):
        if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
            quantization = subgraph.tensors[operator.inputs[1]].quantization
            if quantization is not None and quantization.scale is not None:
                scales[index] = np.asarray(quantization.scale, np.float32)
    return scales


def name_after_layers(converted: Tree, graph: Graph) -> Tree:
    """Names inputs, activations and outputs after the layers and adds a signature.

    Args:
        converted: The converter's file.
        graph: The graph from which the converter made the file.

    Returns:
        The same model with outputs in the model's order.

    Raises:
        ExportError: The converter names tensors in another way.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = converted.copy()
    subgraph = tree.subgraph
    by_name = {flatbuffer.text(t.name): i for i, t in enumerate(subgraph.tensors)}
    input_names = [input_name(position) for position in range(len(graph.inputs))]
    output_names = [output_name(position) for position in range(len(graph.outputs))]
    missing = [name for name in input_names + output_names if name not in by_name]
    if missing:
        raise ExportError(f"the converted model must have the tensors {missing}: got {[*by_name]}")
    inputs = [by_name[name] for name in input_names]
    outputs = [by_name[name] for name in output_names]
    for index, name in zip(inputs, graph.inputs, strict=True):
        subgraph.tensors[index].name = name.encode()
    for operator in subgraph.operators:
        for index in operator.outputs:
            tensor = subgraph.tensors[index]
            node = node_of_tensor(flatbuffer.text(tensor.name), graph)
            if node is not None:
                tensor.name = node.name.encode()
    subgraph.inputs, subgraph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey = _SIGNATURE.encode()
    signature.subgraphIndex = 0
    signature.inputs = [_entry(n, i) for n, i in zip(graph.inputs, inputs, strict=True)]
    signature.outputs = [_entry(n, i) for n, i in zip(graph.outputs, outputs, strict=True)]
    tree.root.signatureDefs = [signature]
    flatbuffer.prune(tree)
    return tree


def _entry(name: str, index: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = index
    return entry


def nest_operators(dense: Tree, layers: Sequence[PackedLayer]) -> Tree:
    """Turns operators into NESTED_SPARSE_CONV(x, level, stream) and adds the input `level`."""
    from ai_edge_litert import schema_py_generated as schema

    tree = dense.copy()
    subgraph = tree.subgraph
    level = tree.add_tensor(LEVEL_INPUT, (1,), schema.TensorType.INT32)
    subgraph.inputs = np.append(subgraph.inputs, np.int32(level))
    tree.root.signatureDefs[0].inputs.append(_entry(LEVEL_INPUT, level))
    code = tree.add_code("CUSTOM", custom=NESTED_SPARSE_CONV)
    for layer in layers:
        operator = subgraph.operators[layer.converted.index]
        stream = tree.add_tensor(
            f"{layer.converted.node.name}/stream",
            (len(layer.stream.data),),
            schema.TensorType.UINT8,
            tree.add_buffer(layer.stream.data),
        )
        operator.inputs = np.array([operator.inputs[0], level, stream], np.int32)
        operator.opcodeIndex = code
        operator.builtinOptions = None
        operator.builtinOptionsType = schema.BuiltinOptions.NONE
    kernel_weights.write(tree, _fewer_weights(layers))
    flatbuffer.prune(tree)
    return tree


def _fewer_weights(layers: Sequence[PackedLayer]) -> dict[str, int]:
    """Returns the number of weights of the layers whose filter in the file has gaps."""
    counts = {}
    for layer in layers:
        node = layer.converted.node
        weights = node.weights or node.filter.size
        if weights < np.prod(layer.stream.params.filter_shape):
            counts[node.name] = weights
    return counts


def dense_level(dense: Tree, layers: Sequence[PackedLayer], level: int) -> Tree:
    """The dense int8 model that one level must equal, from builtin operators alone.

    Each layer has the level's mask in its filter and the level's scales. Where the level's
    multiplier is negative, filter and bias change sign in its place: -acc * M = acc * -M exactly.
    """
    tree = dense.copy()
    for layer in layers:
        converted, tables = layer.converted, layer.tables
        sign = tables.sign[level]
        kept = np.where(converted.node.level_map <= level, converted.filter, np.int8(0))
        filter_ = kept * sign.reshape(-1, 1, 1, 1)
        _set_weights(
            tree, converted, filter_, tables.filter_scale[level], tables.bias[level] * sign
        )
    flatbuffer.prune(tree)
    return tree


def without_lifts(
    dense: Tree, layers: Iterable[ConvertedLayer], lifts: Mapping[str, FloatArray]
) -> Tree:
    """The converted file with the filters in their own size.

    Args:
        dense: The file that was converted with filters that were enlarged (`quantize.lifts`).
        layers: The operators in the file.
        lifts: By name of node, how much larger the filter was, powers of two, float64 [O].

    Returns:
        The same int8 filters with smaller scales, and biases in steps of these scales.
    """
    tree = dense.copy()
    for layer in layers:
        lift = lifts[layer.node.name]
        if (lift == 1).all():
            continue
        scale = (layer.filter_scale / lift).astype(np.float32)
        own = np.rint(layer.node.bias[-1] / (layer.input_scale * scale.astype(np.float64)))
        bias = np.where(lift == 1, layer.op.bias, own).astype(np.int32)
        _set_weights(tree, layer, layer.filter, scale, bias)
    flatbuffer.prune(tree)
    return tree


def _set_weights(
    tree: Tree,
    layer: ConvertedLayer,
    filter_ohwi: npt.NDArray[np.int8],
    scale: npt.NDArray[np.float32],
    bias: npt.NDArray[np.int32],
) -> None:
    """Gives an operator another filter with its scales, and the bias in the steps of these."""
    from ai_edge_litert import schema_py_generated as schema

    node, subgraph = layer.node, tree.subgraph
    operator = subgraph.operators[layer.index]
    old = subgraph.tensors[operator.inputs[1]]
    # New tensors, because layers with shared weights share the converter's tensors.
    weights = tree.add_tensor(
        f"{node.name}/filter",
        tuple(old.shape),
        schema.TensorType.INT8,
        tree.add_buffer(_file_order(node, filter_ohwi)),
    )
    _set_scales(subgraph.tensors[weights], scale, 3 if node.kind is LayerKind.DEPTHWISE else 0)
    biases = tree.add_tensor(
        f"{node.name}/bias",
        scale.shape,
        schema.TensorType.INT32,
        tree.add_buffer(bias.astype("<i4").tobytes()),
    )
    _set_scales(subgraph.tensors[biases], scale * np.float32(layer.input_scale), 0)
    operator.inputs = np.array([operator.inputs[0], weights, biases], np.int32)


def _file_order(node: Linear, filter_ohwi: npt.NDArray[np.int8]) -> bytes:
    """The bytes of an OHWI filter in TFLite's order, which is 1HWO for depthwise."""
    if node.kind is LayerKind.DEPTHWISE:
        filter_ohwi = np.transpose(filter_ohwi, (3, 1, 2, 0))
    return filter_ohwi.astype(np.int8).tobytes()


def _set_scales(tensor: SchemaObject, scales: npt.NDArray[np.float32], dimension: int) -> None:
    from ai_edge_litert import schema_py_generated as schema

    quantization = schema.QuantizationParametersT()
    quantization.scale = np.maximum(scales, np.finfo(np.float32).tiny)
    quantization.zeroPoint = np.zeros(scales.shape, np.int64)
    quantization.quantizedDimension = dimension
    tensor.quantization = quantization
