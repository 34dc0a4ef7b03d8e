"""The packed weight stream: parse, pack and strip levels (NumPy only)."""

from nested_keras.format.encoder import smallest
from nested_keras.format.stream import Stream, encode
from nested_keras.format.types import (
    Chooser,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    StoredLevel,
)

__all__ = [
    "Chooser",
    "Encoding",
    "FormatError",
    "LayerKind",
    "LayerParams",
    "NestedWeights",
    "StoredLevel",
    "Stream",
    "encode",
    "smallest",
]
