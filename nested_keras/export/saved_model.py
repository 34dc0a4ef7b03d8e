"""A TensorFlow SavedModel with the run-time input `level`."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from nested_keras.export.export_errors import ExportError
from nested_keras.nesting import keras_graph
from nested_keras.nesting.model import NestedModel
from nested_keras.typing import KerasTensor

_LEVEL = "level"


def to_saved_model(model: NestedModel, path: str | os.PathLike[str]) -> None:
    """Writes a nested model; see `nested_keras.export.to_saved_model`."""
    if not isinstance(model, NestedModel):
        raise ExportError(
            "expected a NestedModel (nested_keras.nest makes one): "
            f"got {type(model).__module__}.{type(model).__name__}"
        )
    target = Path(path)
    if target.exists() and not (target / "saved_model.pb").is_file():
        raise ExportError(f"path must be new or a SavedModel to replace: got {target}")
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, keras_graph.source(tensor).operation.name)
        for tensor in model.inputs
    ]
    if _LEVEL in [spec.name for spec in specs]:
        raise ExportError("the inputs must have other names than 'level', the input for the level")
    archive = keras.export.ExportArchive()
    archive.track(model)
    # The level may be a number or, as in a .tflite, an array of one number.
    level = tf.TensorSpec(None, tf.int32, _LEVEL)
    archive.add_endpoint("serve", _serve(model), input_signature=[*specs, level])
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        archive.write_out(str(temporary), verbose=False)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _serve(model: NestedModel) -> Callable[..., Any]:
    """Returns a function of the inputs, in their order, and the level."""
    runs = [model.at_level(level) for level in range(model.levels)]

    def serve(*inputs_and_level: KerasTensor) -> Any:
        *inputs, level = inputs_and_level
        level = tf.reshape(level, [])
        message = f"level must be in 0..{len(runs) - 1}"
        tf.debugging.assert_non_negative(level, message)
        tf.debugging.assert_less(level, len(runs), message)
        x = keras.tree.pack_sequence_as(model.input, inputs)
        branches = [lambda run=run: run(x, training=False) for run in runs]
        return tf.switch_case(level, branches)

    return serve
