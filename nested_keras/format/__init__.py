"""The packed weight stream: parse, pack and strip levels (NumPy only)."""

from nested_keras.format.encoder import in_place, most_compact, smallest
from nested_keras.format.packed_tables import round_tables
from nested_keras.format.stream import Stream, encode
from nested_keras.format.types import (
    Chooser,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    StoredLevel,
    Tables,
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
    "Tables",
    "encode",
    "in_place",
    "most_compact",
    "round_tables",
    "smallest",
]
