"""The tool of today: tfmot's prune_low_magnitude, which takes models of tf_keras (Keras 2) only."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks.accuracy import fitting
from benchmarks.accuracy.data import Data, Epochs
from benchmarks.accuracy.recipe import Recipe, pruning_schedule
from benchmarks.accuracy.runs import Run
from nested_keras import nest, recipe as training

# What a tf_keras layer needs to be told of its Keras 3 twin.
_ARGUMENTS = {
    "Add": (),
    "BatchNormalization": ("momentum", "epsilon"),
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "use_bias"),
    "Dense": ("units", "activation"),
    "DepthwiseConv2D": ("kernel_size", "strides", "padding", "use_bias"),
    "GlobalAveragePooling2D": (),
    "GlobalMaxPooling2D": (),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "ReLU": ("max_value",),
}


def prune(base: Any, data: Data, *, sparsity: float, recipe: Recipe, run: Run) -> None:
    """Prunes and fine-tunes a Keras 3 model with tfmot on tf_keras, the layers that `nest` prunes.

    Args:
        base: The trained dense model; it gets the pruned weights.
        data: The images.
        sparsity: Fraction of zeros.
        recipe: Epochs, optimizer, ramp.
        run: The run directory; training goes on or is passed over as in `fitting.train`.
    """
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparsity_api

    batches = Epochs(data, batch_size=recipe.batch_size, seed=recipe.seed)
    steps = recipe.epochs * batches.steps
    schedule = pruning_schedule(sparsity, recipe=recipe, steps=steps)
    chosen = {layer.name for layer in nest(base, (sparsity,)).nested_layers}

    def wrap(layer: Any) -> Any:
        if layer.name not in chosen:
            return layer
        return sparsity_api.prune_low_magnitude(layer, pruning_schedule=schedule)

    model = tf_keras.models.clone_model(to_tf_keras(base), clone_function=wrap)
    if run.weights.exists():
        model.load_weights(str(run.weights))
    else:
        rate = training.learning_rate_schedule(recipe.learning_rate, steps=steps)
        twin = tf_keras.optimizers.schedules.CosineDecay.from_config(rate.get_config())
        model.compile(tf_keras.optimizers.Adam(twin), fitting.LOSS, metrics=["accuracy"])
        count = fitting.WATCHED_IMAGES
        backup, *others = fitting.callbacks_of_run(run, batches, library=tf_keras)
        model.fit(
            batches.dataset(),
            epochs=recipe.epochs,
            validation_data=(data.x_test[:count], data.y_test[:count]),
            # tfmot asks the optimizer for its step once the backup has restored it.
            callbacks=[backup, sparsity_api.UpdatePruningStep(), *others],
            verbose=2,
        )
        model.save_weights(str(run.weights))
        shutil.rmtree(run.backup, ignore_errors=True)
    stripped = sparsity_api.strip_pruning(model)
    for layer in base.layers:
        if layer.weights:
            layer.set_weights(stripped.get_layer(layer.name).get_weights())


def to_tf_keras(model: Any) -> Any:
    """Makes the tf_keras twin of a functional Keras 3 model, weights included.

    Raises:
        TypeError: for a layer that the networks of this benchmark do not have.
    """
    import tf_keras

    tensors: dict[int, Any] = {}
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            tensors[id(layer.output)] = tf_keras.Input(layer.output.shape[1:], name=layer.name)
            continue
        if kind not in _ARGUMENTS:
            raise TypeError(f"{layer.name}: expected one of {', '.join(_ARGUMENTS)}, got {kind}")
        config = layer.get_config()
        twin = getattr(tf_keras.layers, kind)(
            name=layer.name, **{argument: config[argument] for argument in _ARGUMENTS[kind]}
        )
        inputs = layer.input
        if isinstance(inputs, list):
            tensors[id(layer.output)] = twin([tensors[id(each)] for each in inputs])
        else:
            tensors[id(layer.output)] = twin(tensors[id(inputs)])
        twin.set_weights(layer.get_weights())
    return tf_keras.Model(tensors[id(model.input)], tensors[id(model.output)], name=model.name)
