"""Unpack a .tflite into the schema's object tree, in memory that the file's length bounds.

In a flatbuffer many offsets may lead to one object, and the library unpacks the object once for
each offset: a file of 600 KB can name a buffer of 300 KB a hundred thousand times. So the bytes of
all objects are counted before the library unpacks the objects. Without shared objects, the count is
no larger than the file.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import numpy as np

from nested_keras.tflite.model_error import ModelError
from nested_keras.typing import SchemaObject

DAMAGE = (
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,
    RecursionError,
)
"""The errors of the flatbuffers library for bytes that are no flatbuffer of this schema."""

HEAD_BYTES = 8
"""The offset of the root, and the identifier of the format."""

# Some writers share strings and small vectors; a hostile file goes far beyond this limit.
_SHARING = 2
# An offset to an object, and the object's own offset to its table of fields.
_OBJECT_BYTES = 8
# The functions of the schema that unpack a union, by the name of the field.
_UNIONS = {
    "ArrayIndices": "SparseIndexVectorCreator",
    "ArraySegments": "SparseIndexVectorCreator",
    "BuiltinOptions": "BuiltinOptionsCreator",
    "BuiltinOptions2": "BuiltinOptions2Creator",
    "Details": "QuantizationDetailsCreator",
}

# Vectors, each with whether it holds numbers, and other fields.
_Accessors: TypeAlias = tuple[tuple[tuple[str, bool], ...], tuple[str, ...]]


def check_head(head: bytes) -> None:
    """Checks the first `HEAD_BYTES` of a .tflite file.

    Raises:
        ModelError: The file is foreign.
    """
    if len(head) < HEAD_BYTES or head[4:] != b"TFL3":
        found = head[4:].hex(" ") or "nothing"
        raise ModelError(f"not a .tflite file: expected 'TFL3' at byte 4, got {found}")


def unpack(model: bytes) -> Any:
    """Unpacks a .tflite file.

    Args:
        model: The whole file.

    Returns:
        The schema's `ModelT`. Vectors of numbers are views of `model`.

    Raises:
        ModelError: The file is foreign or damaged, or its objects are larger than the file.
    """
    check_head(model[:HEAD_BYTES])
    from ai_edge_litert import schema_py_generated as schema

    try:
        root = schema.Model.GetRootAs(model, 0)
        _Meter(schema, _SHARING * len(model)).add(root)
        return schema.ModelT.InitFromObj(root)
    except DAMAGE as error:
        if isinstance(error, ModelError):
            raise
        raise damaged(len(model), error) from error


def damaged(size: int, error: Exception) -> ModelError:
    """Makes the error for a file of `size` bytes on which the flatbuffers library failed."""
    return ModelError(
        f"truncated or damaged .tflite file ({size} bytes): {type(error).__name__}: {error}"
    )


class _Meter:
    """Adds up the bytes that objects take when unpacked, up to a limit."""

    def __init__(self, schema: SchemaObject, limit: int) -> None:
        self._schema = schema
        self._left = self._limit = limit
        self._accessors: dict[str, _Accessors] = {}

    def add(self, table: SchemaObject) -> None:
        """Counts an object and all objects that its offsets reach."""
        self._charge(_OBJECT_BYTES)
        kind = type(table)
        if kind.__name__ not in self._accessors:
            self._accessors[kind.__name__] = _accessors(kind)
        vectors, fields = self._accessors[kind.__name__]
        for name, numbers in vectors:
            length = getattr(table, f"{name}Length")()
            if not length:
                continue
            if numbers:
                self._charge(getattr(table, f"{name}AsNumpy")().nbytes)
                continue
            self._charge(4 * length)
            item = getattr(table, name)
            for index in range(length):
                self._add_value(table, name, item(index))
        for name in fields:
            self._add_value(table, name, getattr(table, name)())

    def _add_value(self, table: SchemaObject, name: str, value: SchemaObject) -> None:
        if isinstance(value, bytes):
            self._charge(len(value))
        elif name in _UNIONS and value is not None:
            create = getattr(self._schema, _UNIONS[name])
            self._add_unpacked(create(getattr(table, f"{name}Type")(), value))
        elif hasattr(value, "_tab"):
            self.add(value)

    def _add_unpacked(self, options: SchemaObject) -> None:
        """Counts the members of a union, which are small objects; only their strings are copies."""
        self._charge(_OBJECT_BYTES)
        for value in vars(options).values() if options is not None else ():
            if isinstance(value, bytes | list):
                self._charge(len(value))
            elif isinstance(value, np.ndarray):
                self._charge(value.nbytes)

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ModelError(
                f"the objects of the .tflite file must be no larger than the file: got more than "
                f"{self._limit} bytes in a file of {self._limit // _SHARING}"
            )


def _accessors(table: type[Any]) -> _Accessors:
    """Names of a table's vectors, each with whether it holds numbers, and of its other fields."""
    names = vars(table)
    vectors = {name.removesuffix("IsNone") for name in names if name.endswith("IsNone")}
    extra = ("Length", "IsNone", "AsNumpy", "BufferHasIdentifier", "Type")
    fields = [
        name
        for name in names
        if name[0].isupper() and not name.startswith("GetRootAs") and not name.endswith(extra)
    ]
    return (
        tuple((name, f"{name}AsNumpy" in names) for name in sorted(vectors)),
        tuple(name for name in fields if name not in vectors and name != "Init"),
    )
