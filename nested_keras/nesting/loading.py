"""Load the files of Keras 3, and the .h5 files of Keras 2."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import keras

from nested_keras.typing import KerasArgument, KerasLayer

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_LONGEST = 300  # characters; Keras's own text may hold the configuration of the whole model


def _without_groups(layer: KerasLayer) -> Any:
    """Makes a reader of a Keras 2 layer whose file has `groups` though the layer has no groups."""

    class Reader(layer):
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            if config.get("groups", 1) != 1:
                raise ValueError(
                    f"{layer.__name__} {config.get('name')!r} must have groups=1: "
                    f"got {config['groups']}"
                )
            return layer.from_config({k: v for k, v in config.items() if k != "groups"})

    return Reader


_LAYERS_WITHOUT_GROUPS = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_KERAS_2 = {layer.__name__: _without_groups(layer) for layer in _LAYERS_WITHOUT_GROUPS}


def load_keras(path: str | os.PathLike[str], **kwargs: KerasArgument) -> Any:
    """Loads a Keras model from a .keras or .h5 file, also an .h5 file of Keras 2.

    Args:
        path: The file.
        **kwargs: Other arguments of `keras.models.load_model`.

    Returns:
        The model.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is of another kind or damaged, or has a layer that Keras does not
            know; the text is one line.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{file}: expected a .keras or .h5 file: got a folder")
    with file.open("rb") as stream:
        start = stream.read(len(_HDF5))
    if start != _HDF5 and not start.startswith(_ZIP):
        raise ValueError(f"{file}: expected a .keras or .h5 file: got a file of another kind")
    objects = dict(kwargs.pop("custom_objects", None) or {})
    if start == _HDF5:  # there, Keras writes the class of a model without its package
        model = keras.saving.get_registered_object("nested_keras>NestedModel")
        objects = {**_KERAS_2, **({"NestedModel": model} if model else {}), **objects}
    try:
        return keras.models.load_model(file, custom_objects=objects or None, **kwargs)
    except MemoryError:
        raise
    except Exception as error:  # whatever zipfile, json, h5py and the layers raise
        # Keras puts the config of the whole model into its text.
        if unknown := re.search(r"Could not locate (function|class) '(\w+)'", str(error)):
            kind, name = unknown.groups()
            raise ValueError(
                f"{file} needs the {kind} {name!r}, which is not known here: import what registers "
                f"the {kind}, or pass custom_objects={{{name!r}: {name}}}"
            ) from None
        text = " ".join(str(error).split())
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        raise ValueError(f"{file}: no model that Keras can load: {text}") from error
