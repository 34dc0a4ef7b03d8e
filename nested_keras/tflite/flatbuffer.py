"""Reads and writes .tflite files as the schema's object tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from nested_keras.tflite.file_reader import read_buffers
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.unpacking import DAMAGE, damaged, unpack

# TFLite's own alignment of tensor data, and what the packed stream needs.
_ALIGNMENT = 16
_IDENTIFIER = b"TFL3"


def load(model: bytes) -> Any:
    """Reads a .tflite file that `nested_keras.runtime.lower` or `read_interface` accepts.

    What those two do not look at, signatures and metadata, is checked here.

    Returns:
      The schema's `ModelT`, all buffers inside it.

    Raises:
      nested_keras.runtime.ModelError: The file is foreign or damaged.
    """
    tree = unpack(model)
    try:
        for buffer, data in zip(tree.buffers, read_buffers(tree, model), strict=True):
            # Some writers keep buffers behind the flatbuffer: writing the tree would lose them.
            if buffer.offset > 1:
                buffer.data = np.frombuffer(data, np.uint8)
                buffer.offset = buffer.size = 0
        _check_names(tree)
    except DAMAGE as error:
        raise error if isinstance(error, ModelError) else damaged(model, error) from error
    return tree


def _check_names(tree: Any) -> None:
    """Checks the indices of signatures and metadata."""
    for signature in tree.signatureDefs or ():
        name = text(signature.signatureKey)
        _require_index(f"signature {name!r}: subgraph", signature.subgraphIndex, tree.subgraphs)
        tensors = tree.subgraphs[signature.subgraphIndex].tensors
        for entry in _tensor_maps(signature):
            _require_index(f"signature {name!r}: tensor", entry.tensorIndex, tensors)
    for entry in tree.metadata or ():
        _require_index(f"metadata {text(entry.name)!r}: buffer", entry.buffer, tree.buffers)


def _require_index(what: str, index: int, items: Any) -> None:
    if not 0 <= index < len(items):
        raise ModelError(f"{what} must be in 0..{len(items) - 1}: got {index}")


def _tensor_maps(signature: Any) -> list[Any]:
    """The inputs and outputs that a signature names."""
    return [*(signature.inputs or ()), *(signature.outputs or ())]


def save(tree: Any) -> bytes:
    """Writes a `ModelT` with every buffer aligned to 16 bytes, unused parts left out."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):
        """The schema says force_align: 16 for the data; the Python writer ignores it."""

        def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's name
            offset = None
            if self.data is not None and len(self.data):
                raw = np.asarray(self.data, np.uint8).tobytes()
                builder.StartVector(1, len(raw), _ALIGNMENT)
                builder.head -= len(raw)
                builder.Bytes[builder.head : builder.head + len(raw)] = raw
                offset = builder.EndVector()
            schema.BufferStart(builder)
            if offset is not None:
                schema.BufferAddData(builder, offset)
            return schema.BufferEnd(builder)

    prune(tree)
    plain = tree.buffers
    tree.buffers = []
    for buffer in plain:
        aligned = AlignedBuffer()
        aligned.data = buffer.data
        tree.buffers.append(aligned)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), _IDENTIFIER)
    tree.buffers = plain
    return bytes(builder.Output())


def prune(tree: Any) -> None:
    """Removes tensors, buffers and operator codes that nothing uses."""
    for subgraph in tree.subgraphs:
        _prune_tensors(tree, subgraph)
    tensors = [tensor for subgraph in tree.subgraphs for tensor in subgraph.tensors]
    holders = [*tensors, *(tree.metadata or [])]
    # Buffer 0 is the empty one by convention.
    kept = sorted({0, *(holder.buffer for holder in holders)})
    renumbered = {old: new for new, old in enumerate(kept)}
    tree.buffers = [tree.buffers[index] for index in kept]
    for holder in holders:
        holder.buffer = renumbered[holder.buffer]
    operators = [entry for subgraph in tree.subgraphs for entry in subgraph.operators or ()]
    kept = sorted({operator.opcodeIndex for operator in operators})
    renumbered = {old: new for new, old in enumerate(kept)}
    tree.operatorCodes = [tree.operatorCodes[index] for index in kept]
    for operator in operators:
        operator.opcodeIndex = renumbered[operator.opcodeIndex]


def _prune_tensors(tree: Any, subgraph: Any) -> None:
    named = [
        entry
        for signature in tree.signatureDefs or ()
        if tree.subgraphs[signature.subgraphIndex] is subgraph
        for entry in _tensor_maps(signature)
    ]
    users = [subgraph, *(subgraph.operators or ())]
    used = {entry.tensorIndex for entry in named}
    for user in users:
        used.update(_indices(user.inputs), _indices(user.outputs))
    used.discard(-1)
    kept = sorted(used)
    renumbered = {-1: -1} | {old: new for new, old in enumerate(kept)}
    subgraph.tensors = [subgraph.tensors[index] for index in kept]
    for user in users:
        for field in ("inputs", "outputs"):
            indices = [renumbered[index] for index in _indices(getattr(user, field))]
            setattr(user, field, np.array(indices, np.int32))
    for entry in named:
        entry.tensorIndex = renumbered[entry.tensorIndex]


def _indices(vector: Any) -> list[int]:
    """Tensor indices of a vector that may be absent."""
    return [] if vector is None else [int(index) for index in vector]


def text(name: Any) -> str:
    """A name in the file as text."""
    return bytes(name or b"").decode(errors="replace")


def add_buffer(tree: Any, data: bytes) -> int:
    """Appends a buffer; returns its index."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    tree.buffers.append(buffer)
    return len(tree.buffers) - 1
