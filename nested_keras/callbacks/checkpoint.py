"""The best epoch of a level."""

from __future__ import annotations

import os
import warnings

import keras
import numpy as np

from nested_keras.callbacks.check import check_model
from nested_keras.format.levels import check_level
from nested_keras.typing import KerasArgument, KerasModel, Logs


class LevelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Saves the model after the best epoch of one level, or of the levels on average.

    Only epochs at the final sparsities compete, so that the file never holds a model in the middle
    of the ramp.

    Args:
        filepath: As `keras.callbacks.ModelCheckpoint`, `{epoch}` and names of the logs included.
        metric: The name in `compile` of the metric that counts; "loss" for each level's loss.
        level: The level, 0..levels-1; None for the mean over all levels.
        mode: "min", "max", or "auto" for a metric of Keras.
        validation: Whether to compare on the validation data; else on the training data.
        **kwargs: Other arguments of `ModelCheckpoint`, such as `save_weights_only`.

    Raises:
        TypeError: For the arguments `monitor`, `save_best_only` and `save_freq`, because `metric`
            and `level` take their place.
        ValueError: In `fit`, if the level is out of range, no level has the metric, or the metric
            has several values, such as one per class.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        *,
        metric: str = "accuracy",
        level: int | None = None,
        mode: str = "auto",
        validation: bool = True,
        **kwargs: KerasArgument,
    ) -> None:
        given = sorted({"monitor", "save_best_only", "save_freq"} & set(kwargs))
        if given:
            raise TypeError(
                "LevelCheckpoint must go by metric and level, and saves the best epoch only: "
                f"got {given}"
            )
        self._prefix = "val_" if validation else ""
        self._metric, self._level = metric, level
        self._found = False
        which = "mean" if level is None else f"level_{level}"
        monitor = f"{self._prefix}{which}_{metric}"
        super().__init__(filepath, monitor=monitor, mode=mode, save_best_only=True, **kwargs)

    def set_model(self, model: KerasModel) -> None:
        """Accepts nested models that have the level."""
        super().set_model(check_model(model))
        check_level(self._level, levels=model.levels)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Saves the model if the epoch is the best at the final sparsities."""
        levels = range(self.model.levels) if self._level is None else [self._level]
        names = [f"{self._prefix}level_{level}_{self._metric}" for level in levels]
        logs = logs or {}
        missing = [name for name in names if name not in logs]
        if missing:
            if any(name.startswith(self._prefix) for name in logs):
                raise ValueError(
                    f"LevelCheckpoint must find {missing} in the logs: got {sorted(logs)}"
                )
            return
        for name in names:
            if shape := np.asarray(logs[name]).shape:
                raise ValueError(
                    f"LevelCheckpoint must go by a metric of one number: got {name!r} of shape "
                    f"{shape} (in Keras, average='macro' makes one number of a value per class)"
                )
        if not self.model.shortfall():
            self._found = True
            value = sum(float(logs[name]) for name in names) / len(names)
            super().on_epoch_end(epoch, {**logs, self.monitor: value})

    def on_train_end(self, logs: Logs = None) -> None:
        """Warns if no epoch could be compared."""
        super().on_train_end(logs)
        if not self._found and not self.model.shortfall():
            warnings.warn(
                f"LevelCheckpoint saved nothing: no epoch at the final sparsities had "
                f"{self.monitor!r}, for which fit must have validation data",
                stacklevel=2,
            )
