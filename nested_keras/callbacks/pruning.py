"""The sparsity ramp of `NestedModel.fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nested_keras.callbacks.check import check_model
from nested_keras.nesting import fitting
from nested_keras.typing import KerasModel, Logs, Schedule

_SHARES = {"begin": 0.0, "end": 0.6, "frequency": None}


class NestedPruning(fitting.LevelCallback):
    """Ramps the sparsity of all levels along one schedule.

    Without a schedule the ramp is cubic, like tfmot's `PolynomialDecay`. The ramp runs from the
    share `begin` of all steps (epochs times steps per epoch) to the share `end`. The rest of the
    steps trains at the final sparsities. Where the data do not tell the number of steps, the first
    epoch counts the steps, and the ramp begins after the first epoch. A model at its final
    sparsities stays there. A model in the middle of a ramp goes on from its present sparsities.

    With a schedule, each level's sparsity becomes `schedule(step) / final_sparsity` times its final
    sparsity, at each step at which the schedule wants to prune.

    All level maps are recomputed from the weights' magnitudes. Before the ramp begins nothing
    changes. After the last step of the ramp the levels have their final sparsities exactly.

    A step is one batch, as learning rate schedules count, also where the optimizer accumulates
    gradients. The optimizer holds the number of the step. So a run that goes on from a saved model
    or by `keras.callbacks.BackupAndRestore` continues the ramp, and the callback has nothing to
    save.

    Callbacks that look for the best epoch ignore all epochs before the levels reach their final
    sparsities, because early epochs score better only by their density. Such callbacks are
    `EarlyStopping`, `ModelCheckpoint(save_best_only=True)`, `ReduceLROnPlateau` and others with an
    attribute `monitor`.

    Args:
        schedule: None, a schedule of tfmot (`PolynomialDecay`, `ConstantSparsity`) or any function
            of a step that returns (should_prune, sparsity). The attributes `begin_step`,
            `frequency` and `end_step` of the schedule are optional. The callback calls the schedule
            every `frequency` steps only, and always prunes at `end_step` (unless negative).
        begin: Without a schedule: the share of the steps before the ramp, 0..1.
        end: Without a schedule: the share of the steps at which the ramp is complete, > begin, at
            most 1.
        frequency: Without a schedule: the number of steps between two changes of the level maps;
            None for a fiftieth of all steps.
        final_sparsity: With a schedule: the sparsity at which the ramp is complete, in (0, 1];
            None for the schedule's own `final_sparsity` or `target_sparsity`.
        regrow: Until the end of the ramp, weights that no level uses learn on with the gradient of
            the densest level, and come back if they outgrow other weights. Without `regrow`, unused
            weights stay zero.

    Raises:
        TypeError: If the schedule cannot be called.
        ValueError: If an argument is out of range or does not go with the others, final_sparsity
            is None and the schedule has none, or weights are to regrow and the schedule has no
            end_step.
    """

    ramps = True

    def __init__(
        self,
        schedule: Callable[[int], tuple[Any, Any]] | None = None,
        *,
        begin: float = 0.0,
        end: float = 0.6,
        frequency: int | None = None,
        final_sparsity: float | None = None,
        regrow: bool = False,
    ) -> None:
        super().__init__()
        self._shares: dict[str, Any] | None = None
        self._regrow = regrow
        if schedule is None:
            if final_sparsity is not None:
                raise ValueError(
                    "final_sparsity must go with a schedule; without one the levels end at the "
                    f"sparsities of the model: got {final_sparsity}"
                )
            _check_shares(begin=begin, end=end, frequency=frequency)
            self._shares = {"begin": begin, "end": end, "frequency": frequency}
        else:
            shares = {"begin": begin, "end": end, "frequency": frequency}
            if shares != _SHARES:
                raise ValueError(
                    "begin, end and frequency must go without a schedule, which has its own: "
                    f"got {shares}"
                )
            self._follow(schedule, _check_schedule(schedule, final_sparsity, regrow=regrow))
        self._first_step = self._step = 0
        self._counted = -1

    def set_model(self, model: KerasModel) -> None:
        """Accepts nested models only."""
        super().set_model(check_model(model))

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forgets an earlier fit."""
        self._counted = -1
        if self._shares is not None:
            self._schedule: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Reads the step, because a callback may have restored another step."""
        counted = _steps_taken(self.model)
        if counted != self._counted:
            self._step = counted
        self._first_step = self._step
        if self._schedule is None:
            self._plan(epoch)
        if self._schedule is not None:
            self._set_regrow(self._step < self._end_step)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Recomputes the level maps if it is time."""
        self._step = self._first_step + batch
        if self._schedule is not None and any(map(self._is_due, self._window())):
            self._prune()

    def settle(self) -> None:
        """Completes a ramp that ends with the epoch."""
        self._counted = _steps_taken(self.model)
        steps = (self.params or {}).get("steps")
        # The last execution of an epoch may have had fewer steps, or no step where the data just
        # ended. The optimizer's number lags behind where a loss scale skips steps.
        after = self._step + self.model.steps_per_execution
        self._step = min(after, self._first_step + steps) if steps else self._counted
        self._complete()

    def on_train_end(self, logs: Logs = None) -> None:
        """Completes a ramp that ends with the training."""
        self._complete()
        self._set_regrow(False)

    def _complete(self) -> None:
        if self._schedule is not None and self._end_step in self._window():
            self._prune()

    def _follow(self, schedule: Schedule, final_sparsity: float) -> None:
        """Takes a schedule, with its optional attributes."""
        self._schedule = schedule
        self._final_sparsity = final_sparsity
        self._begin_step = int(getattr(schedule, "begin_step", 0))
        self._frequency = int(getattr(schedule, "frequency", 1))
        self._end_step = int(getattr(schedule, "end_step", -1))

    def _plan(self, epoch: int) -> None:
        """Lays the ramp over the steps of the fit, as soon as the number of steps is known."""
        params, shares = self.params or {}, self._shares
        assert shares is not None
        if not params.get("epochs"):
            raise ValueError(
                "NestedPruning must have a schedule if fit does not tell the number of epochs: "
                f"got the parameters {params}"
            )
        epochs, steps = params["epochs"], params.get("steps")
        counted = not steps
        if counted and epoch:
            steps = self._step // epoch
        if not steps:
            if epochs == 1:
                raise ValueError(
                    "NestedPruning must have a schedule, or fit steps_per_epoch, where the data do "
                    "not tell the number of steps and there is one epoch: got neither"
                )
            return  # the first epoch counts the steps
        first = self._step - epoch * steps  # a fit may go on with the steps of an earlier fit
        ramp = CubicRamp.over(
            epochs * steps, **shares, first=first, earliest=steps if counted else 0
        )
        # A resumed fit must have the same ramp as a fit without a stop.
        if not epoch or first:
            ramp = dataclasses.replace(ramp, reached=self.model.ramp_reached())
        if not self.model.shortfall():
            ramp = dataclasses.replace(ramp, begin_step=0, end_step=-1, reached=1.0)
        self._follow(ramp, 1.0)

    def _prune(self) -> None:
        """Recomputes the level maps, and freezes them after the schedule."""
        regrow = self._regrow and self._step < self._end_step
        self._set_regrow(regrow)
        self.model.prune(self._ratio(self._step), regrow=regrow)

    def _set_regrow(self, value: bool) -> None:
        """Sets whether pruned weights have a gradient; a change makes a new train function."""
        value = value and self._regrow
        changed = [layer for layer in self.model.nested_layers if layer.regrow != value]
        for layer in changed:
            layer.regrow = value
        if changed:
            self.model.make_train_function(force=True)

    def _window(self) -> range:
        """Returns the steps since the last call of the callback."""
        return range(max(0, self._step - self.model.steps_per_execution + 1), self._step + 1)

    def _is_due(self, step: int) -> bool:
        """Says whether to recompute the level maps at a step."""
        if step < self._begin_step or (step - self._begin_step) % self._frequency:
            return step == self._end_step
        return step == self._end_step or bool(self._schedule(step)[0])

    def _ratio(self, step: int) -> float:
        """Returns how far along the ramp a step is."""
        # In float32, as in tfmot, so that the last step gives 1 exactly.
        ratio = float(np.float32(self._schedule(step)[1]) / np.float32(self._final_sparsity))
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(
                f"schedule must give a sparsity in [0, {self._final_sparsity}]: got "
                f"{float(self._schedule(step)[1])} at step {step}"
            )
        return ratio


def _steps_taken(model: KerasModel) -> int:
    # Called at the ends of an epoch only, because reading a variable waits for the device.
    return int(fitting.step_counter(model.optimizer).numpy())


@dataclasses.dataclass(frozen=True)
class CubicRamp:
    """A schedule whose sparsity is the share of the ramp: fast at first, slow at the end.

    Attributes:
        begin_step: The first step of the ramp.
        end_step: The step at which the ramp is complete; -1 for a complete ramp.
        frequency: The steps from one change to the next.
        reached: The share of the ramp that the model has behind it.
        final_sparsity: The last value of the schedule, which is 1, the whole ramp.
    """

    begin_step: int
    end_step: int
    frequency: int
    reached: float = 0.0
    final_sparsity: float = dataclasses.field(default=1.0, init=False)

    @classmethod
    def over(
        cls,
        steps: int,
        *,
        begin: float,
        end: float,
        frequency: int | None,
        first: int = 0,
        earliest: int = 0,
    ) -> CubicRamp:
        """Returns the ramp over a share of the steps of a training.

        Args:
            steps: All steps of the training, >= 1.
            begin: The share of the steps before the ramp, 0..1.
            end: The share of the steps at which the ramp is complete, > begin, at most 1.
            frequency: The steps from one change to the next; None for a fiftieth of all steps.
            first: The number of the first step.
            earliest: The smallest number of steps between the first step and the ramp.

        Raises:
            ValueError: If an argument is out of range.
        """
        _check_shares(begin=begin, end=end, frequency=frequency)
        begin_step = first + max(int(begin * steps), earliest)
        end_step = max(first + int(end * steps), begin_step + 1)
        return cls(begin_step, end_step, frequency or max(1, steps // 50))

    def __call__(self, step: int) -> tuple[bool, float]:
        """Returns whether to prune at a step, and the share of the ramp, 0..1."""
        if self.end_step < 0:
            return False, 1.0
        left = (self.end_step - step) / (self.end_step - self.begin_step)
        share = 1.0 - min(max(left, 0.0), 1.0) ** 3
        return self.reached <= share and step <= self.end_step, max(share, self.reached)


def _check_shares(*, begin: float, end: float, frequency: int | None) -> None:
    if not 0.0 <= begin < end <= 1.0:
        raise ValueError(
            f"begin and end must be shares of the steps, 0 <= begin < end <= 1: got {begin} and "
            f"{end}"
        )
    if frequency is not None and frequency < 1:
        raise ValueError(f"frequency must be at least 1: got {frequency}")


def _check_schedule(schedule: Schedule, final_sparsity: float | None, *, regrow: bool) -> float:
    """Returns the sparsity at which the ramp of a schedule is complete."""
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
            "final_sparsity must lie in (0, 1], and must be given if the schedule has none: "
            f"got {final_sparsity}"
        )
    end_step = int(getattr(schedule, "end_step", -1))
    if regrow and end_step < 0:
        raise ValueError(
            "schedule must have an end_step, at which the masks freeze, for weights to regrow: "
            f"got {end_step}"
        )
    return float(final_sparsity)
