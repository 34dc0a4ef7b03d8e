"""Folders that `tf.data.Dataset.save` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras import arrays
from nested_keras.cli.parts import SECOND_PART, Part, Reading, set_apart

_MARK = "dataset_spec.pb"


def is_saved(path: Path) -> bool:
    """Returns whether a folder is a saved dataset, or has a saved dataset in its folder `train`."""
    return (path / _MARK).is_file() or (path / "train" / _MARK).is_file()


def load(path: Path, part: str, *, shape: Sequence[int | None], reading: Reading) -> Part:
    """Loads one part of a saved dataset of (input, label), in batches or one by one.

    Args:
        path: The folder of the dataset, or a folder with datasets `train` and `test` (`val`,
            `validation`).
        part: "train" or "test".
        shape: The shape of the model's input.
        reading: The share of a part.

    Returns:
        The examples.

    Raises:
        ValueError: If the dataset cannot be read, or its elements are not (input, label).
        ModuleNotFoundError: If TensorFlow is missing.
    """
    places = [path / name for name in (("train",) if part == "train" else SECOND_PART)]
    folder = next((place for place in places if (place / _MARK).is_file()), None)
    parted = (path / "train" / _MARK).is_file()
    if parted and folder is None:
        raise ValueError(f"{path}: expected a saved dataset in the folder test: got none")
    x, y = _read(path if folder is None or not parted else folder, rank=len(shape))
    name = f"{path}: "
    x = arrays.real_images(x, name=f"{name}the inputs")
    if not parted:
        labels = arrays.class_indices(y, count=len(x), classes=1 << 31, name=f"{name}the labels")
        chosen = set_apart(labels, part, share=reading.validation)
        x, y = x[chosen], labels[chosen]
    return Part(x, y, (), name=name)


def _read(folder: Path, *, rank: int) -> tuple[Any, Any]:
    """Returns all inputs and labels of a saved dataset."""
    import tensorflow as tf

    try:
        data = tf.data.Dataset.load(str(folder))
    except Exception as error:  # protobuf and TensorFlow raise many types for damaged bytes
        raise ValueError(f"{folder}: cannot be read as a saved tf.data.Dataset: {error}") from error
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not hasattr(spec[0], "shape"):
        raise ValueError(f"{folder}: expected elements (input, label): got {spec}")
    if spec[0].shape.rank == rank:
        data = data.unbatch()
    try:
        elements = list(data.as_numpy_iterator())
    except tf.errors.OpError as error:
        raise ValueError(f"{folder}: cannot be read: {error.message}") from error
    if not elements:
        raise ValueError(f"{folder}: expected examples: got none")
    try:
        return np.stack([x for x, _ in elements]), np.stack([y for _, y in elements])
    except ValueError as error:
        raise ValueError(f"{folder}: inputs must have one shape: {error}") from error
