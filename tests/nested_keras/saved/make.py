"""Writes a trained nested model, and what it computes, with the Keras that is installed.

    python -m tests.nested_keras.saved.make

See README.md beside this file.
"""

from pathlib import Path

import keras
import numpy as np

from nested_keras.nesting import model

FOLDER = Path(__file__).parent


def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 6, 6, 3)).astype("float32"), np.arange(12) % 3


def base():
    layers = keras.layers
    x = inputs = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(6, 1, kernel_regularizer="l2", activation="relu", name="pointwise")(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    outputs = layers.Dense(3, activation="softmax", name="head")(x)
    return keras.Model(inputs, outputs, name="saved")


def outputs(nested):
    """What every level computes, (levels, 12, 3)."""
    return np.stack([nested.at_level(level)(batch()[0]) for level in range(nested.levels)])


def write(folder):
    keras.utils.set_random_seed(0)
    nested = model.nest(base(), (0.75, 0.5), exclude=["stem"])
    nested.compile(
        keras.optimizers.Adam(0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        routing=0.5,
    )
    x, y = batch()
    nested.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    nested.prune()
    name = f"keras_{keras.__version__}"
    nested.save(folder / f"{name}.keras")
    before = outputs(nested)
    nested.train_on_batch(x, y)
    np.savez_compressed(folder / f"{name}.npz", before=before, after=outputs(nested))


if __name__ == "__main__":
    write(FOLDER)
