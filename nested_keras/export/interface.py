"""The types of a model's inputs and outputs: int8, or uint8 or float32 behind QUANTIZE.

The operators at the edges equal the ones that TensorFlow's converter writes for
`inference_input_type` and `inference_output_type`: QUANTIZE behind inputs and in front of uint8
outputs, DEQUANTIZE in front of float32 outputs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from nested_keras.export.export_errors import ExportError
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import LEVEL_INPUT
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.typing import SchemaObject

TYPES = ("int8", "uint8", "float32")
"""Names of the types that inputs and outputs may have."""

TypeLike: TypeAlias = Any
"""A name of `TYPES`, or the type of that name of NumPy's or TensorFlow's."""


def type_name(given: TypeLike, *, argument: str) -> str:
    """Returns the name of a type.

    Args:
        given: The user's argument.
        argument: The name of the argument, for the error.

    Raises:
        ExportError: The type is not one of `TYPES`.
    """
    name = getattr(given, "name", None) or getattr(given, "__name__", None) or given
    if name not in TYPES:
        raise ExportError(f"{argument} must be one of {', '.join(TYPES)}: got {given!r}")
    return str(name)


def with_types(tree: Tree, *, inputs: str, outputs: str) -> Tree:
    """Returns an int8 model with other types at its edges.

    Args:
        tree: The model, int8 throughout.
        inputs: The type of all inputs but the level, one of `TYPES`.
        outputs: The type of all outputs.
    """
    if (inputs, outputs) == ("int8", "int8"):
        return tree
    edited = _Edges(tree.copy())
    if inputs != "int8":
        edited.put_in_front(inputs)
    if outputs != "int8":
        edited.put_behind(outputs)
    return edited.tree


class _Edges:
    """Adds operators at the edges of a tree of its own."""

    def __init__(self, tree: Tree) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.tree = tree
        self.schema: SchemaObject = schema
        self.signature = tree.root.signatureDefs[0]

    def put_in_front(self, dtype: str) -> None:
        subgraph = self.tree.subgraph
        added = []
        for position, index in enumerate(subgraph.inputs):
            if flatbuffer.text(subgraph.tensors[index].name) == LEVEL_INPUT:
                continue
            outer = self.outer_tensor(index, dtype, self.signature.inputs)
            subgraph.inputs[position] = outer
            added.append(self.operator("QUANTIZE", outer, index))
        subgraph.operators[:0] = added

    def put_behind(self, dtype: str) -> None:
        kind = "DEQUANTIZE" if dtype == "float32" else "QUANTIZE"
        subgraph = self.tree.subgraph
        for position, index in enumerate(subgraph.outputs):
            outer = self.outer_tensor(index, dtype, self.signature.outputs)
            subgraph.outputs[position] = outer
            subgraph.operators.append(self.operator(kind, index, outer))

    def outer_tensor(self, index: int, dtype: str, entries: SchemaObject) -> int:
        """Adds the tensor that the caller sees, under the name of the int8 tensor."""
        schema, inner = self.schema, self.tree.subgraph.tensors[index]
        name = flatbuffer.text(inner.name)
        inner.name = f"{name}/int8".encode()
        kind = getattr(schema.TensorType, dtype.upper())
        outer = self.tree.add_tensor(name, tuple(inner.shape), kind)
        if dtype == "uint8":
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.array(inner.quantization.scale)
            quantization.zeroPoint = np.array(inner.quantization.zeroPoint) + 128
            self.tree.subgraph.tensors[outer].quantization = quantization
        for entry in entries:
            if entry.tensorIndex == index:
                entry.tensorIndex = outer
        return outer

    def operator(self, kind: str, source: int, target: int) -> SchemaObject:
        builtin = getattr(self.schema.BuiltinOperator, kind)
        codes = self.tree.root.operatorCodes
        known = [index for index, each in enumerate(codes) if each.builtinCode == builtin]
        operator = self.schema.OperatorT()
        # TFLite's converter writes version 2 here; int8 needs version 2 or later.
        operator.opcodeIndex = known[0] if known else self.tree.add_code(kind, version=2)
        operator.inputs = np.array([source], np.int32)
        operator.outputs = np.array([target], np.int32)
        return operator
