"""`nested-keras train`: nest a Keras classifier or detector and train all its levels together."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras import files, native_output
from nested_keras.cli import arguments, examples, task, training
from nested_keras.cli.parts import Reading
from nested_keras.cli.training_checkpoint import Checkpoint, digest, digest_of_arrays
from nested_keras.report import format_table
from nested_keras.typing import Data, KerasModel, Subparsers

# The flags that decide a training, besides the model and the data.
_DECIDING = (
    "sparsities",
    "budget",
    "exclude",
    "like",
    "block_shape",
    "epochs",
    "batch_size",
    "learning_rate",
    "routing",
    "distill",
    "augment",
    "quantize_aware",
    "seed",
    "task",
    "classes",
    "window",
)


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "train",
        _train,
        "Nest a Keras classifier or detector and train all its levels together.",
        "Starts from the weights in the .keras or .h5 file (.h5 files of Keras 2 as well) and\n"
        "follows the recipe of docs/training.md: the model is the teacher of the levels, each\n"
        "level sees samples of its own, masks ramp up over the first 60 % of the steps, the\n"
        "learning rate falls as a cosine, BatchNorm statistics are re-estimated per level. The\n"
        "model must end in a softmax, in one sigmoid or in logits; the loss fits that end.\n\n"
        f"--data is {examples.KINDS}.\n\n"
        "With --task detection the model has the outputs `boxes` and `scores`, and --data is a\n"
        "folder in the layout of Pascal VOC or COCO (docs/detection.md).\n\n"
        "The folder NAME.training beside the output keeps each epoch until the output is written:\n"
        "after an interruption the same command goes on from the last epoch. --run names another\n"
        "folder, which stays and also gets a record of the run. For another loss, schedule or\n"
        "data pipeline use the Python API: nested_keras.nest, compile, fit.",
    )
    sub.add_argument(
        "--model",
        type=Path,
        required=True,
        help="the trained Keras model to start from: a classifier with one input and one output",
    )
    sub.add_argument("--out", type=Path, required=True, help="the nested .keras file to write")
    examples.add_flags(sub, "the training and test data (see above)")
    sub.add_argument(
        "--task",
        choices=("classification", "detection"),
        default="classification",
        help="what the model does (default classification)",
    )
    _add_detection(sub)
    _add_levels(sub)
    _add_training(sub)


def _add_detection(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("detection")
    group.add_argument(
        "--classes",
        type=lambda text: tuple(text.split(",")),
        default=None,
        metavar="NAME,...",
        help="the classes to find, in the order of the model's outputs; objects of others are left "
        "out (default: all of the training data, sorted)",
    )
    group.add_argument(
        "--window",
        type=arguments.positive,
        default=None,
        metavar="PIXELS",
        help="cut the images into square windows of this side, so that small objects stay as large "
        "as they are (default: shrink whole images)",
    )


def _add_levels(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("levels")
    group.add_argument(
        "--sparsities",
        type=arguments.fractions,
        default=(0.9, 0.8, 0.7),
        metavar="S0,S1,...",
        help="share of zeros per level, sparsest first (default 0.9,0.8,0.7)",
    )
    group.add_argument(
        "--budget",
        type=training.budget,
        default=None,
        metavar="UNIT[:B0,B1,...]",
        help="choose the sparsity of each layer by its sensitivity, so that each level costs at "
        "most so many `cycles` or `bytes`; without numbers the cost of --sparsities",
    )
    group.add_argument(
        "--like",
        type=training.like,
        default=None,
        metavar="NESTED[:LEVEL]",
        help="give each layer the sparsities of another nested .keras model, in place of "
        "--sparsities; with :LEVEL train this level alone, to compare both",
    )
    group.add_argument(
        "--exclude",
        action="append",
        default=None,
        metavar="LAYER",
        help="a layer that stays dense; may be given several times (default: the first "
        "convolution and the last layer, with --budget none)",
    )
    group.add_argument(
        "--block-shape",
        type=arguments.block_shape,
        default=(1, 1),
        help="1x1 (default), 1x2 or 1x4",
    )


def _add_training(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=arguments.positive,
        default=10,
        help="how often each level sees the data (default 10)",
    )
    group.add_argument(
        "--batch-size",
        type=arguments.positive,
        default=32,
        help="samples of each level in a step (default 32)",
    )
    group.add_argument(
        "--learning-rate",
        type=float,
        default=2e-3,
        help="highest rate of Adam for one level; N levels take sqrt(N) times the rate "
        "(default 0.002)",
    )
    group.add_argument(
        "--routing",
        type=float,
        default=None,
        help="share of a level's gradient that reaches the weights of sparser levels: 0 strict, "
        "1 joint (default 0.5 with a teacher, else 1)",
    )
    group.add_argument(
        "--distill",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="learn from the base model as a teacher (default: if the model has two outputs or "
        "more)",
    )
    group.add_argument(
        "--augment",
        choices=training.AUGMENTATIONS,
        default="auto",
        help="shift images by up to an eighth, or mirror images; `auto` takes the changes that "
        "cost the base model less than 5 points of test accuracy",
    )
    group.add_argument(
        "--quantize-aware",
        type=arguments.positive,
        nargs="?",
        const=2,
        default=None,
        metavar="EPOCHS",
        help="train for so many more epochs with the rounding of int8 (default 2 if given)",
    )
    group.add_argument("--seed", type=int, default=0, help="default 0")
    group.add_argument(
        "--run",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder that stays, for the checkpoint and the record of the run",
    )


def _train(args: argparse.Namespace) -> None:
    args.terminal.status("loading TensorFlow and the model")
    native_output.load_tensorflow()
    import nested_keras

    files.require_writable(args.out, suffix=".keras")
    if args.out.resolve() == args.model.resolve():
        raise ValueError(f"--out must not replace the model that is nested: got {args.out}")
    base = nested_keras.load_model(args.model, compile=False)
    reading = examples.reading_of(args, args.model, base)
    prepare = {"classification": _classification, "detection": _detection}[args.task]
    job = prepare(args, base, reading)
    args.terminal.status("nesting the model")
    model = training.nest(args, base, job.loss, job.sample)
    checkpoint = _checkpoint(args, job.digest)
    if checkpoint.epochs():
        args.terminal.note(
            f"Going on after {checkpoint.epochs()} epochs kept in {checkpoint.folder}"
        )
    run = job.training(model)
    with checkpoint.kept():
        losses = run.fit(checkpoint.callback(), record=args.run)
        losses += run.fit_quantized(args.quantize_aware) if args.quantize_aware else []
    if not np.isfinite(losses).all():
        checkpoint.discard()  # its weights are NaN
        raise ValueError(
            f"the loss must stay finite: got {losses[-1]} after epoch {len(losses)}; try a lower "
            f"--learning-rate than {args.learning_rate}"
        )
    run.forget_teacher()
    with checkpoint.kept(), files.replacing(args.out) as temporary:
        model.save(temporary)
    examples.keep(args.out, job.reading)
    checkpoint.finish()
    args.terminal.status("measuring every level")
    args.terminal.say(format_table(*job.table(model)))
    args.terminal.note(f"Wrote {args.out}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    """A task with its data.

    Attributes:
        loss: The loss that a budget keeps low.
        sample: Returns inputs and targets of a number of training examples, drawn with a seed.
        digest: The digest of the data.
        training: Makes the training of a nested model.
        reading: How the data are read, to be kept beside the output.
        table: Returns header and rows of the results.
    """

    loss: Any
    sample: Callable[[int, int], tuple[Any, Any]]
    digest: str
    training: Callable[[KerasModel], training.Training]
    reading: Reading
    table: Callable[[KerasModel], tuple[list[str], list[list[str]]]]


def _classification(args: argparse.Namespace, base: KerasModel, reading: Reading) -> _Job:
    import keras

    for flag in ("classes", "window"):
        if getattr(args, flag) is not None:
            raise ValueError(f"--{flag} goes with --task detection")
    goal = task.task_of(base)
    args.terminal.status("loading the data")
    train, test, classes = _load(args, base, goal, reading)
    keras.utils.set_random_seed(args.seed)
    settings = training.settle(args, base, goal, test)
    return _Job(
        loss=goal.loss,
        sample=functools.partial(training.sample, train),
        digest=digest_of_arrays(*train, *test),
        training=lambda model: training.Training(
            model, goal, settings, train, test, terminal=args.terminal
        ),
        reading=dataclasses.replace(reading, classes=classes),
        table=functools.partial(_table, test=test),
    )


def _detection(args: argparse.Namespace, base: KerasModel, reading: Reading) -> _Job:
    import keras

    from nested_keras.cli import detection_training
    from nested_keras.detection import DetectorLoss

    if args.window is not None:
        reading = dataclasses.replace(reading, window=args.window)
    goal = detection_training.task_of(base, reading)
    args.terminal.status("loading the data")
    train, test = detection_training.load(args, goal, reading)
    keras.utils.set_random_seed(args.seed)
    settings = detection_training.settle(args, base)
    return _Job(
        loss=DetectorLoss(),
        sample=functools.partial(detection_training.sample, train, goal),
        digest=detection_training.digest(train, test),
        training=lambda model: detection_training.DetectionTraining(
            model, goal, settings, train, test, terminal=args.terminal
        ),
        reading=dataclasses.replace(reading, classes=train.classes, anchors=goal.anchors),
        table=functools.partial(detection_training.table, test=test, goal=goal),
    )


def _load(args: argparse.Namespace, base: KerasModel, goal: task.Task, reading: Reading) -> Any:
    """Returns (x, y) of both parts, and the names of the classes."""
    shape = tuple(base.inputs[0].shape)
    parts = []
    for part in ("train", "test"):
        x, y, names = examples.load_labelled(
            args.data, part, shape=shape, classes=goal.classes, reading=reading
        )
        parts.append((x, y))
    train, test = parts
    args.terminal.note(f"Data: {len(train[0]):,} examples for training, {len(test[0]):,} for tests")
    return train, test, names


def _checkpoint(args: argparse.Namespace, data: str) -> Checkpoint:
    """Opens the checkpoint of this training."""
    values = {name: getattr(args, name) for name in _DECIDING}
    values |= {"model": digest(args.model), "data": data}
    if args.like is not None:
        path, level = args.like
        values["like"] = [digest(path), level]
    folder = args.run or args.out.with_name(f"{args.out.stem}.training")
    return Checkpoint(
        folder,
        json.loads(json.dumps(values)),
        stays=args.run is not None,
        note=args.terminal.note,
    )


def _table(model: KerasModel, test: Data) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the accuracy of each level."""
    rows = [
        [str(row["level"]), f"{row['sparsity']:.3f}", f"{row['accuracy']:.2%}"]
        for row in model.evaluate_levels(*test, verbose=0)
    ]
    return ["level", "sparsity", "accuracy"], rows
