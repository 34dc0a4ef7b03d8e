"""The command, as a user calls it, and files for it."""

import keras
import numpy as np
import pytest

from nested_keras import cli


def nested_keras_command(*arguments):
    """Runs the command; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["nested-keras", *map(str, arguments)])
    return ended.value.code or 0


def write_data(path, **changed):
    """Writes x_train, y_train, x_test and y_test of three classes, the first two sorted."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, 3, 48))
    images = rng.normal(size=(48, 6, 6, 1)).astype(np.float32) + labels[:, None, None, None]
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(path, **{**arrays, **changed})
    return path


def write_base(path, *ends):
    """Writes a tiny classifier with the given last layers."""
    x = inputs = keras.Input((6, 6, 1))
    for layer in (
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        *ends,
    ):
        x = layer(x)
    keras.Model(inputs, x).save(path)
    return path
