"""The training of `nested-keras train`: the recipe of docs/training.md on arrays."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import augmentation
from nested_keras.augmentation import Augmentation
from nested_keras.cli import data_files, task
from nested_keras.cli.terminal import Terminal
from nested_keras.detection.scene_changes import SceneChanges
from nested_keras.typing import Data, KerasCallback, KerasLoss, KerasModel, KerasOptimizer

AUGMENTATIONS = ("auto", "none", "shift", "flip", "both")
UNITS = ("cycles", "bytes")
# Numbers of examples for the sensitivity of the layers, and for the BatchNorm statistics.
SENSITIVITY_EXAMPLES = 500
STATISTICS_EXAMPLES = 2000
_STATISTICS_BATCH = 100
_TOLERANCE_EXAMPLES = 1000


def budget(text: str) -> tuple[str, tuple[float, ...]]:
    """Reads a budget such as `cycles` or `bytes:20000,30000,40000`."""
    unit, _, numbers = text.partition(":")
    try:
        limits = tuple(float(number) for number in numbers.split(",")) if numbers else ()
    except ValueError:
        unit = ""
    if unit not in UNITS or (":" in text and not numbers):
        raise argparse.ArgumentTypeError(
            f"expected cycles or bytes, alone or as bytes:20000,30000,40000: got {text!r}"
        )
    return unit, limits


def like(text: str) -> tuple[Path, int | None]:
    """Reads a nested model and one of its levels, such as `nested.keras` or `nested.keras:0`."""
    name, _, level = text.rpartition(":")
    if name and level.isdecimal():
        return Path(name), int(level)
    return Path(text), None


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a training.

    Attributes:
        epochs: How often each level sees the data.
        batch_size: Samples of a level in a step.
        learning_rate: The highest learning rate, for one level.
        routing: The routing coefficient.
        teacher: The base model, or None.
        augment: Changes images at random; for a detector `SceneChanges` or None.
        seed: The seed of the order of the data, and of the changes.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    routing: float
    teacher: Any
    augment: Any
    seed: int


def settle(args: argparse.Namespace, base: KerasModel, goal: task.Task, test: Data) -> Settings:
    """Chooses the settings that the flags leave open, by the model and the test data.

    Raises:
        ValueError: If the model cannot be a teacher, or the data are no images.
    """
    single = base.outputs[0].shape[-1] == 1
    if args.distill and single:
        raise ValueError(
            "--distill must have a model with two outputs or more: got one; leave --distill out"
        )
    teacher = None if single or args.distill is False else base
    return settings_of(args, teacher, augment=_augmentation(args, base, goal, test))


def settings_of(
    args: argparse.Namespace, teacher: KerasModel, *, augment: Augmentation | SceneChanges | None
) -> Settings:
    """Returns the settings of the flags; without a teacher, the routing is 1 by default.

    Args:
        args: The flags.
        teacher: The base model, or None.
        augment: As in `Settings`.
    """
    routing = 1.0 if teacher is None else 0.5
    return Settings(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        routing=routing if args.routing is None else args.routing,
        teacher=teacher,
        augment=augment,
        seed=args.seed,
    )


def _augmentation(
    args: argparse.Namespace, base: KerasModel, goal: task.Task, test: Data
) -> Augmentation:
    x, y = test
    if args.augment == "none":
        return Augmentation()
    if x.ndim != 4 or min(x.shape[1:3]) < 2:  # a series has a width of 1
        if args.augment == "auto":
            return Augmentation()
        raise ValueError(
            f"--augment {args.augment} is for images [n, height, width, channels]: got "
            f"{list(x.shape)}"
        )
    if args.augment != "auto":
        shift = augmentation.SHIFT.shift if args.augment != "flip" else 0.0
        return Augmentation(shift=shift, flip=args.augment != "shift")
    args.terminal.status("measuring which changes of images the base model tolerates")
    chosen = data_files.spread(len(x), _TOLERANCE_EXAMPLES)
    labels = y[chosen, 0]

    def accuracy(images: npt.NDArray[Any]) -> float:
        scores = np.asarray(base.predict(images, batch_size=100, verbose=0))
        if scores.shape[1] == 1:
            middle = 0.0 if goal.loss.get_config()["from_logits"] else 0.5
            return float(np.mean((scores[:, 0] > middle) == labels))
        return float(np.mean(scores.argmax(axis=1) == labels))

    found = augmentation.tolerated(accuracy, x[chosen])
    names = [name for name, on in (("shift", found.shift), ("flip", found.flip)) if on]
    args.terminal.note(f"Augmentation: {', '.join(names) or 'none'} (see --augment)")
    return found


def sample(train: Data, count: int, seed: int) -> tuple[Any, Any]:
    """Returns inputs and labels of some examples, in random order.

    The order is random, because a batch of sorted data would have the statistics of one class.
    """
    x, y = train
    chosen = np.random.default_rng(seed).permutation(len(x))[:count]
    return x[chosen], y[chosen]


def nest(
    args: argparse.Namespace,
    base: KerasModel,
    loss: KerasLoss,
    examples: Callable[[int, int], tuple[Any, Any]],
) -> KerasModel:
    """Nests the base model, with the sparsities of the flags.

    Args:
        args: The flags.
        base: The base model.
        loss: The loss that a budget keeps low.
        examples: Returns inputs and targets of a number of examples, drawn with a seed; only for a
            budget.

    Raises:
        ValueError: If the model cannot be nested, a layer is unknown or a budget cannot be met.
    """
    import nested_keras
    from nested_keras import allocation
    from nested_keras.allocation import budget as costs

    if args.like is not None:
        return _nest_like(args, base)
    exclude = None if args.exclude is None else tuple(args.exclude)
    nest = functools.partial(nested_keras.nest, base, args.sparsities, block_shape=args.block_shape)
    if args.budget is None:
        return nest(exclude=exclude)
    unit, limits = args.budget
    cost = {"cycles": costs.cycles, "bytes": costs.stored_bytes}[unit]
    limits = limits or costs.total(nest(exclude=exclude), cost)
    model = nest(exclude=() if exclude is None else exclude)
    x, y = examples(SENSITIVITY_EXAMPLES, args.seed)
    progress = args.terminal.counter("measuring how much each layer's pruning hurts")
    sensitivity = allocation.measure_sensitivity(model, x, y, loss=loss, progress=progress)
    model.set_sparsities(allocation.allocate(model, sensitivity.fitted(), limits, cost=cost))
    spent = ", ".join(f"{value:,.0f}" for value in costs.total(model, cost))
    args.terminal.note(f"Predicted {unit} of the levels: {spent}")
    return model


def _nest_like(args: argparse.Namespace, base: KerasModel) -> KerasModel:
    """Nests the base model with the sparsity of each layer of another nested model."""
    import nested_keras
    from nested_keras.format.levels import check_level

    for flag in ("budget", "exclude"):
        if getattr(args, flag) is not None:
            raise ValueError(f"--like must go without --{flag}: the model says which layers nest")
    path, level = args.like
    model = nested_keras.load_model(path, compile=False)
    if not isinstance(model, nested_keras.NestedModel):
        raise ValueError(f"--like must name a nested model: {path} has no nested layer")
    levels = range(model.levels) if level is None else [check_level(level, levels=model.levels)]
    chosen = {
        each.name: tuple(each.sparsities[level] for level in levels) for each in model.nested_layers
    }
    wanted = [1.0 - share / len(levels) for share in range(len(levels))]
    nest = functools.partial(nested_keras.nest, base, wanted, block_shape=args.block_shape)
    nested = nest(exclude=())
    if dense := [each.name for each in nested.nested_layers if each.name not in chosen]:
        nested = nest(exclude=dense)
    nested.set_sparsities(chosen)
    return nested


class Training:
    """A nested model, its data, and the steps of the recipe.

    Args:
        model: The nested model.
        goal: Loss and metric.
        settings: The settings of the training.
        train: Inputs and labels.
        test: Inputs and labels that no step trains on.
        terminal: Shows the progress.
    """

    def __init__(
        self,
        model: KerasModel,
        goal: task.Task,
        settings: Settings,
        train: Data,
        test: Data,
        *,
        terminal: Terminal,
    ) -> None:
        self._model, self._goal, self._settings = model, goal, settings
        self._train, self._test, self._terminal = train, test, terminal
        images, _ = train
        self._steps = max(1, len(images) // min(settings.batch_size, len(images)))

    def _batches(self) -> Any:
        """Returns the data of `fit`; the epochs count the optimizer's steps, so compile() first."""
        from nested_keras import runs

        x, y = self._train
        return runs.EpochShuffled(
            self._model,
            x,
            y,
            batch_size=self._model.levels * min(self._settings.batch_size, len(x)),
            seed=self._settings.seed,
            augment=self._settings.augment or None,
            passes=self._model.levels,
        )

    def fit(self, backup: KerasCallback, *, record: Path | None) -> list[float]:
        """Trains by the recipe.

        Args:
            backup: Restores and writes the checkpoint.
            record: Folder for the record of the run; None for no record.

        Returns:
            The loss of each epoch.
        """
        import keras

        from nested_keras import recipe, runs

        settings = self._settings
        self._compile(
            recipe.optimizer(
                self._model,
                steps=settings.epochs * self._steps,
                learning_rate=settings.learning_rate,
                split_batch=True,
            ),
            teacher=settings.teacher,
        )
        callbacks = [
            backup,
            keras.callbacks.TerminateOnNaN(),
            *recipe.callbacks(self._statistics(), batch_size=_STATISTICS_BATCH),
        ]
        if record is not None:
            callbacks.append(runs.RunDirectory(record, data=self._test))
        return self._fit(settings.epochs, callbacks)

    def fit_quantized(self, epochs: int) -> list[float]:
        """Trains further with the rounding of int8; returns the loss of each epoch."""
        import keras

        from nested_keras import export

        self._terminal.note("Training further with the rounding of int8")
        export.quantize_aware(self._model, representative_dataset=self._representative())
        self._compile(keras.optimizers.Adam(1e-4), teacher=self._settings.teacher)
        return self._fit(epochs, [keras.callbacks.TerminateOnNaN()])

    def _representative(self) -> Any:
        images, _ = self._train
        return images[data_files.spread(len(images), 500)]

    def forget_teacher(self) -> None:
        """Compiles the model without its teacher, because a file does not hold the teacher."""
        self._compile(self._model.optimizer, teacher=None)

    def _compile(self, optimizer: KerasOptimizer, *, teacher: KerasModel) -> None:
        from nested_keras.distillation import Distillation

        self._model.compile(
            optimizer,
            self._goal.loss,
            metrics=[self._goal.metric],
            routing=self._settings.routing,
            split_batch=True,
            distillation=None if teacher is None else Distillation(teacher=teacher),
        )

    def _statistics(self) -> Any:
        """Returns augmented training examples for the BatchNorm statistics."""
        images, _ = self._train
        chosen = images[data_files.spread(len(images), STATISTICS_EXAMPLES)]
        rng = np.random.default_rng(self._settings.seed)
        chosen = chosen[rng.permutation(len(chosen))]  # sorted data would fill batches of one class
        return self._settings.augment(chosen, rng) if self._settings.augment else chosen

    def _fit(self, epochs: int, callbacks: list[Any]) -> list[float]:
        from nested_keras.callbacks import LevelProgress

        progress = LevelProgress(say=self._terminal.note, status=self._terminal.status)
        history = self._model.fit(
            self._batches(),
            epochs=epochs,
            shuffle=False,
            validation_data=self._test,
            callbacks=[*callbacks, progress],
            verbose=0,
        )
        losses: list[float] = history.history.get("loss", [])
        return losses
