"""Builds small .tflite files straight from the schema: no converter, chosen scales and shapes."""

from __future__ import annotations

import re
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from nested_keras.runtime import ModelError, lower

_TYPES = {
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "float32": schema.TensorType.FLOAT32,
}


class ModelBuilder:
    """Collects tensors and operators; `build` writes the file."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors = []
        self._graph.operators = []
        self._model.subgraphs = [self._graph]

    def tensor(
        self,
        shape: tuple[int, ...],
        *,
        dtype: str = "int8",
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        """Adds an activation; `scale` may be a sequence (per channel along `axis`)."""
        tensor = schema.TensorT()
        tensor.name = (name or f"t{len(self._graph.tensors)}").encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.hasRank = True
        tensor.type = _TYPES[dtype]
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.atleast_1d(np.array(scale, np.float32))
            points = np.broadcast_to(np.array(zero_point, np.int64), quantization.scale.shape)
            quantization.zeroPoint = np.array(points)
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, value: np.ndarray, **kwargs: Any) -> int:
        """Adds a constant tensor; keywords as for `tensor`."""
        index = self.tensor(value.shape, dtype=value.dtype.name, **kwargs)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        self._graph.tensors[index].buffer = len(self._model.buffers) - 1
        return index

    def op(
        self, kind: str, inputs: list[int], outputs: list[int], options: Any = None, **fields: Any
    ) -> Any:
        """Adds an operator.

        `kind` is a builtin name, or a custom code after "custom:"; `options` the name of an options
        class with `fields` for its attributes.
        """
        code = schema.OperatorCodeT()
        code.version = 1
        if kind.startswith("custom:"):
            code.customCode = kind.removeprefix("custom:").encode()
            code.builtinCode = schema.BuiltinOperator.CUSTOM
        else:
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self._model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(self._model.operatorCodes) - 1
        op.inputs = np.array(inputs, np.int32)
        op.outputs = np.array(outputs, np.int32)
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            op.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                assert hasattr(op.builtinOptions, name), name
                setattr(op.builtinOptions, name, value)
        self._graph.operators.append(op)
        return op

    def signature(self, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Adds a signature that names tensors, and metadata with a buffer of its own."""

        def maps(tensors: dict[str, int]) -> list[Any]:
            entries = []
            for name, index in tensors.items():
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = name.encode(), index
                entries.append(entry)
            return entries

        signature = schema.SignatureDefT()
        signature.signatureKey = b"serving_default"
        signature.inputs, signature.outputs = maps(inputs), maps(outputs)
        self._model.signatureDefs = [signature]
        note = schema.MetadataT()
        note.name, note.buffer = b"min_runtime_version", len(self._model.buffers)
        self._model.metadata = [note]
        self._model.buffers.append(schema.BufferT())
        self._model.buffers[-1].data = np.frombuffer(b"1.5.0", np.uint8)

    @property
    def tree(self) -> Any:
        """The schema's model object, for changes that a test makes by hand."""
        return self._model

    def build(self, inputs: list[int], outputs: list[int], *, external: bool = False) -> bytes:
        """Writes the file; `external` puts all buffers behind the flatbuffer."""
        self._graph.inputs = np.array(inputs, np.int32)
        self._graph.outputs = np.array(outputs, np.int32)
        if not external:
            return _pack(self._model)
        contents = [b"" if b.data is None else bytes(b.data) for b in self._model.buffers]
        for buffer, content in zip(self._model.buffers, contents, strict=True):
            buffer.data = None
            if content:
                # Any nonzero offset: the flatbuffer has its final size only with the fields there.
                buffer.offset, buffer.size = 2**20, len(content)
        offset = -(-len(_pack(self._model)) // 16) * 16
        tail = b""
        for buffer, content in zip(self._model.buffers, contents, strict=True):
            if content:
                buffer.offset = offset + len(tail)
                tail += content.ljust(-(-len(content) // 16) * 16, b"\0")
        flat = _pack(self._model)
        return flat.ljust(offset, b"\0") + tail


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def refuse(model: bytes, text: str, error: type[ModelError] = ModelError) -> None:
    """Checks that `lower` refuses a model with an error that holds the text."""
    with pytest.raises(error, match=re.escape(text)):
        lower(model)
