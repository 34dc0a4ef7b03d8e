"""Callbacks of `NestedModel.fit`: the sparsity ramp and the BatchNorm re-estimation."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nested_keras import layers
from nested_keras.model import NestedModel


class NestedPruning(keras.callbacks.Callback):
    """Ramps the sparsity of all levels along one schedule.

    At each step at which the schedule says so, each level's sparsity becomes its final one times
    `schedule(step) / final_sparsity`, and all level maps are recomputed from the weights'
    magnitudes. Before the schedule begins nothing changes; after its last step the levels have
    their final sparsities exactly.

    The step is that of the optimizer (`optimizer.iterations`), so that a run resumed from a saved
    model or by `keras.callbacks.BackupAndRestore` goes on where it stopped, and the callback itself
    has nothing to save.

    Args:
        schedule: A schedule of tfmot (`PolynomialDecay`, `ConstantSparsity`) or any function of a
            step that returns (should_prune, sparsity). Of its attributes `begin_step`, `frequency`
            and `end_step` those that exist are used: the schedule is asked every `frequency` steps
            only, and `end_step` (unless negative) is always a step of pruning.
        final_sparsity: The sparsity at which the ramp is complete, in (0, 1]; None for the
            schedule's own `final_sparsity` or `target_sparsity`.
        regrow: Let the weights that no level uses go on learning, with the gradient of the densest
            level, and come back if they outgrow others, until `end_step`. Without it they are zero
            for good.

    Raises:
        TypeError: if the schedule cannot be called.
        ValueError: if final_sparsity is out of range, or None and the schedule has none, or
            weights are to regrow and the schedule has no end_step.
    """

    def __init__(
        self,
        schedule: Callable[[int], tuple[Any, Any]],
        *,
        final_sparsity: float | None = None,
        regrow: bool = False,
    ) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "schedule must be a function of the step that returns (should_prune, sparsity): "
                f"got {schedule!r}"
            )
        for attribute in ("final_sparsity", "target_sparsity"):
            if final_sparsity is None:
                final_sparsity = getattr(schedule, attribute, None)
        if final_sparsity is None or not 0.0 < final_sparsity <= 1.0:
            raise ValueError(
                "final_sparsity must lie in (0, 1], and be given where the schedule has none: "
                f"got {final_sparsity}"
            )
        self._schedule = schedule
        self._final_sparsity = final_sparsity
        self._begin_step = int(getattr(schedule, "begin_step", 0))
        self._frequency = int(getattr(schedule, "frequency", 1))
        self._end_step = int(getattr(schedule, "end_step", -1))
        if regrow and self._end_step < 0:
            raise ValueError(
                "schedule must have an end_step, at which the masks freeze, for weights to regrow: "
                f"got {self._end_step}"
            )
        self._regrow = regrow
        self._first_step: int | None = None

    def set_model(self, model: Any) -> None:
        """Accepts nested models only."""
        super().set_model(_check_model(model))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Forgets the step: a callback may restore an earlier one between epochs."""
        self._first_step = None
        self._set_regrow(int(self.model.optimizer.iterations.numpy()) < self._end_step)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Recomputes the level maps if it is time."""
        if self._first_step is None:
            # Read once per epoch: reading a variable waits for the device.
            self._first_step = int(self.model.optimizer.iterations.numpy()) - batch
        step = self._first_step + batch
        if any(self._is_due(past) for past in self._window(step)):
            self._prune(step)

    def on_train_end(self, logs: Any = None) -> None:
        """Completes a ramp that ends with the training."""
        step = int(self.model.optimizer.iterations.numpy())
        if self._end_step in self._window(step):
            self._prune(step)
        self._set_regrow(False)

    def _prune(self, step: int) -> None:
        """Recomputes the level maps, and freezes them after the schedule."""
        self._set_regrow(step < self._end_step)
        self.model.prune(self._ratio(step), regrow=self._regrow and step < self._end_step)

    def _set_regrow(self, value: bool) -> None:
        """Says whether pruned weights have a gradient; a change makes a new train function."""
        value = value and self._regrow
        changed = [layer for layer in self.model.nested_layers if layer.regrow != value]
        for layer in changed:
            layer.regrow = value
        if changed:
            self.model.make_train_function(force=True)

    def _window(self, step: int) -> range:
        """Returns the steps since the callback was called last."""
        return range(max(0, step - self.model.steps_per_execution + 1), step + 1)

    def _is_due(self, step: int) -> bool:
        """Says whether to recompute the level maps at a step."""
        if step < self._begin_step or (step - self._begin_step) % self._frequency:
            return step == self._end_step
        return step == self._end_step or bool(self._schedule(step)[0])

    def _ratio(self, step: int) -> float:
        """Returns how far along the ramp a step is."""
        # In float32, as tfmot computes: the last step gives 1 exactly.
        ratio = float(np.float32(self._schedule(step)[1]) / np.float32(self._final_sparsity))
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(
                f"schedule must give a sparsity in [0, {self._final_sparsity}]: got "
                f"{float(self._schedule(step)[1])} at step {step}"
            )
        return ratio


class BatchNormReestimation(keras.callbacks.Callback):
    """Re-estimates the BatchNorm statistics of all levels when training ends.

    Put it after `NestedPruning`, and after callbacks that restore weights. See
    `reestimate_batch_norm` for the arguments.

    Args:
        data: Training data, augmented as in training.
        batches: At most so many batches; None for all.
        batch_size: The batch size where `data` is an array.
    """

    def __init__(self, data: Any, *, batches: int | None = None, batch_size: int = 32) -> None:
        super().__init__()
        self._data = data
        self._batches = batches
        self._batch_size = batch_size

    def set_model(self, model: Any) -> None:
        """Accepts nested models only."""
        super().set_model(_check_model(model))

    def on_train_end(self, logs: Any = None) -> None:
        """Re-estimates the statistics."""
        reestimate_batch_norm(
            self.model, self._data, batches=self._batches, batch_size=self._batch_size
        )


def reestimate_batch_norm(
    model: Any, data: Any, *, batches: int | None = None, batch_size: int = 32
) -> None:
    """Replaces the BatchNorm statistics of all levels by plain averages over data.

    All weights stay as they are. Each batch is normalised with its own statistics, as in training,
    but dropout is off. Over the batches, weighted by their size, the mean is the average of the
    batches' means, and the variance is pooled (law of total variance)::

        mean = average(mean_b),    variance = average(variance_b + mean_b^2) - mean^2

    Use augmented training images (2000 are enough); others cost accuracy. Layers that are not
    trainable keep their statistics.

    Args:
        model: The nested model.
        data: An array (n, ...), or an iterable such as `tf.data.Dataset` of batches x, (x, y) or
            (x, y, sample_weight).
        batches: At most so many batches, >= 1; None for all.
        batch_size: The batch size where `data` is an array, >= 1.

    Raises:
        TypeError: if the model is not nested.
        ValueError: if batches or batch_size are below 1, there is no batch, or the model is
            trained quantisation-aware.
    """
    _check_model(model)
    if model.quantization is not None:
        raise ValueError(
            "BatchNorm statistics must stay after export.quantize_aware, which measured the "
            "activations with them: re-estimate them before it"
        )
    for argument, value in (("batches", batches), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{argument} must be at least 1: got {value}")
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, layers.NestedBatchNormalization) and layer.trainable
    ]
    statistics = tf.function(lambda x: _statistics(model, norms, x))
    samples = 0
    sums = [(0.0, 0.0) for _ in norms]
    for x in _batches(data, batches, batch_size):
        size = int(keras.tree.flatten(x)[0].shape[0])
        samples += size
        for index, (mean, variance) in enumerate(statistics(x)):
            means, variances = np.float64(mean), np.float64(variance)  # (calls, levels, channels)
            sums[index] = (
                sums[index][0] + size * means.mean(0),
                sums[index][1] + size * (variances + np.square(means)).mean(0),
            )
    if not samples:
        raise ValueError("data must give at least one batch: got none")
    for layer, (mean_sum, square_sum) in zip(norms, sums, strict=True):
        mean = mean_sum / samples
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square_sum / samples - np.square(mean), 0.0))


def _statistics(model: Any, norms: list[Any], x: Any) -> list[tuple[Any, Any]]:
    """Runs all levels and returns each layer's batch means and variances.

    Returns:
        Per layer two tensors (calls, levels, channels): a shared layer is called several times.
    """
    found: dict[tuple[int, int], list[tuple[Any, Any]]] = {}

    def sink(layer: Any, level: int, mean: Any, variance: Any) -> None:
        found.setdefault((id(layer), level), []).append((mean, variance))

    with contextlib.ExitStack() as stack:
        for norm in norms:
            norm.statistics_sink = sink
            stack.callback(setattr, norm, "statistics_sink", None)
        for level in range(model.levels):
            model.at_level(level)(x, training=False)
    stacked = []
    for norm in norms:
        calls = [found[id(norm), level] for level in range(model.levels)]
        mean, variance = (
            tf.stack([tf.stack([call[part] for call in level]) for level in calls], axis=1)
            for part in (0, 1)
        )
        stacked.append((mean, variance))
    return stacked


def _batches(data: Any, batches: int | None, batch_size: int) -> Iterator[Any]:
    """Yields the inputs of the batches."""
    if hasattr(data, "shape"):
        data = [data[start : start + batch_size] for start in range(0, len(data), batch_size)]
    for batch in itertools.islice(data, batches):
        yield keras.utils.unpack_x_y_sample_weight(batch)[0]


def _check_model(model: Any) -> Any:
    if not isinstance(model, NestedModel):
        raise TypeError(f"model must be a NestedModel: got {type(model).__name__}")
    return model
