"""The gradients of a train step: of one level, routed, and of the weight regularisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nested_keras.nesting import fitting, regularization
from nested_keras.nesting.objectives import LevelObjective
from nested_keras.typing import KerasLayer, KerasModel, KerasTensor


def route(
    model: KerasModel, objective: LevelObjective, variables: list[Any], gradients: list[Any]
) -> list[Any]:
    """Multiplies the gradient of weights that the level below uses by the routing coefficient."""
    level, routing = objective.level, objective.routing
    if level == 0 or routing == 1.0:
        return gradients
    coefficient = routing
    if callable(routing):
        coefficient = routing(fitting.step_counter(model.optimizer))

    def scale(layer: KerasLayer, dtype: str) -> Any:
        # The gradient is zero outside M[l] already.
        return 1.0 - (1.0 - tf.cast(coefficient, dtype)) * layer.symbolic_mask(level - 1, dtype)

    return _scale_kernels(model, variables, gradients, scale)


def of_weight_losses(model: KerasModel, variables: list[Any]) -> tuple[Any, list[Any]]:
    """Returns the weights' regularisation loss and its gradient by each variable."""
    if not regularization.regularized(model):
        return regularization.no_loss(), [tf.zeros(v.shape, v.dtype) for v in variables]
    with tf.GradientTape() as tape:
        loss = regularization.weight_losses(model)
        scaled = model.optimizer.scale_loss(loss)
    found = by_variable(tape, scaled, variables)

    def keep(layer: KerasLayer, dtype: str) -> Any:
        # Not every regulariser has a zero gradient at zero.
        return 1.0 if layer.regrow else layer.symbolic_mask(model.levels - 1, dtype)

    return loss, _scale_kernels(model, variables, found, keep)


def by_variable(tape: tf.GradientTape, loss: KerasTensor, variables: list[Any]) -> list[Any]:
    """Returns the gradient by each variable; zero where the loss is independent of a variable."""
    found = tape.gradient(loss, variables)
    return [
        tf.zeros(variable.shape, variable.dtype) if gradient is None else gradient
        for variable, gradient in zip(variables, found, strict=True)
    ]


def _scale_kernels(
    model: KerasModel, variables: list[Any], gradients: list[Any], scale: Callable[[Any, str], Any]
) -> list[Any]:
    """Multiplies the gradient of each nested kernel by `scale(layer, dtype)`."""
    scaled = dict(zip(map(id, variables), gradients, strict=True))
    for layer in model.nested_layers:
        gradient = scaled.get(id(layer.kernel))
        if gradient is not None:
            scaled[id(layer.kernel)] = gradient * scale(layer, gradient.dtype)
    return [scaled[id(variable)] for variable in variables]
