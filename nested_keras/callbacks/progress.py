"""The progress of a training with several levels, in lines that fit a terminal."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import keras
import numpy as np

from nested_keras.callbacks.check import check_model
from nested_keras.typing import KerasModel, Logs

_WIDTH = 79


class LevelProgress(keras.callbacks.Callback):
    """Shows the results of all levels after each epoch, in a line of at most 79 characters.

    Give `verbose=0` to `fit`, because Keras's own line repeats each name for each level::

        epoch  3/20  14 s  loss 0.731  val accuracy 81.2 84.0 85.1%  zeros 42 39 35%

    The levels stand in order, level 0 first. Many levels take several lines.

    Args:
        metric: The name in `compile` of the metric to show; None for the first metric. The value
            comes from the validation data if `fit` has such data, else from the training data.
            Of a metric with several values, such as one per class, the mean is shown.
        say: Called with each line; None to print it.
        status: Called at each step with a short text, such as "epoch 3/20, step 17/390"; None to
            show nothing between the epochs.

    Raises:
        TypeError: In `fit`, if the model is not nested.
    """

    def __init__(
        self,
        *,
        metric: str | None = None,
        say: Callable[[str], None] | None = None,
        status: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._metric, self._status = metric, status
        self._say = say or functools.partial(print, flush=True)
        self._epoch, self._start = 0, 0.0

    def set_model(self, model: KerasModel) -> None:
        """Accepts nested models only."""
        super().set_model(check_model(model))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the clock."""
        self._epoch, self._start = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Shows the step."""
        if self._status is not None:
            steps = self.params.get("steps")
            of = "" if steps is None else f"/{steps}"
            self._status(f"epoch {self._epoch + 1}/{self.params['epochs']}, step {batch + 1}{of}")

    def on_test_begin(self, logs: Logs = None) -> None:
        """Shows that a validation runs."""
        if self._status is not None and "epochs" in self.params:
            self._status(f"epoch {self._epoch + 1}/{self.params['epochs']}, validation")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Shows the results of the levels."""
        logs = logs or {}
        epochs = str(self.params["epochs"])
        parts = [f"epoch {epoch + 1:>{len(epochs)}}/{epochs}"]
        parts.append(_duration(time.perf_counter() - self._start))
        parts += [f"loss {float(logs['loss']):.3f}"] if "loss" in logs else []
        parts += self._of_levels(logs)
        for line in _lines(parts):
            self._say(line)

    def _of_levels(self, logs: dict[str, float]) -> list[str]:
        levels = range(self.model.levels)
        first = "level_0_"
        names = [name.removeprefix(first) for name in logs if name.startswith(first)]
        names = [name for name in names if name not in ("loss", "sparsity")] or ["loss"]
        metric = self._metric or names[0]
        found = []
        for prefix in ("val_", ""):
            values = [logs.get(f"{prefix}level_{level}_{metric}") for level in levels]
            numbers = [float(np.mean(value)) for value in values if value is not None]
            if len(numbers) == len(values):
                label = f"{prefix.replace('_', ' ')}{metric.replace('_', ' ')}"
                found.append(_numbers(label, numbers, percent="acc" in metric, digits=1))
                break
        zeros = [logs.get(f"level_{level}_sparsity") for level in levels]
        if None not in zeros:
            numbers = [float(value) for value in zeros if value is not None]
            found.append(_numbers("zeros", numbers, percent=True, digits=0))
        return found


def _numbers(label: str, values: list[float], *, percent: bool, digits: int) -> str:
    if percent:
        return f"{label} {' '.join(f'{100 * value:.{digits}f}' for value in values)}%"
    return f"{label} {' '.join(f'{value:.3f}' for value in values)}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _lines(parts: list[str]) -> list[str]:
    """Joins parts to lines; a part that does not fit goes to the next line, indented."""
    lines = [parts[0]]
    for part in parts[1:]:
        for word in [part] if len(part) < _WIDTH - 4 else part.split(" "):
            gap = "  " if word is part else " "
            if len(lines[-1] + gap + word) <= _WIDTH:
                lines[-1] += gap + word
            else:
                lines.append("    " + word)
    return lines
