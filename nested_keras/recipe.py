"""The recommended training of a nested model: learning rate, ramp of the masks, callbacks.

`docs/training.md` gives the reasons and the measurements. Each part works alone, so that a training
may take one part and choose the rest itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from nested_keras.callbacks import BatchNormReestimation, NestedPruning
from nested_keras.callbacks.pruning import CubicRamp
from nested_keras.runs import RunDirectory
from nested_keras.typing import Data, KerasModel


def optimizer(
    model: KerasModel, *, steps: int, learning_rate: float = 2e-3, split_batch: bool = False
) -> Any:
    """Returns Adam with the learning rate of the recipe.

    Args:
        model: The nested model to train.
        steps: The steps of the whole training: epochs times batches per epoch, >= 1.
        learning_rate: The highest rate for a batch that is not split.
        split_batch: The argument `split_batch` of `compile`. A split batch of N levels is N times
            as large, and the rate grows accordingly (see `learning_rate_schedule`).

    Returns:
        A `keras.optimizers.Adam`.

    Raises:
        ValueError: If steps or learning_rate are out of range.
    """
    shares = model.levels if split_batch else 1
    return keras.optimizers.Adam(learning_rate_schedule(learning_rate, steps=steps, shares=shares))


def learning_rate_schedule(learning_rate: float, *, steps: int, shares: int = 1) -> Any:
    """Returns a learning rate that rises over the first 5 % of the steps and falls as a cosine.

    A batch N times as large bears a rate sqrt(N) times as high, the scaling rule of Adam (Malladi
    et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", arXiv:2205.10287).

    Args:
        learning_rate: The highest rate for a batch of one share, > 0.
        steps: The steps of the whole training, >= 1; the rate is 0 after the last step.
        shares: The number of shares in a batch, >= 1.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: If an argument is out of range.
    """
    if steps < 1 or shares < 1 or not learning_rate > 0.0:
        raise ValueError(
            "steps and shares must be at least 1, and learning_rate above 0: got "
            f"{steps}, {shares} and {learning_rate}"
        )
    warm_up = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - warm_up),
        warmup_target=learning_rate * math.sqrt(shares),
        warmup_steps=warm_up,
    )


def schedule(
    steps: int, *, begin: float = 0.0, end: float = 0.6, frequency: int | None = None
) -> CubicRamp:
    """Returns the ramp of the masks for `NestedPruning`, for a fit that does not tell its steps.

    The ramp is cubic, like tfmot's `PolynomialDecay`. `NestedPruning()` lays the ramp over the
    steps of the fit without a schedule. A ramp over several fits needs a schedule.

    Args:
        steps: The steps of the whole training, >= 1.
        begin: The share of the steps before the ramp, 0..1.
        end: The share of the steps at which the ramp is complete, > begin, at most 1.
        frequency: The steps between two changes of the masks; None for a fiftieth of all steps.

    Raises:
        ValueError: If an argument is out of range.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1: got {steps}")
    return CubicRamp.over(steps, begin=begin, end=end, frequency=frequency)


def callbacks(
    data: Data,
    *,
    masks: Callable[[int], tuple[Any, Any]] | NestedPruning | None = None,
    batch_size: int = 32,
    folder: str | os.PathLike[str] | None = None,
    test: Data = None,
) -> list[Any]:
    """Returns the callbacks of `NestedModel.fit`, in their order.

    Args:
        data: The training data, augmented as in training, for the BatchNorm statistics of each
            level; see `nested_keras.callbacks.BatchNormReestimation`.
        masks: How the masks grow: None for `NestedPruning()`, a cubic ramp over the first 60 % of
            the steps; a `NestedPruning` with other options; or a schedule for `NestedPruning`.
        batch_size: The batch size of the BatchNorm statistics where `data` is an array.
        folder: A folder for a backup of the last epoch, in `<folder>/backup`, from which an
            interrupted training goes on; None for no backup.
        test: The data on which `nested_keras.runs.RunDirectory` measures the levels at the end, to
            write a record of the run to `folder`; None for no record.

    Returns:
        A list; put your own callbacks before or behind.

    Raises:
        ValueError: If `test` is given without `folder`.
    """
    if test is not None and folder is None:
        raise ValueError("test must go with a folder for the record of the run: got no folder")
    pruning = masks if isinstance(masks, NestedPruning) else NestedPruning(masks)
    found: list[Any] = [pruning, BatchNormReestimation(data, batch_size=batch_size)]
    if folder is not None:
        # First, because the other callbacks read the restored state. Two backups, because a kill
        # may come while a backup is written.
        backup = Path(folder) / "backup"
        found.insert(0, keras.callbacks.BackupAndRestore(str(backup), double_checkpoint=True))
    if test is not None:
        found.append(RunDirectory(folder or "", data=test))
    return found
