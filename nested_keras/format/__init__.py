"""The packed weight stream: encode, decode, validate and strip levels (NumPy only)."""

from nested_keras.format.decoder import count_levels, decode, strip_levels, summarize, validate
from nested_keras.format.encoder import encode, smallest
from nested_keras.format.reader import read_params
from nested_keras.format.types import (
    BlockOption,
    Chooser,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    LevelSummary,
    NestedWeights,
)

__all__ = [
    "BlockOption",
    "Chooser",
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
    "smallest",
    "strip_levels",
    "summarize",
    "validate",
]
