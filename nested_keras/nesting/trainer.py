"""The train step of a nested model: one tape per level, one optimizer step.

The loss of a step is the weighted sum of the levels' losses, plus the weight regularisation once.
Level ``l`` runs on ``W * M[l]``, where ``M[l]`` is its mask, so its gradient is zero outside the
mask. Inside the mask, the routing coefficient ``a`` scales the gradient of the weights that the
level below uses as well::

    gradient of W = sum over l of  g_l * (a_l * M[l-1] + (M[l] - M[l-1])),     M[-1] = 0

``a = 1`` trains the levels jointly; ``a = 0`` is strict routing: each weight follows only the first
level that uses it. All other variables take the plain sum.

A weight that no level uses has no gradient. Pruning sets such a weight to zero, and resets the
optimizer's state for the weight to its first value. Therefore neither momentum nor weight decay nor
a moving average moves the weight later, and the train step need not mask the weight again.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from nested_keras.nesting import fitting, gradients, objectives, optimizer_slots, regularization
from nested_keras.nesting.batches import Batch, share
from nested_keras.nesting.distillation_loss import Distillation
from nested_keras.nesting.judge import Measures
from nested_keras.nesting.layers import several_workers
from nested_keras.nesting.measured_levels import MeasuredLevels
from nested_keras.typing import (
    Data,
    KerasArgument,
    KerasCallbacks,
    KerasLoss,
    KerasMetric,
    KerasMetrics,
    KerasOptimizer,
    KerasTensor,
    Schedule,
)


class LevelTrainer(MeasuredLevels):
    """Trains and evaluates all levels of a nested model together.

    `fit` and `evaluate` report:

    - "loss": the sum that training minimises, of the levels' weighted losses and the weight
      regularisation.
    - "level_<l>_loss" and "level_<l>_<metric>" for each level: the compiled loss, without weight
      regularisation and distillation, and each metric.
    - "<metric>", such as "accuracy" or "val_accuracy": the metric of the densest level, because a
      call of the model runs the densest level.
    - "level_<l>_sparsity" in the logs of an epoch.
    """

    def fit(
        self,
        x: Data = None,
        y: Data = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: KerasArgument = "auto",
        callbacks: KerasCallbacks = None,
        *args: KerasArgument,
        **kwargs: KerasArgument,
    ) -> Any:
        """Trains all levels, as `keras.Model.fit`; warns if a level misses its final sparsity.

        Args:
            x: As in `keras.Model.fit`, and so are the other arguments.
            y: The targets, unless `x` has targets.
            batch_size: Where the data are arrays.
            epochs: The number of the last epoch.
            verbose: How much Keras shows.
            callbacks: Callbacks of Keras and of `nested_keras.callbacks`.
            *args: Other arguments of `keras.Model.fit`.
            **kwargs: Other arguments of `keras.Model.fit`, by name.

        Returns:
            The history, with the sparsity of each level.
        """
        with fitting.level_states(self, callbacks) as (watched, states):
            history = super().fit(x, y, batch_size, epochs, verbose, watched, *args, **kwargs)
        fitting.warn_of_shortfall(self, hint=states.hint(), stacklevel=2)
        return history

    def compile(
        self,
        optimizer: KerasOptimizer = "rmsprop",
        loss: KerasLoss = None,
        loss_weights: KerasArgument = None,
        metrics: KerasMetrics = None,
        weighted_metrics: KerasMetrics = None,
        *,
        routing: Schedule = 1.0,
        level_loss_weights: Iterable[float] | None = None,
        distillation: Distillation | None = None,
        sandwich: bool = False,
        split_batch: bool = False,
        jit_compile: bool = False,
        **kwargs: KerasArgument,
    ) -> None:
        """Configures the model for training; arguments not named here as `keras.Model.compile`.

        Args:
            optimizer: One optimizer for all levels.
            loss: Applied at each level; a loss object serves all levels.
            loss_weights: Weights of the model's outputs.
            metrics: Metrics; each level has copies of the metric objects
                (`nested_keras.nesting.metric_copies`).
            weighted_metrics: Metrics that use the sample weights.
            routing: The routing coefficient in [0, 1], or a Keras `LearningRateSchedule` of the
                coefficient; one for all levels or one per level (the value of level 0 has no
                effect). 1 trains jointly; 0.5 helps the sparsest level when a teacher is used; 0 is
                strict.
            level_loss_weights: The weight of each level's loss, >= 0; None for 1.
            distillation: How the levels learn from a teacher or the densest level; None to learn
                from the labels alone.
            sandwich: Train the densest, the sparsest and one random level between at each step.
            split_batch: Share the samples of a batch out to the levels that a step trains (of N
                levels, level N-1 gets samples 0, N, 2N, ..., the next sparser 1, N+1, ...). The
                weights that levels share then learn from N times as many samples a step as a
                level sees: give batches N times as large.
            jit_compile: XLA; off unless asked for, because XLA slows the step down on CPUs.
            **kwargs: Other arguments of `keras.Model.compile`.

        Raises:
            TypeError: If routing is neither a number nor a schedule, values per level come in a
                dict, or distillation is another thing, such as the teacher itself.
            ValueError: If an argument is out of range, a metric cannot be copied, or the
                distillation does not fit the model (`Distillation.for_model`) or split_batch.
        """
        settled = objectives.settle(
            self,
            Measures(loss, loss_weights, metrics, weighted_metrics),
            routing=routing,
            level_loss_weights=level_loss_weights,
            distillation=distillation,
            sandwich=sandwich,
            split_batch=split_batch,
        )
        # Without the metrics, because Keras would report its own copies, which nobody updates.
        super().compile(optimizer, loss, loss_weights, jit_compile=jit_compile, **kwargs)
        self._take(settled)

    def _take(self, settled: objectives.Objectives) -> None:
        """Prepares the model for steps with the settings of compile()."""
        if self.optimizer is not None and not self.optimizer.built:
            # Built now, because a backup can only be restored into a built optimizer.
            self.optimizer.build(self.trainable_variables)
        before = self._objectives.slots if hasattr(self, "_objectives") else {}
        slots = optimizer_slots.first_values(self, before)
        self._objectives = dataclasses.replace(settled, slots=slots)
        for level in range(self.levels):
            self.at_level(level)  # made here, not while a train step is traced

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of compile() in a form that can be saved."""
        config = dict(super().get_compile_config())
        if config:
            given = self._objectives
            teacher = given.distillation is not None and given.distillation.teacher is not None
            save = keras.saving.serialize_keras_object
            config["metrics"] = save(given.measures.metrics)
            config["weighted_metrics"] = save(given.measures.weighted_metrics)
            config["routing"] = [save(each.routing) for each in given.levels]
            config["level_loss_weights"] = [each.weight for each in given.levels]
            config["distillation"] = None if teacher else save(given.distillation)
            config["sandwich"] = given.sandwich
            config["split_batch"] = given.split_batch
            config["had_teacher"] = teacher
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as `get_compile_config` says."""
        config = dict(config)
        if config.pop("had_teacher", False):
            warnings.warn(
                f"model {self.name!r} was trained with a teacher, and the file has no teacher: "
                "give distillation to compile() again before training on",
                stacklevel=2,
            )
        self.compile(**keras.saving.deserialize_keras_object(config))

    def level_loss(
        self,
        level: int,
        *,
        x: KerasTensor,
        y: Data,
        y_pred: KerasTensor,
        sample_weight: Data = None,
    ) -> Any:
        """Computes the loss of one level; a subclass may override this method to add terms.

        The levels are run from the densest to the sparsest, in training and in evaluation.

        Args:
            level: The level, 0..levels-1.
            x: The inputs of the batch.
            y: The targets, or None.
            y_pred: The level's outputs.
            sample_weight: The weights of the samples, or None.

        Returns:
            A scalar tensor: the compiled loss and the activity regularisation.

        Raises:
            ValueError: If there is neither a loss nor regularisation nor distillation to compute.
        """
        terms = [
            regularization.share_of_replica(term)
            for term in regularization.activity_losses(self, level)
        ]
        judge = self._objectives.levels[level].judge
        terms += judge.losses_of(Batch(x, y, sample_weight), y_pred)
        if terms:
            return tf.add_n(terms)
        if self._objectives.distillation is None and not regularization.regularized(self):
            raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`.")
        return regularization.no_loss()

    def train_step(self, data: Data) -> dict[str, Any]:
        """Trains the levels on one batch with one optimizer step."""
        batch = Batch(*keras.utils.unpack_x_y_sample_weight(data))
        variables = self.trainable_variables
        total, summed = gradients.of_weight_losses(self, variables)
        distillation = self._objectives.distillation
        sources: list[Any] = []
        if distillation is not None and distillation.teacher is not None:
            sources.append(distillation.teacher(batch.x, training=False))
        turns = self._objectives.turns()
        if self._objectives.split_batch:
            tf.debugging.assert_greater_equal(
                batch.size(),
                len(turns),
                f"split_batch must have a sample for each of {len(turns)} levels in every batch",
            )
        for turn, levels in enumerate(turns):
            seen, taught = batch, tuple(sources)
            if self._objectives.split_batch:
                seen = batch.share(turn, len(turns))
                taught = share(taught, turn, len(turns))
            step = functools.partial(self._level_step, seen, taught, variables)
            loss, found, y_pred = _run_one_of(levels, step, self.optimizer)
            total += loss
            summed = [tf.add(*pair) for pair in zip(summed, found, strict=True)]
            if distillation is not None and distillation.in_place and levels[0] == self.levels - 1:
                sources.append(y_pred)
        if variables:
            self.optimizer.apply_gradients(zip(summed, variables, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
            fitting.step_counter(self.optimizer).assign_add(1)  # the masks go by the steps
        _track(self._loss_mean(), total, batch)
        return _step_logs(self)

    def test_step(self, data: Data) -> dict[str, Any]:
        """Evaluates all levels, or one level, on one batch, without distillation."""
        batch = Batch(*keras.utils.unpack_x_y_sample_weight(data))
        total = regularization.weight_losses(self)
        only = self._only_level
        for level in reversed(range(self.levels)) if only is None else (only,):
            y_pred = self.at_level(level)(batch.x, training=False)
            total += self._objectives.levels[level].weight * _own_loss(
                self, self._objectives.levels[level], batch, y_pred
            )
        _track(self._loss_mean(), total, batch)
        return _step_logs(self)

    def _loss_mean(self) -> Any:
        """Returns the mean of the loss, which Keras makes in compile()."""
        return next(metric for metric in self.metrics if metric.name == "loss")

    def _level_step(
        self, batch: Batch, sources: tuple[Any, ...], variables: list[Any], level: int
    ) -> tuple[Any, list[Any], Any]:
        """Runs one level on a batch.

        Returns:
            The level's share of the loss, its gradient by each variable, and the outputs.
        """
        objective = self._objectives.levels[level]
        distillation = self._objectives.distillation
        with tf.GradientTape() as tape:
            y_pred = self.at_level(level)(batch.x, training=True)
            loss = _own_loss(self, objective, batch, y_pred)
            if distillation is not None and sources:
                towards = distillation.loss()
                distilled = towards(towards.softened(sources), y_pred, batch.sample_weight)
                distilled = tf.cast(distilled, loss.dtype)
                loss = (1.0 - distillation.weight) * loss + distillation.weight * distilled
            loss = objective.weight * loss
            scaled = self.optimizer.scale_loss(loss)
        found = gradients.by_variable(tape, scaled, variables)
        return loss, gradients.route(self, objective, variables, found), y_pred


def _run_one_of(
    levels: tuple[int, ...], step: Callable[[int], Any], optimizer: KerasOptimizer
) -> Any:
    """Runs a step at one of some levels, drawn by the number of the optimizer's step."""
    if len(levels) == 1:
        return step(levels[0])
    # The draw depends on the step alone, so every worker and a resumed run draw the same level.
    count = tf.cast(fitting.step_counter(optimizer).value, tf.int32)
    seed = tf.stack([0, count])
    index = tf.random.stateless_uniform([], seed, maxval=len(levels), dtype=tf.int32)
    return tf.switch_case(index, [functools.partial(step, level) for level in levels])


def _own_loss(
    model: LevelTrainer, objective: objectives.LevelObjective, batch: Batch, y_pred: KerasTensor
) -> Any:
    """Computes a level's loss, and updates the level's metrics."""
    loss = model.level_loss(
        objective.level, x=batch.x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight
    )
    _track(objective.tracker, loss, batch)
    objective.judge.count(batch, y_pred)
    return loss


def _track(tracker: KerasMetric, loss: KerasTensor, batch: Batch) -> None:
    """Averages a loss over the batches; each replica of a strategy holds a share of the loss."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    tracker.update_state(loss * float(replicas), sample_weight=batch.size())


def _step_logs(model: LevelTrainer) -> dict[str, Any]:
    """Returns the logs of a step."""
    logs = model.get_metrics_result()
    if several_workers():
        # Keras averages each log over the workers, along an axis that scalars do not have.
        return {name: tf.expand_dims(value, 0) for name, value in logs.items()}
    return logs
