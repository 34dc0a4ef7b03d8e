"""`nested-keras train`: nest a Keras classifier and train all its levels together."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras import files
from nested_keras.cli import arguments, data_files, task
from nested_keras.cli.training_checkpoint import Checkpoint, digest
from nested_keras.report import format_table
from nested_keras.typing import Data, KerasCallback, KerasModel, Subparsers


def add(commands: Subparsers) -> None:
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
        "file. The folder NAME.training beside the output keeps each epoch until the output is\n"
        "written: after an interruption the same command goes on from there. For another loss,\n"
        "schedule or data pipeline use the Python API: nested_keras.nest, compile, fit.",
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
        "--block-shape",
        type=arguments.block_shape,
        default=(1, 1),
        help="1x1 (default), 1x2 or 1x4",
    )
    sub.add_argument("--epochs", type=arguments.positive, default=10, help="default 10")
    sub.add_argument("--batch-size", type=arguments.positive, default=64, help="default 64")
    sub.add_argument("--learning-rate", type=float, default=2e-3, help="of Adam (default 0.002)")
    sub.add_argument(
        "--routing",
        type=float,
        default=0.5,
        help="share of a level's gradient that reaches the weights of sparser levels: 0 strict, "
        "1 joint (default 0.5)",
    )
    sub.add_argument("--seed", type=int, default=0, help="default 0")
    sub.add_argument("--out", type=Path, required=True, help="the nested .keras file to write")


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

    files.require_writable(args.out, suffix=".keras")
    base = nested_keras.load_model(args.model, compile=False)
    goal = task.task_of(base)
    shape = tuple(base.inputs[0].shape)
    train, test = (
        data_files.load_split(args.data, split, shape=shape, classes=goal.classes)
        for split in ("train", "test")
    )
    keras.utils.set_random_seed(args.seed)
    model = nested_keras.nest(base, args.sparsities, block_shape=args.block_shape)
    model.compile(
        keras.optimizers.Adam(args.learning_rate),
        goal.loss,
        metrics=[goal.metric],
        routing=args.routing,
    )
    checkpoint = _checkpoint(args)
    if checkpoint.epochs():
        arguments.say(f"Going on after {checkpoint.epochs()} epochs kept in {checkpoint.folder}")
    with checkpoint.kept():
        losses = _fit(model, train, test, args=args, backup=checkpoint.callback())
    if not np.isfinite(losses).all():
        checkpoint.remove()  # its weights are NaN
        raise ValueError(
            f"the loss must stay finite: it is {losses[-1]} after epoch {len(losses)}; try a lower "
            f"--learning-rate than {args.learning_rate}"
        )
    with checkpoint.kept(), files.replacing(args.out) as temporary:
        model.save(temporary)
    checkpoint.remove()
    rows = [
        [str(row["level"]), f"{row['sparsity']:.3f}", f"{row['accuracy']:.2%}"]
        for row in model.evaluate_levels(*test, verbose=0)
    ]
    arguments.say(format_table(["level", "sparsity", "accuracy"], rows))
    arguments.say(f"Wrote {args.out}")


def _fit(
    model: KerasModel, train: Data, test: Data, *, args: argparse.Namespace, backup: KerasCallback
) -> list[Any]:
    """Trains a compiled model by the recipe; returns the loss of each epoch."""
    import keras

    from nested_keras import recipe, runs

    images, _ = train
    batches = runs.EpochShuffled(
        model,
        *train,
        batch_size=min(args.batch_size, len(images)),
        seed=args.seed,
        drop_remainder=False,
    )
    history = model.fit(
        batches,
        epochs=args.epochs,
        shuffle=False,
        validation_data=test,
        callbacks=[backup, keras.callbacks.TerminateOnNaN(), *recipe.callbacks(images)],
    )
    losses: list[Any] = history.history.get("loss", [])
    return losses
