"""From a trained nested model to a .tflite.

`to_tflite` and `build` need TensorFlow and load it on the first call; `strip_model` and
`summarize_model` do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nested_keras.export.errors import ExportError, UnsupportedLayerError
from nested_keras.export.strip import LayerSummary, strip_model, summarize_model

if TYPE_CHECKING:
    from nested_keras.export.stages import ExportedModel

__all__ = [
    "ExportError",
    "LayerSummary",
    "UnsupportedLayerError",
    "build",
    "strip_model",
    "summarize_model",
    "to_tflite",
]


def to_tflite(model: Any, *, representative_dataset: Any) -> bytes:
    """Exports a nested model as an int8 .tflite with the run-time input `level`.

    Args:
      model: A `NestedModel` with fixed input shapes.
      representative_dataset: Examples that show the range of every activation, in float as the
        model takes them: an array [n, ...] (for several inputs a list of arrays), a
        `tf.data.Dataset` of batches x or (x, y), or a callable that yields lists of one batch per
        input.

    Returns:
      The .tflite file. Every level was compared with a dense int8 model, bit for bit.

    Raises:
      ExportError: The model, a layer or the data cannot be exported; the text says which and why.
    """
    return build(model, representative_dataset=representative_dataset).tflite


def build(model: Any, *, representative_dataset: Any) -> ExportedModel:
    """Exports a nested model together with the dense int8 model that it is made of.

    Args:
      model: As `to_tflite`.
      representative_dataset: As `to_tflite`.

    Returns:
      Both files.

    Raises:
      ExportError: As `to_tflite`.
    """
    from nested_keras.export import stages

    return stages.build(model, representative_dataset=representative_dataset)
