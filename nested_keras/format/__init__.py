"""The packed weight stream: encode, decode, validate and strip levels (NumPy only)."""

from nested_keras.format.decoder import count_levels, decode, strip_levels, summarize, validate
from nested_keras.format.encoder import encode
from nested_keras.format.reader import read_params
from nested_keras.format.types import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    LevelSummary,
    NestedWeights,
)

__all__ = [
    "Encoding",
    "FormatError",
    "LayerKind",
    "LayerParams",
    "LevelSummary",
    "NestedWeights",
    "count_levels",
    "decode",
    "encode",
    "read_params",
    "strip_levels",
    "summarize",
    "validate",
]
