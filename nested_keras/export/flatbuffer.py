"""Reads and writes .tflite files as the schema's object tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# TFLite's own alignment of tensor data, and what the packed stream needs.
_ALIGNMENT = 16
_IDENTIFIER = b"TFL3"


def load(model: bytes) -> Any:
    """Reads a .tflite file that `nested_keras.runtime.lower` accepts (nothing is checked here).

    Returns:
      The schema's `ModelT`, all buffers inside it.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for buffer in tree.buffers:
        # Some writers keep buffers behind the flatbuffer: writing the tree would lose them.
        if buffer.offset > 1:
            data = model[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, np.uint8)
            buffer.offset = buffer.size = 0
    return tree


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
    operators = [operator for subgraph in tree.subgraphs for operator in subgraph.operators]
    kept = sorted({operator.opcodeIndex for operator in operators})
    renumbered = {old: new for new, old in enumerate(kept)}
    tree.operatorCodes = [tree.operatorCodes[index] for index in kept]
    for operator in operators:
        operator.opcodeIndex = renumbered[operator.opcodeIndex]


def _prune_tensors(tree: Any, subgraph: Any) -> None:
    used = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
    for operator in subgraph.operators:
        used.update(map(int, operator.inputs))
        used.update(map(int, operator.outputs))
    used.discard(-1)
    kept = sorted(used)
    renumbered = {-1: -1} | {old: new for new, old in enumerate(kept)}

    def renumber(indices: Any) -> npt.NDArray[np.int32]:
        return np.array([renumbered[int(index)] for index in indices], np.int32)

    subgraph.tensors = [subgraph.tensors[index] for index in kept]
    subgraph.inputs = renumber(subgraph.inputs)
    subgraph.outputs = renumber(subgraph.outputs)
    for operator in subgraph.operators:
        operator.inputs = renumber(operator.inputs)
        operator.outputs = renumber(operator.outputs)
    for signature in tree.signatureDefs or []:
        if tree.subgraphs[signature.subgraphIndex] is subgraph:
            for entry in [*signature.inputs, *signature.outputs]:
                entry.tensorIndex = renumbered[int(entry.tensorIndex)]


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
