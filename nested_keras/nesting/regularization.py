"""The regularisation losses of a nested model: of the weights once, of activations per level."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nested_keras.typing import KerasModel, KerasTensor


def weight_losses(model: KerasModel) -> Any:
    """Computes the sum of the weights' regularisation losses."""
    terms = [share_of_replica(variable.regularizer(variable)) for variable in regularized(model)]
    return tf.add_n(terms) if terms else no_loss()


def no_loss() -> Any:
    """Returns a loss of zero, in the type of Keras's losses."""
    return tf.zeros((), keras.config.floatx())


def activity_losses(model: KerasModel, level: int) -> list[Any]:
    """Returns the activity losses of the level's last call, without the losses of the weights."""
    losses = model.at_level(level).losses
    return list(losses[: len(losses) - len(regularized(model))])


def regularized(model: KerasModel) -> list[Any]:
    """Returns the variables that are trained and have a regulariser."""
    return [v for v in model.trainable_variables if v.regularizer is not None]


def share_of_replica(loss: KerasTensor) -> Any:
    """Returns a loss's sum, divided by the number of replicas, because replicas are added up."""
    total = keras.ops.sum(keras.ops.cast(loss, keras.config.floatx()))
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return total if replicas == 1 else total / replicas
