"""The train step of a nested model: one tape per level, one optimizer step.

The loss of a step is the weighted sum of the levels' losses, plus the weight regularisation once.
Level ``l`` runs on ``W * M[l]``, where ``M[l]`` is its mask, so its gradient is zero outside it.
Within, the routing coefficient ``a`` scales what reaches the weights that the level below has
already::

    gradient of W = sum over l of  g_l * (a_l * M[l-1] + (M[l] - M[l-1])),     M[-1] = 0

``a = 1`` trains the levels jointly; ``a = 0`` is strict routing: each weight follows only the first
level that uses it. After the optimizer step the weights that no level uses are set to zero, so that
neither momentum nor weight decay moves them. All other variables take the plain sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

# The classes that turn `loss` and `metrics` of compile() into objects; Keras makes one set for a
# model and nothing public makes one per level.
from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics


@dataclasses.dataclass(frozen=True)
class LevelObjective:
    """What compile() settles for one level.

    Attributes:
        routing: The routing coefficient, 0..1.
        weight: The weight of the level's loss in the sum, >= 0.
        loss: The compiled loss, or None.
        metrics: The compiled metrics, or None.
        tracker: The mean of the level's loss.
    """

    routing: float
    weight: float
    loss: Any
    metrics: Any
    tracker: Any


@dataclasses.dataclass(frozen=True)
class Objectives:
    """The objectives of all levels; a plain object, which Keras neither tracks nor saves."""

    levels: tuple[LevelObjective, ...]


class LevelTrainer(keras.Model):
    """Trains and evaluates all levels of a nested model together.

    `fit` and `evaluate` report "loss" (what is minimised: the weighted sum over the levels and the
    weight regularisation) and for each level "level_<l>_loss" (without weight regularisation) and
    "level_<l>_<metric>". `tf.distribute` strategies are not supported yet.
    """

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *,
        routing: float | Iterable[float] = 1.0,
        level_loss_weights: Iterable[float] | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Configures the model for training.

        Args:
            optimizer: As in `keras.Model.compile`, and so are the arguments not named here.
            loss: Applied at each level.
            loss_weights: Weights of the model's outputs.
            metrics: Measured at each level.
            weighted_metrics: Measured at each level, with sample weights.
            routing: The routing coefficient in [0, 1], one for all levels or one per level (level
                0 has no level below: its own has no effect). 1 trains jointly; 0.5 helps the
                sparsest level when a teacher is used; 0 is strict.
            level_loss_weights: The weight of each level's loss, >= 0, one per level; None for 1.
            jit_compile: XLA; off unless asked for, as it slows the step down on CPUs.
            **kwargs: Other arguments of `keras.Model.compile`.

        Raises:
            ValueError: if routing or level_loss_weights have a wrong range or length.
        """
        routings = _per_level(routing, levels=self.levels, argument="routing")
        if not all(0.0 <= value <= 1.0 for value in routings):
            raise ValueError(f"routing must lie in [0, 1]: got {routings}")
        given = 1.0 if level_loss_weights is None else level_loss_weights
        weights = _per_level(given, levels=self.levels, argument="level_loss_weights")
        if min(weights) < 0.0:
            raise ValueError(f"level_loss_weights must not be negative: got {weights}")
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            jit_compile=jit_compile,
            **kwargs,
        )
        if self.optimizer is not None and not self.optimizer.built:
            # A backup can only be restored into an optimizer that has its variables.
            self.optimizer.build(self.trainable_variables)
        names = self.output_names
        self._objectives = Objectives(
            tuple(
                LevelObjective(
                    routing=routings[level],
                    weight=weights[level],
                    loss=None
                    if loss is None
                    else CompileLoss(loss, loss_weights, output_names=names),
                    metrics=_compile_metrics(metrics, weighted_metrics, names),
                    tracker=keras.metrics.Mean(name=f"level_{level}_loss"),
                )
                for level in range(self.levels)
            )
        )
        for level in range(self.levels):
            self.at_level(level)  # made here, not while a train step is traced

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of compile() in a form that can be saved."""
        config = dict(super().get_compile_config())
        if config:
            config["routing"] = [each.routing for each in self._objectives.levels]
            config["level_loss_weights"] = [each.weight for each in self._objectives.levels]
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self) -> list[Any]:
        """The metrics of all levels, so that Keras resets them."""
        found = self._shared_metrics()
        if hasattr(self, "_objectives"):
            for each in self._objectives.levels:
                found.append(each.tracker)
                found += [] if each.metrics is None else [each.metrics]
                found += [] if each.loss is None else each.loss.metrics
        return found

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns "loss", and "level_<l>_loss" and "level_<l>_<metric>" of each level."""
        results = {metric.name: metric.result() for metric in self._shared_metrics()}
        for level, each in enumerate(self._objectives.levels):
            results[each.tracker.name] = each.tracker.result()
            named = {} if each.metrics is None else dict(each.metrics.result())
            if each.loss is not None:
                named.update((metric.name, metric.result()) for metric in each.loss.metrics)
            results.update((f"level_{level}_{name}", value) for name, value in named.items())
        return results

    def _shared_metrics(self) -> list[Any]:
        """Returns the loss tracker and what a user attached to the model."""
        # Keras's own set of compiled metrics is never updated: each level has one instead.
        unused = {id(self._compile_metrics)}
        if self._compile_loss is not None:
            unused.update(id(metric) for metric in self._compile_loss.metrics)
        return [metric for metric in super().metrics if id(metric) not in unused]

    def level_loss(
        self, level: int, *, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Computes the loss of one level; override it to train towards something else as well.

        The levels are run from the densest to the sparsest, in training and in evaluation.

        Args:
            level: The level, 0..levels-1.
            x: The inputs of the batch.
            y: The targets, or None.
            y_pred: The level's outputs.
            sample_weight: The weights of the samples, or None.

        Returns:
            A scalar tensor: the compiled loss and the activity regularisation.
        """
        terms = [self._aggregate_additional_loss(term) for term in self._activity_losses(level)]
        objective = self._objectives.levels[level]
        if objective.loss is not None:
            terms.append(objective.loss(y, y_pred, sample_weight))
        return tf.add_n(terms) if terms else tf.zeros(())

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains all levels on one batch with one optimizer step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.trainable_variables
        gradients: list[Any] = [None] * len(variables)
        total = tf.zeros(())
        for level in reversed(range(self.levels)):
            with tf.GradientTape() as tape:
                y_pred = self.at_level(level)(x, training=True)
                loss = self._weighted_loss(level, x, y, y_pred, sample_weight)
                scaled = self.optimizer.scale_loss(loss)
            found = self._route(level, variables, tape.gradient(scaled, variables))
            gradients = [_add(sum_, new) for sum_, new in zip(gradients, found, strict=True)]
            total += loss
        with tf.GradientTape() as tape:
            loss = self._weight_regularization()
            scaled = self.optimizer.scale_loss(loss)
        found = tape.gradient(scaled, variables)
        gradients = [_add(sum_, new) for sum_, new in zip(gradients, found, strict=True)]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for layer in self.nested_layers:
            layer.zero_pruned()
        self._loss_tracker.update_state(total + loss, sample_weight=_batch_size(x))
        return self.get_metrics_result()

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates all levels on one batch."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        total = self._weight_regularization()
        for level in reversed(range(self.levels)):
            y_pred = self.at_level(level)(x, training=False)
            total += self._weighted_loss(level, x, y, y_pred, sample_weight)
        self._loss_tracker.update_state(total, sample_weight=_batch_size(x))
        return self.get_metrics_result()

    def _weighted_loss(self, level: int, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Computes a level's share of the sum, and updates the level's metrics."""
        objective = self._objectives.levels[level]
        loss = self.level_loss(level, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        objective.tracker.update_state(loss, sample_weight=_batch_size(x))
        if objective.metrics is not None:
            objective.metrics.update_state(y, y_pred, sample_weight)
        return objective.weight * loss

    def _route(self, level: int, variables: list[Any], gradients: list[Any]) -> list[Any]:
        """Scales the gradient into the weights that the level below has by the coefficient."""
        routing = self._objectives.levels[level].routing
        if level == 0 or routing == 1.0:
            return gradients
        routed = dict(zip(map(id, variables), gradients, strict=True))
        for layer in self.nested_layers:
            gradient = routed.get(id(layer.kernel))
            if gradient is not None:
                below = layer.symbolic_mask(level - 1, gradient.dtype)
                # The gradient is zero outside M[l] already.
                routed[id(layer.kernel)] = gradient * (1.0 - (1.0 - routing) * below)
        return [routed[id(variable)] for variable in variables]

    def _weight_regularization(self) -> Any:
        """Computes the sum of the weights' regularisation losses."""
        terms = [
            self._aggregate_additional_loss(variable.regularizer(variable))
            for variable in self._regularized()
        ]
        return tf.add_n(terms) if terms else tf.zeros(())

    def _activity_losses(self, level: int) -> list[Any]:
        """Returns what the level's last call added: its losses before those of the weights."""
        losses = self.at_level(level).losses
        return list(losses[: len(losses) - len(self._regularized())])

    def _regularized(self) -> list[Any]:
        return [v for v in self.trainable_variables if v.regularizer is not None]


def _per_level(values: float | Iterable[float], *, levels: int, argument: str) -> tuple[float, ...]:
    """Returns one float per level."""
    if isinstance(values, Iterable):
        given = tuple(float(value) for value in values)
        if len(given) != levels:
            raise ValueError(f"{argument} must have {levels} entries, one per level: got {given}")
        return given
    return (float(values),) * levels


def _compile_metrics(metrics: Any, weighted_metrics: Any, output_names: Any) -> Any:
    """Returns compiled metrics with a state of their own, or None."""
    if metrics is None and weighted_metrics is None:
        return None
    copies = (keras.tree.map_structure(_copy_metric, m) for m in (metrics, weighted_metrics))
    return CompileMetrics(*copies, output_names=output_names)


def _copy_metric(metric: Any) -> Any:
    """Returns a metric object with a state of its own; names and functions as they are."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric


def _add(total: Any, gradient: Any) -> Any:
    """Adds two gradients, either of which may be None."""
    if total is None or gradient is None:
        return gradient if total is None else total
    return tf.add(total, gradient)


def _batch_size(x: Any) -> Any:
    return tf.shape(keras.tree.flatten(x)[0])[0]
