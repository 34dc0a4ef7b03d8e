"""Read the tree of a .tflite file into plain dataclasses, with a check of every value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.tflite.flatbuffer import Tree, text
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.program import Tensor
from nested_keras.tflite.unpacking import DAMAGE, damaged
from nested_keras.typing import SchemaObject

_DTYPES = ("float32", "int32", "uint8", "int64", "int8")
_MAX_ELEMENTS = 2**31 - 1

LEVEL_INPUT = "level"
"""Name of the graph input that carries the nested level."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantisation of one tensor; empty arrays for a tensor without quantisation.

    Attributes:
        scales: float32, one or one per channel.
        zero_points: int64, one per scale.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of the graph.

    Attributes:
        kind: Builtin name such as "CONV_2D", or the custom code of a custom operator.
        custom: Whether `kind` is a custom code.
        inputs: Tensor indices; -1 for an operand left out.
        outputs: Tensor indices.
        options: The schema's options object, None where the file has none.
        custom_options: Bytes of a custom operator's options.
    """

    kind: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    custom_options: bytes


@dataclass(frozen=True, eq=False)
class Graph:
    """The one subgraph of a .tflite file.

    Attributes:
        tensors: All tensors, constants with their data.
        quantization: Quantisation of each tensor.
        operators: In execution order.
        inputs: Tensor indices of the graph inputs.
        outputs: Tensor indices of the graph outputs.
    """

    tensors: tuple[Tensor, ...]
    quantization: tuple[Quantization, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def level_input(self) -> int | None:
        """Tensor index of the int32[1] graph input `level`; None for a graph without levels."""
        for index in self.inputs:
            tensor = self.tensors[index]
            if (tensor.name, tensor.dtype, tensor.shape) == (LEVEL_INPUT, "int32", (1,)):
                return index
        return None


def read_graph(tree: Tree) -> Graph:
    """Reads the graph of a .tflite file.

    Args:
        tree: The file, as `flatbuffer.load` parses it.

    Returns:
        The subgraph of the file. Every index is in range, and every constant has the size of its
        shape.

    Raises:
        ModelError: If the file is foreign, damaged, has dynamic shapes or has an unknown type.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        return _graph(tree.root, schema)
    except ModelError:
        raise
    except DAMAGE as error:
        raise damaged(tree.file_bytes, error) from error


def _graph(root: SchemaObject, schema: SchemaObject) -> Graph:
    if len(root.subgraphs) != 1:
        raise ModelError(f"expected a .tflite file with one subgraph: got {len(root.subgraphs)}")
    subgraph = root.subgraphs[0]
    # Each buffer is copied once, because many tensors may share a buffer.
    buffers = [bytes(np.asarray(_items(buffer.data), np.uint8)) for buffer in root.buffers]
    types = {value: name for name, value in vars(schema.TensorType).items() if name[0] != "_"}
    count = len(subgraph.tensors)
    pairs = []
    for index, entry in enumerate(subgraph.tensors):
        if not 0 <= entry.buffer < len(buffers):
            raise ModelError(f"tensor {index} has buffer {entry.buffer} of {len(buffers)}")
        dtype = types.get(entry.type, f"type {entry.type}").lower()
        pairs.append(_tensor(entry, dtype, buffers[entry.buffer], index))
    codes = [_operator_kind(code, schema) for code in root.operatorCodes]
    operators = tuple(_operator(entry, codes, count) for entry in _items(subgraph.operators))
    return Graph(
        tensors=tuple(tensor for tensor, _ in pairs),
        quantization=tuple(quantization for _, quantization in pairs),
        operators=operators,
        inputs=_indices(subgraph.inputs, count, low=0),
        outputs=_indices(subgraph.outputs, count, low=0),
    )


def _items(vector: SchemaObject) -> Any:
    """A flatbuffer vector that may be absent."""
    return () if vector is None else vector


def _tensor(
    entry: SchemaObject, dtype: str, data: bytes, index: int
) -> tuple[Tensor, Quantization]:
    name = text(entry.name)
    label = f"tensor {index} {name!r}"
    shape = tuple(int(size) for size in _items(entry.shape))
    # A free batch axis is common and harmless, so the batch size in the file counts.
    signature = tuple(int(size) for size in _items(entry.shapeSignature))
    if min(shape + signature[1:], default=1) < 0:
        raise ModelError(
            f"{label} has a dynamic shape {list(signature or shape)}: convert the model with a "
            f"fixed input shape"
        )
    if dtype not in _DTYPES:
        raise ModelError(f"{label} must have one of the types {', '.join(_DTYPES)}: got {dtype}")
    if entry.isVariable or entry.sparsity is not None:
        raise ModelError(f"{label} is a variable or a TFLite-sparse tensor: neither is supported")
    quantization = _quantization(entry.quantization, label)
    per_tensor = quantization.scales.size == 1
    tensor = Tensor(
        name=name,
        shape=shape,
        dtype=dtype,
        scale=float(quantization.scales[0]) if per_tensor else 0.0,
        zero_point=int(quantization.zero_points[0]) if per_tensor else 0,
        data=None,
    )
    if tensor.size > _MAX_ELEMENTS:
        raise ModelError(f"{label} has too many elements: {list(shape)}")
    if not data:
        return tensor, quantization
    if len(data) != tensor.nbytes:
        raise ModelError(
            f"{label} of shape {list(shape)} needs {tensor.nbytes} bytes: got {len(data)}"
        )
    little = np.dtype(dtype).newbyteorder("<")
    values = np.frombuffer(data, little).astype(dtype, copy=False).reshape(shape)
    return (
        Tensor(tensor.name, shape, dtype, tensor.scale, tensor.zero_point, values),
        quantization,
    )


def _quantization(entry: SchemaObject, label: str) -> Quantization:
    scales = np.zeros(0, np.float32)
    zero_points = np.zeros(0, np.int64)
    if entry is not None and entry.scale is not None:
        scales = np.asarray(entry.scale, np.float32)
        zero_points = np.asarray(_items(entry.zeroPoint), np.int64)
    if zero_points.size == 0:
        zero_points = np.zeros(scales.size, np.int64)
    if zero_points.size == 1:
        zero_points = np.repeat(zero_points, scales.size)
    if scales.size != zero_points.size:
        raise ModelError(f"{label} has {scales.size} scales and {zero_points.size} zero points")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ModelError(f"{label} must have positive finite scales: got {scales.tolist()}")
    return Quantization(scales, zero_points)


def _operator_kind(code: SchemaObject, schema: SchemaObject) -> tuple[str, bool]:
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        return text(code.customCode), True
    names = {v: name for name, v in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    return names.get(builtin, f"builtin operator {builtin}"), False


def _operator(entry: SchemaObject, codes: list[tuple[str, bool]], count: int) -> Operator:
    kind, custom = codes[entry.opcodeIndex]
    return Operator(
        kind=kind,
        custom=custom,
        inputs=_indices(entry.inputs, count, low=-1),
        outputs=_indices(entry.outputs, count, low=0),
        options=entry.builtinOptions,
        custom_options=bytes(_items(entry.customOptions)),
    )


def _indices(vector: SchemaObject, count: int, *, low: int) -> tuple[int, ...]:
    indices = tuple(int(index) for index in _items(vector))
    for index in indices:
        if not low <= index < count:
            raise ModelError(f"tensor index {index} is out of range: there are {count} tensors")
    return indices
