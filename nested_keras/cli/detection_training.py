"""`nested-keras train --task detection`: the recipe of docs/training.md on images with boxes."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
from typing import Any

import numpy as np

from nested_keras.cli import data_files, detection_data_files, training
from nested_keras.cli.parts import Reading
from nested_keras.cli.terminal import Terminal
from nested_keras.detection import average_precision
from nested_keras.detection.anchors import Anchors
from nested_keras.detection.average_precision import Found
from nested_keras.detection.detection_data import DetectionData
from nested_keras.detection.finding import Finder
from nested_keras.detection.matching import Matcher
from nested_keras.detection.scene_changes import SceneChanges
from nested_keras.detection.scenes import Pixels, SceneReader, dataset
from nested_keras.typing import KerasModel, KerasOptimizer

_BATCH = 16
_STATISTICS_BATCH = 32
_CHANGES = {
    "auto": SceneChanges(),
    "both": SceneChanges(),
    "none": None,
    "flip": SceneChanges(cut=1.0, shrink=1.0, colour=0.0),
    "shift": SceneChanges(flip=False, colour=0.0),
}


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionTask:
    """The task of a detector.

    Attributes:
        classes: The number of classes.
        anchors: The anchors of the model.
        matcher: Makes the targets.
        reader: Reads the images.
    """

    classes: int
    anchors: Anchors
    matcher: Matcher
    reader: SceneReader


def task_of(base: KerasModel, reading: Reading) -> DetectionTask:
    """Reads from a detector how many classes it has, and whether the anchors fit.

    Args:
        base: The detector.
        reading: The content of the files beside the model.

    Raises:
        ValueError: If the model is no detector, or its anchors are not known or do not fit.
    """
    from nested_keras import applications

    outputs = getattr(base, "output", None)
    if not isinstance(outputs, dict) or sorted(outputs) != ["boxes", "scores"]:
        got = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise ValueError(
            "a detector must have its outputs in a dict, 'boxes' and 'scores' "
            f"(nested_keras.detection): got {got}"
        )
    if len(base.inputs) != 1:
        raise ValueError(f"a detector must have one input: got {len(base.inputs)}")
    shape = tuple(base.inputs[0].shape[1:])
    if len(shape) != 3 or None in shape:
        raise ValueError(f"a detector must take images of a fixed size: got {['n', *shape]}")
    (_, count, four), (_, rows, last) = (outputs[name].shape for name in ("boxes", "scores"))
    anchors = reading.anchors or applications.ssd_anchors(shape)
    if not (four == 4 and last >= 2 and count == rows == anchors.count):
        raise ValueError(
            f"boxes and scores must be [n, {anchors.count}, 4] and [n, {anchors.count}, classes + "
            f"1], as the anchors are {anchors.count}: got {[count, four]} and {[rows, last]}; "
            "NAME.anchors.json beside the model NAME.keras holds its anchors (docs/detection.md)"
        )
    reader = SceneReader(shape, pixels=reading.pixels)
    return DetectionTask(last - 1, anchors, Matcher(anchors.boxes()), reader)


def load(
    args: argparse.Namespace, goal: DetectionTask, reading: Reading
) -> tuple[DetectionData, DetectionData]:
    """Reads both parts of the data, and looks at each image once.

    Raises:
        ValueError: If a file is missing or broken, or the model has other classes.
    """
    chosen = args.classes or reading.classes or None
    found = detection_data_files.load(
        args.data, classes=chosen, leave_others=args.classes is not None, window=reading.window
    )
    train, test = found
    if len(train.classes) != goal.classes:
        raise ValueError(
            f"{args.data} must have the {goal.classes} classes of the model: got "
            f"{len(train.classes)} ({', '.join(train.classes[:5])}); --classes chooses some"
        )
    for each in found:
        for number, note in enumerate(each.notes):
            args.terminal.note(note if number < 3 else f"and {len(each.notes) - 3} more")
            if number == 3:
                break
        for number, example in enumerate(each.examples):
            args.terminal.status(f"looking at image {number + 1}/{len(each.examples)}")
            goal.reader.read(example)
    args.terminal.note(
        f"Data: {len(train.examples):,} images for training, {len(test.examples):,} for tests; "
        f"classes {', '.join(train.classes)}"
    )
    return found


def digest(*parts: DetectionData) -> str:
    """Returns the SHA-256 of data: names and sizes of the files, boxes and classes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(repr(part.classes).encode())
        for each in part.examples:
            size = each.image.stat().st_size
            found.update(f"{each.image.name}{size}{each.size}{each.origin}".encode())
            for array in (each.truth.boxes, each.truth.classes, each.truth.ignored):
                found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def settle(args: argparse.Namespace, base: KerasModel) -> training.Settings:
    """Chooses the settings that the flags leave open; by default the base is the teacher."""
    teacher = None if args.distill is False else base
    return training.settings_of(args, teacher, augment=_CHANGES[args.augment])


def sample(data: DetectionData, goal: DetectionTask, count: int, seed: int) -> tuple[Any, Any]:
    """Returns images and targets of some examples, in random order."""
    order = np.random.default_rng(seed).permutation(len(data.examples))[:count]
    chosen = dataclasses.replace(data, examples=tuple(data.examples[index] for index in order))
    targets = [
        goal.matcher.targets(each.truth.boxes, each.truth.classes, each.truth.ignored)
        for each in chosen.examples
    ]
    boxes, scores = (np.stack(each) for each in zip(*targets, strict=True))
    return goal.reader.images(chosen), {"boxes": boxes, "scores": scores}


class DetectionTraining(training.Training):
    """A nested detector, its data, and the steps of the recipe; arguments as `Training`."""

    def __init__(
        self,
        model: KerasModel,
        goal: DetectionTask,
        settings: training.Settings,
        train: DetectionData,
        test: DetectionData,
        *,
        terminal: Terminal,
    ) -> None:
        self._model, self._settings, self._terminal = model, settings, terminal
        self._detection, self._scenes, self._test_scenes = goal, train, test
        self._batch_size = min(settings.batch_size, len(train.examples))
        self._steps = max(1, len(train.examples) // self._batch_size)
        self._test = dataset(test, goal.reader, goal.matcher, batch_size=_BATCH)

    def _batches(self) -> Any:
        from nested_keras.nesting import fitting

        def epoch() -> int:
            return int(fitting.step_counter(self._model.optimizer).numpy()) // self._steps

        return dataset(
            self._scenes,
            self._detection.reader,
            self._detection.matcher,
            batch_size=self._model.levels * self._batch_size,
            changes=self._settings.augment,
            seed=self._settings.seed,
            passes=self._model.levels,
            epoch=epoch,
        )

    def _compile(self, optimizer: KerasOptimizer, *, teacher: KerasModel) -> None:
        from nested_keras.detection import BoxLoss, ScoreLoss
        from nested_keras.distillation import DetectorDistillation

        self._model.compile(
            optimizer,
            {"boxes": BoxLoss(), "scores": ScoreLoss()},
            routing=self._settings.routing,
            split_batch=True,
            distillation=None if teacher is None else DetectorDistillation(teacher=teacher),
        )

    def _statistics(self) -> Any:
        """Returns changed training images for the BatchNorm statistics."""
        count = min(len(self._scenes.examples), training.STATISTICS_EXAMPLES)
        batches = dataset(
            self._scenes,
            self._detection.reader,
            self._detection.matcher,
            batch_size=min(count, _STATISTICS_BATCH),
            changes=self._settings.augment,
            seed=self._settings.seed,
        )
        return np.concatenate(
            [x.numpy() for x, _ in batches.take(math.ceil(count / _STATISTICS_BATCH))]
        )

    def _representative(self) -> Any:
        chosen = data_files.spread(len(self._scenes.examples), 500)
        examples = tuple(self._scenes.examples[index] for index in chosen)
        return self._detection.reader.images(dataclasses.replace(self._scenes, examples=examples))


def find(model: KerasModel, images: Pixels, goal: DetectionTask) -> list[Found]:
    """Returns the objects that a detector finds in images, for the average precision."""
    return Finder(goal.matcher.anchors).find(model.predict(images, batch_size=_BATCH, verbose=0))


def table(
    model: KerasModel, test: DetectionData, goal: DetectionTask
) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the average precision of each level."""
    images, truths = goal.reader.images(test), test.truths()
    rows = []
    for level in range(model.levels):
        found = find(model.at_level(level), images, goal)
        voc = average_precision.voc(truths, found, classes=goal.classes)
        coco = average_precision.coco(truths, found, classes=goal.classes)
        row = [str(level), f"{model.level_sparsity(level):.3f}"]
        row += [f"{voc.mean():.2%}", f"{coco.mean():.2%}"]
        rows.append(row + [f"{value:.1%}" for value in voc.table[0]])
    names = [f"{name}\nAP@0.5" for name in test.classes]
    return ["level", "sparsity", "VOC\nmAP@0.5", "COCO\nmAP", *names], rows
