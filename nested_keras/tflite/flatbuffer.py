"""Read and write .tflite files as the schema's tree of objects."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.unpacking import DAMAGE, damaged, unpack
from nested_keras.typing import SchemaObject

# Control characters, separators of lines and paragraphs, marks of the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

# TFLite's own alignment of tensor data, and the alignment that the packed stream needs.
_ALIGNMENT = 16
_IDENTIFIER = b"TFL3"


@dataclass(frozen=True, eq=False)
class Tree:
    """A .tflite file, parsed once: `load` reads a tree, `save` writes a tree.

    Attributes:
        root: The schema's `ModelT`, with all buffers inside.
        file_bytes: Length of the file in bytes, for errors; 0 for a tree without a file.
    """

    root: Any
    file_bytes: int = 0

    @property
    def subgraph(self) -> Any:
        """The first subgraph, the schema's `SubGraphT`."""
        return self.root.subgraphs[0]

    def copy(self) -> Tree:
        """Returns a tree to edit on its own; both trees share the contents of buffers."""
        root = copy.copy(self.root)
        root.buffers = []
        root = _copied(root)
        root.buffers = [copy.copy(buffer) for buffer in self.root.buffers]
        return Tree(root, self.file_bytes)

    def add_buffer(self, data: bytes) -> int:
        """Appends a buffer; returns its index."""
        from ai_edge_litert import schema_py_generated as schema

        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self.root.buffers.append(buffer)
        return len(self.root.buffers) - 1

    def add_code(self, kind: str, *, custom: str | None = None, version: int = 1) -> int:
        """Appends an operator code; returns its index.

        Args:
            kind: A name of the schema's `BuiltinOperator`, with a value below 127.
            custom: The name of a custom operator; None for a builtin operator.
            version: The version of the operator.
        """
        from ai_edge_litert import schema_py_generated as schema

        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.customCode = None if custom is None else custom.encode()
        code.version = version
        self.root.operatorCodes.append(code)
        return len(self.root.operatorCodes) - 1

    def add_tensor(self, name: str, shape: tuple[int, ...], kind: int, buffer: int = 0) -> int:
        """Appends a tensor of the first subgraph; returns its index.

        Args:
            name: The name of the tensor.
            shape: The shape of the tensor.
            kind: A value of the schema's `TensorType`.
            buffer: Index of the buffer with the tensor's value; 0, the empty buffer, for an
                activation.
        """
        from ai_edge_litert import schema_py_generated as schema

        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = kind
        tensor.buffer = buffer
        tensor.hasRank = True
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1


def _copied(value: SchemaObject) -> Any:
    """Copies an object of the schema with all it holds; `deepcopy` takes five times as long."""
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.copy()
    if not hasattr(value, "InitFromObj"):
        return value
    twin = copy.copy(value)
    fields = vars(twin)
    fields.update({name: _copied(field) for name, field in fields.items() if field is not None})
    return twin


def load(model: bytes) -> Tree:
    """Parses a .tflite file.

    Indices in the tree may be out of range: `file_reader.read_graph` checks the indices of the
    graph, and `save` checks the indices of signatures and metadata.

    Args:
        model: The whole file.

    Returns:
        The tree, with all buffers and custom options inside.

    Raises:
        nested_keras.runtime.ModelError: The file is foreign or damaged.
    """
    root = unpack(model)
    try:
        _take_in(root, model)
    except DAMAGE as error:
        raise error if isinstance(error, ModelError) else damaged(len(model), error) from error
    return Tree(root, len(model))


def _take_in(root: SchemaObject, model: bytes) -> None:
    """Moves buffers that lie behind the flatbuffer inside, because `save` would lose them."""
    # Offsets 0 and 1 mean inside.
    outside = [buffer for buffer in root.buffers if buffer.offset > 1]
    size = sum(buffer.size for buffer in outside)
    if size > len(model):
        raise ModelError(
            f"buffers behind the flatbuffer must share no bytes: they take {size} in a file of "
            f"{len(model)}"
        )
    for buffer in outside:
        buffer.data = _outside(model, buffer.offset, buffer.size, "a buffer")
        buffer.offset = buffer.size = 0
    for subgraph in root.subgraphs:
        for operator in subgraph.operators or ():
            if operator.largeCustomOptionsOffset:
                operator.customOptions = _outside(
                    model,
                    operator.largeCustomOptionsOffset,
                    operator.largeCustomOptionsSize,
                    "custom options",
                )
                operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0


def _outside(model: bytes, start: int, size: int, what: str) -> Any:
    """Bytes behind the flatbuffer, as a view of the file."""
    end = start + size
    if end > len(model):
        raise ModelError(
            f"truncated .tflite file: {what} ends at byte {end}, the file at {len(model)}"
        )
    return np.frombuffer(model, np.uint8)[start:end]


def _check_names(tree: SchemaObject) -> None:
    """Checks the indices of signatures and metadata, because `read_graph` does not."""
    for signature in tree.signatureDefs or ():
        name = text(signature.signatureKey)
        _require_index(f"signature {name!r}: subgraph", signature.subgraphIndex, tree.subgraphs)
        tensors = tree.subgraphs[signature.subgraphIndex].tensors
        for entry in _tensor_maps(signature):
            _require_index(f"signature {name!r}: tensor", entry.tensorIndex, tensors)
    for entry in tree.metadata or ():
        _require_index(f"metadata {text(entry.name)!r}: buffer", entry.buffer, tree.buffers)


def _require_index(what: str, index: int, items: SchemaObject) -> None:
    if not 0 <= index < len(items):
        raise ModelError(f"{what} must be in 0..{len(items) - 1}: got {index}")


def _tensor_maps(signature: SchemaObject) -> list[Any]:
    """The inputs and outputs that a signature names."""
    return [*(signature.inputs or ()), *(signature.outputs or ())]


def save(tree: Tree) -> bytes:
    """Writes a tree with every buffer aligned to 16 bytes, after `prune`.

    Raises:
        nested_keras.runtime.ModelError: An index of a signature or of metadata is out of range.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):
        """Aligns the data to 16 bytes, because Python's writer ignores the schema's force_align."""

        def Pack(self, builder: SchemaObject) -> Any:  # noqa: N802 - the schema's name
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
    root = copy.copy(tree.root)
    root.buffers = []
    for buffer in tree.root.buffers:
        aligned = AlignedBuffer()
        aligned.data = buffer.data
        root.buffers.append(aligned)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(root.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def prune(tree: Tree) -> None:
    """Removes tensors, buffers and operator codes that nothing uses from the tree.

    Raises:
        nested_keras.runtime.ModelError: An index of a signature or of metadata is out of range.
    """
    try:
        _check_names(tree.root)
    except DAMAGE as error:
        if isinstance(error, ModelError):
            raise
        raise damaged(tree.file_bytes, error) from error
    _prune(tree.root)


def _prune(tree: SchemaObject) -> None:
    for subgraph in tree.subgraphs:
        _prune_tensors(tree, subgraph)
    tensors = [tensor for subgraph in tree.subgraphs for tensor in subgraph.tensors]
    holders = [*tensors, *(tree.metadata or [])]
    # Buffer 0 is the empty buffer by convention.
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


def _prune_tensors(tree: SchemaObject, subgraph: SchemaObject) -> None:
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


def _indices(vector: SchemaObject) -> list[int]:
    """Tensor indices of a vector that may be absent."""
    return [] if vector is None else [int(index) for index in vector]


def text(name: SchemaObject) -> str:
    """A name in the file as text of one line.

    U+FFFD stands for what is no UTF-8, and for the characters with which a file could move the
    cursor of a terminal, begin a line or turn the direction of writing.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", bytes(name or b"").decode(errors="replace"))
