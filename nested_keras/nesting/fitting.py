"""The addition to Keras's `fit`: settle the levels at the end of each epoch.

Before an epoch is validated, the callbacks of nested models settle: the masks of that step are in
place and the BatchNorm statistics fit the weights. The sparsities then join the logs. During a
ramp, the callbacks that look for the best epoch do not see the epochs that end short of the final
sparsities, because such epochs score better but do not have the sparsities that the user asked for.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import keras

from nested_keras.typing import (
    KerasArgument,
    KerasCallback,
    KerasCallbacks,
    KerasModel,
    KerasOptimizer,
    Logs,
)

_OF_LEVELS = re.compile(r"(val_)?(level_\d+|mean)_(?P<metric>.+)")


class LevelCallback(keras.callbacks.Callback):
    """A callback of a nested model that has work to do before an epoch is validated.

    Attributes:
        ramps: Whether the callback moves the sparsities of the levels.
    """

    ramps: ClassVar[bool] = False

    def settle(self) -> None:
        """Brings the model into the state to validate, log and save."""


def step_counter(optimizer: KerasOptimizer) -> Any:
    """Returns the variable that counts the train steps, as learning rate schedules see them.

    `iterations` counts the updates instead, fewer where gradients are accumulated.

    Args:
        optimizer: A Keras optimizer.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    return next(v for v in optimizer.variables if v.name == "iteration")


def warn_of_shortfall(model: KerasModel, *, hint: str, stacklevel: int) -> None:
    """Warns if levels are not at their sparsities.

    Args:
        model: The nested model.
        hint: Advice, at the end of the warning.
        stacklevel: As `warnings.warn`, seen from the caller.
    """
    shortfall = model.shortfall()
    if shortfall:
        warnings.warn(
            f"levels are not at their sparsities ({shortfall}): {hint}", stacklevel=stacklevel + 1
        )


@contextlib.contextmanager
def level_states(model: KerasModel, callbacks: KerasCallbacks) -> Iterator[tuple[Any, LevelStates]]:
    """Puts the keeper of the levels' states in front of the callbacks of a fit.

    Args:
        model: The nested model.
        callbacks: As `fit` takes them.

    Yields:
        The callbacks to give to Keras, and the keeper.
    """
    given = isinstance(callbacks, keras.callbacks.CallbackList)
    members = callbacks.callbacks if given else keras.tree.flatten(callbacks or [])
    states = LevelStates([each for each in members if each is not None])
    with contextlib.ExitStack() as stack:
        for callback in states.monitors:
            stack.enter_context(_only_when(lambda: states.final, callback))
        if given:
            states.set_model(model)
            members.insert(0, states)
            stack.callback(members.remove, states)
        yield (callbacks if given else [states, *members]), states


class LevelStates(keras.callbacks.Callback):
    """Settles the levels before an epoch is validated, and logs their sparsities.

    Args:
        members: The other callbacks of the fit.

    Attributes:
        monitors: The members that look for the best epoch, if a ramp takes part.
        final: Whether the levels are at their sparsities.
        ever_final: Whether the levels were at their sparsities at the end of any epoch.
    """

    def __init__(self, members: list[Any]) -> None:
        super().__init__()
        settling = [each for each in members if isinstance(each, LevelCallback)]
        # Masks settle before statistics, because the statistics depend on the masks.
        self._settling = sorted(settling, key=lambda callback: not callback.ramps)
        self._watching = [each for each in members if isinstance(_monitor(each), str)]
        self.ramps = any(each.ramps for each in settling)
        self.monitors = [each for each in self._watching if self.ramps and _seeks_best(each)]
        self.final = False
        self.ever_final = False
        self._settled = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Notes the state for the callbacks that act within an epoch."""
        self._settled = False
        self.final = not self.model.shortfall()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Settles the levels before the validation."""
        self._settle()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Settles the levels if no validation did, and adds the sparsities to the logs."""
        self._settle()
        self._set_modes()
        self.final = not self.model.shortfall()
        self.ever_final |= self.final
        if logs is not None:  # one mapping, which the callbacks behind this one see as well
            for level in range(self.model.levels):
                logs[f"level_{level}_sparsity"] = self.model.level_sparsity(level)

    def hint(self) -> str:
        """Says why a fit may have ended short of the sparsities."""
        if not self.ramps:
            return "give callbacks.NestedPruning() to fit, or call prune()"
        if self.ever_final:
            return "a callback restored weights from before the end of the ramp"
        missed = sorted({type(each).__name__ for each in self.monitors})
        without = f"; {', '.join(missed)} had no epoch to choose from" if missed else ""
        return f"the fit ended before the ramp of NestedPruning{without}"

    def _set_modes(self) -> None:
        """Tells callbacks that monitor a level whether less is better, because Keras cannot say."""
        for callback in self._watching:
            if getattr(callback, "mode", None) == "auto":
                callback.mode = _mode(self.model, callback.monitor) or "auto"

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            for callback in self._settling:
                callback.settle()


@contextlib.contextmanager
def _only_when(wanted: Callable[[], bool], callback: KerasCallback) -> Iterator[None]:
    """Hides the epochs from a callback that compares epochs, unless `wanted()` holds."""
    waits = False

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: KerasArgument, **kwargs: KerasArgument) -> None:
            nonlocal waits
            if isinstance(callback, keras.callbacks.ReduceLROnPlateau):
                # ReduceLROnPlateau logs the learning rate of each epoch, so it sees every epoch;
                # on_train_begin makes it forget the epochs that do not count.
                if waits or not wanted():
                    callback.on_train_begin()
                waits = not wanted()
                method(*args, **kwargs)
            elif wanted():
                method(*args, **kwargs)

        return guarded

    names = ["on_epoch_end"]
    if hasattr(callback, "save_best_only"):
        names.append("on_train_batch_end")
    own = dict(vars(callback))
    for name in names:
        setattr(callback, name, guard(getattr(callback, name)))
    try:
        yield
    finally:
        for name in names:
            delattr(callback, name)
            if name in own:
                setattr(callback, name, own[name])


def _monitor(callback: KerasCallback) -> Any:
    return getattr(callback, "monitor", None)


def _seeks_best(callback: KerasCallback) -> bool:
    """Says whether a callback compares epochs by a quantity that the callback monitors."""
    return bool(getattr(callback, "save_best_only", True))


def _mode(model: KerasModel, monitor: str) -> str | None:
    """Returns "min" or "max" for a quantity of levels; None where nobody says."""
    found = _OF_LEVELS.fullmatch(monitor)
    if found is None:
        return None
    if found["metric"].endswith("loss"):
        return "min"
    names = [metric.name for metric in model.level_metrics()]
    name = next((name for name in names if found["metric"].endswith(name)), None)
    return None if name is None else _mode_of_metric(model, name)


def _mode_of_metric(model: KerasModel, name: str) -> str | None:
    """Returns "min" or "max" for a metric, as a callback of Keras chooses for the model."""
    probe = keras.callbacks.EarlyStopping(name, patience=2)
    probe.set_model(model)
    probe.on_train_begin()
    try:
        for value in (0.0, 1.0):
            probe.on_epoch_end(0, {name: value})
    except ValueError:  # Keras does not know the direction of the metric.
        return None
    return "max" if probe.best == 1.0 else "min"
