"""Training of Keras models by the recipe, resumable, and weights carried from model to model."""

from __future__ import annotations

import shutil
import time
from typing import Any

import keras
import numpy as np

from benchmarks.accuracy.data import Data, Epochs
from benchmarks.accuracy.recipe import Recipe
from benchmarks.accuracy.runs import Run
from nested_keras import recipe as training
from nested_keras.callbacks import BatchNormReestimation
from nested_keras.nesting.layers import NestedBatchNormalization

LOSS = "sparse_categorical_crossentropy"
# Augmented images for BatchNorm statistics, and test images watched after each epoch.
STATISTICS_IMAGES = 2000
WATCHED_IMAGES = 1000
_VALUES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def callbacks_of_run(run: Run, epochs: Epochs, *, library: Any) -> list[Any]:
    """What every training has: resume, the epoch's batches, its time, its row in history.csv.

    Args:
        run: The run directory.
        epochs: The batches.
        library: keras or tf_keras.
    """

    class Clock(library.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            epochs.epoch = epoch
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["seconds"] = time.perf_counter() - self.start

    return [
        library.callbacks.BackupAndRestore(str(run.backup), delete_checkpoint=False),
        Clock(),
        library.callbacks.CSVLogger(str(run.history), append=True),
    ]


def train(
    model: Any,
    data: Data,
    *,
    recipe: Recipe,
    run: Run,
    epochs: int,
    split_batch: bool = False,
    schedule: Any = None,
    **compile_options: Any,
) -> None:
    """Trains a nested model, goes on with its training, or loads the trained weights.

    Args:
        model: The nested model.
        data: Train and test images.
        recipe: Of the run.
        run: The run directory.
        epochs: How many.
        split_batch: Whether each batch is split among the levels. Batches are then as many times
            as large as there are levels, and epochs as many times as many.
        schedule: The ramp of the masks; None where they stay as they are.
        **compile_options: Other arguments of `compile`.
    """
    if run.weights.exists():
        model.load_weights(run.weights)
        return
    shares = model.levels if split_batch else 1
    batches = Epochs(data, batch_size=shares * recipe.batch_size, seed=recipe.seed)
    epochs *= shares
    model.compile(
        training.optimizer(
            model,
            steps=epochs * batches.steps,
            learning_rate=recipe.learning_rate,
            split_batch=shares > 1,
        ),
        LOSS,
        metrics=["accuracy"],
        split_batch=shares > 1,
        **compile_options,
    )
    statistics = batches.images(STATISTICS_IMAGES)
    if schedule is None:
        levels = [BatchNormReestimation(statistics, batch_size=100)]
    else:
        levels = training.callbacks(statistics, masks=schedule, batch_size=100)
    model.fit(
        batches.dataset(),
        epochs=epochs,
        validation_data=(data.x_test[:WATCHED_IMAGES], data.y_test[:WATCHED_IMAGES]),
        callbacks=[
            *callbacks_of_run(run, batches, library=keras),
            *levels,
        ],
        shuffle=False,
        verbose=2,
    )
    model.save_weights(run.weights)
    shutil.rmtree(run.backup, ignore_errors=True)


def adopt(source: Any, target: Any, *, input_scale: float) -> None:
    """Gives a nested model the weights of one that was trained elsewhere.

    A bias that the target does without, in front of a BatchNorm, is taken off its moving mean.

    Args:
        source: A Keras model of the same layers with weights, in the same order.
        target: The nested model.
        input_scale: What the source's input is of the target's; the first kernel takes it in.

    Raises:
        ValueError: if the layers differ in number or in their weights' shapes.
    """
    layers, old_layers = ([each for each in m.layers if each.weights] for m in (target, source))
    if len(layers) != len(old_layers):
        raise ValueError(
            f"{source.name}: expected {len(layers)} layers with weights, got {len(old_layers)}"
        )
    left_over: dict[str, Any] = {}  # by the name of the BatchNorm that follows
    for index, (layer, old) in enumerate(zip(layers, old_layers, strict=True)):
        for name in _VALUES:
            value = getattr(old, name, None)
            if value is None:
                continue
            value = np.asarray(value)
            if index == 0 and name == "kernel":
                value = value * input_scale
            if getattr(layer, name, None) is None:
                left_over[f"{layer.name}_norm"] = value
                continue
            if name == "moving_mean":
                value = value - left_over.pop(layer.name, 0.0)
            getattr(layer, name).assign(np.broadcast_to(value, getattr(layer, name).shape))


def transfer(source: Any, target: Any, *, level: int = -1) -> None:
    """Carries kernels, biases and BatchNorm values from one model to another, layer by name.

    Args:
        source: A plain or nested Keras model.
        target: Likewise, as wide or narrower: then it gets the first channels. Each level of a
            nested target gets the same BatchNorm values.
        level: The level whose BatchNorm values are taken from a nested source.
    """
    for layer in target.layers:
        if not layer.weights:
            continue
        old = source.get_layer(layer.name)
        for name in _VALUES:
            variable = getattr(layer, name, None)
            if variable is None:
                continue
            value = np.asarray(getattr(old, name))
            if isinstance(old, NestedBatchNormalization):
                value = value[level]
            # From the right: rows of levels come first in a nested BatchNorm.
            crop = tuple(slice(size) for size in variable.shape[-value.ndim :])
            variable.assign(np.broadcast_to(value[crop], variable.shape))
