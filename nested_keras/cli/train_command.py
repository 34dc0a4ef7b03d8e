"""`nested-keras train`: nest a Keras classifier and train all its levels together."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import arrays, files
from nested_keras.cli import arguments
from nested_keras.cli.training_checkpoint import Checkpoint, digest
from nested_keras.report import format_table


def add(commands: Any) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "train",
        _train,
        "Nest a Keras classifier and train all its levels together.",
        "Starts from the weights in the .keras or .h5 file (.h5 files of Keras 2 as well). The\n"
        "model ends in a softmax, in one sigmoid or in logits; the loss follows from that. Masks\n"
        "ramp up over the first 60 % of the steps (cubic, as tfmot PolynomialDecay), BatchNorm\n"
        "statistics are re-estimated per level after each epoch, and the result is one .keras\n"
        "file. "
        "Each epoch is kept in the folder NAME.training beside the output until that is written:\n"
        "after an interruption the same command goes on from there. For another loss, schedule or\n"
        "data pipeline use the Python API: nested_keras.nest, compile, fit.",
    )
    sub.add_argument(
        "--model",
        type=Path,
        required=True,
        help="the Keras model to start from: a classifier with one input and one output",
    )
    sub.add_argument(
        "--data", type=Path, required=True, help=".npz with x_train, y_train, x_test, y_test"
    )
    sub.add_argument(
        "--sparsities",
        type=arguments.fractions,
        default=(0.9, 0.8, 0.7),
        metavar="S0,S1,...",
        help="share of zeros per level, sparsest first (default 0.9,0.8,0.7)",
    )
    sub.add_argument(
        "--block_shape",
        type=arguments.block_shape,
        default=(1, 1),
        help="1x1 (default), 1x2 or 1x4",
    )
    sub.add_argument("--epochs", type=arguments.positive, default=10, help="default 10")
    sub.add_argument("--batch_size", type=arguments.positive, default=64, help="default 64")
    sub.add_argument("--learning_rate", type=float, default=2e-3, help="of Adam (default 0.002)")
    sub.add_argument(
        "--routing",
        type=float,
        default=0.5,
        help="share of a level's gradient that reaches the weights of sparser levels: 0 strict, "
        "1 joint (default 0.5)",
    )
    sub.add_argument("--seed", type=int, default=0, help="default 0")
    sub.add_argument("--out", type=Path, required=True, help="the nested .keras file to write")


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a classifier is trained for.

    Attributes:
        loss: Its loss, for labels as class indices.
        metric: Its accuracy.
        classes: The number of classes.
    """

    loss: Any
    metric: Any
    classes: int


def _task(model: Any) -> _Task:
    """Reads from the end of a classifier what loss it is trained with.

    Raises:
        ValueError: If the model is no classifier with one input and one output, or its end does
            not say whether it is a softmax, a sigmoid or logits.
    """
    import keras

    from nested_keras.nesting import heads

    ends = len(getattr(model, "inputs", None) or ()), len(getattr(model, "outputs", None) or ())
    if ends != (1, 1):
        raise ValueError(
            f"the model must have one input and one output: got {ends[0]} and {ends[1]}"
        )
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"the model must have an output [n, classes]: got {list(shape)}")
    head = heads.head_of(model)
    fits = {"softmax": shape[1] > 1, "sigmoid": shape[1] == 1, "logits": True}
    if head.kind is None or not fits[head.kind]:
        raise ValueError(
            "the model must end in a softmax over two or more classes, in one sigmoid, or in "
            f"logits: got {shape[1]} outputs of {head.name!r} ({head.type}); for another end use "
            "the Python API"
        )
    logits = head.kind == "logits"
    if shape[1] == 1:
        return _Task(
            keras.losses.BinaryCrossentropy(from_logits=logits),
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if logits else 0.5),
            classes=2,
        )
    return _Task(
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits), "accuracy", shape[1]
    )


def _load_split(
    path: Path, split: str, *, shape: tuple[int | None, ...], classes: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Loads and checks x_<split> and y_<split>, float32 [n, ...] and int64 [n, 1]."""
    x, y = arguments.load_arrays(path, f"x_{split}", f"y_{split}")
    x = arrays.real_images(x, name=f"{path}: x_{split}").astype(np.float32)
    fits = len(x.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape[1:], x.shape[1:], strict=True)
    )
    if not fits:
        expected = ["n", *("any" if size is None else size for size in shape[1:])]
        raise ValueError(
            f"{path}: x_{split} must have the shape [{', '.join(map(str, expected))}] of the "
            f"model's input: got {list(x.shape)}"
        )
    y = arrays.class_indices(y, count=len(x), classes=classes, name=f"{path}: y_{split}")
    return x, y[:, None]


def _checkpoint(args: argparse.Namespace) -> Checkpoint:
    """Opens the checkpoint of this training."""
    names = (
        "sparsities",
        "block_shape",
        "epochs",
        "batch_size",
        "learning_rate",
        "routing",
        "seed",
    )
    values = {name: getattr(args, name) for name in names}
    values |= {"model": digest(args.model), "data": digest(args.data)}
    return Checkpoint(args.out, json.loads(json.dumps(values)))


def _train(args: argparse.Namespace) -> None:
    import keras

    import nested_keras
    from nested_keras import callbacks, runs

    files.require_writable(args.out, suffix=".keras")
    base = nested_keras.load_model(args.model, compile=False)
    task = _task(base)
    shape = tuple(base.inputs[0].shape)
    x_train, y_train = _load_split(args.data, "train", shape=shape, classes=task.classes)
    x_test, y_test = _load_split(args.data, "test", shape=shape, classes=task.classes)
    keras.utils.set_random_seed(args.seed)
    model = nested_keras.nest(base, args.sparsities, block_shape=args.block_shape)
    model.compile(
        keras.optimizers.Adam(args.learning_rate),
        task.loss,
        metrics=[task.metric],
        routing=args.routing,
    )
    batches = runs.EpochShuffled(
        model,
        x_train,
        y_train,
        batch_size=min(args.batch_size, len(x_train)),
        seed=args.seed,
        drop_remainder=False,
    )
    checkpoint = _checkpoint(args)
    if checkpoint.epochs():
        arguments.say(f"Going on after {checkpoint.epochs()} epochs kept in {checkpoint.folder}")
    with checkpoint.kept():
        history = model.fit(
            batches,
            epochs=args.epochs,
            shuffle=False,
            validation_data=(x_test, y_test),
            callbacks=[
                checkpoint.callback(),
                keras.callbacks.TerminateOnNaN(),
                callbacks.NestedPruning(),
                callbacks.BatchNormReestimation(x_train),
            ],
        )
    losses = history.history.get("loss", [])
    if not np.isfinite(losses).all():
        checkpoint.remove()  # its weights are NaN
        raise ValueError(
            f"the loss must stay finite: it is {losses[-1]} after epoch {len(losses)}; try a lower "
            f"--learning_rate than {args.learning_rate}"
        )
    with checkpoint.kept(), files.replacing(args.out) as temporary:
        model.save(temporary)
    checkpoint.remove()
    rows = [
        [str(row["level"]), f"{row['sparsity']:.3f}", f"{row['accuracy']:.2%}"]
        for row in model.evaluate_levels(x_test, y_test, verbose=0)
    ]
    arguments.say(format_table(["level", "sparsity", "accuracy"], rows))
    arguments.say(f"Wrote {args.out}")
