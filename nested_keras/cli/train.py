"""`nested-keras train`: nest a Keras classifier and train all its levels together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nested_keras.cli import arguments
from nested_keras.report import format_table


def add(commands: Any) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "train",
        _train,
        "Nest a Keras classifier and train all its levels together.",
        "Starts from the weights in the .keras or .h5 file. Masks ramp up over the first 60 % of\n"
        "the steps (cubic, as tfmot PolynomialDecay), BatchNorm statistics are re-estimated per\n"
        "level after each epoch, and the result is saved as one .keras file. For another loss,\n"
        "schedule or data pipeline use the Python API: nested_keras.nest, compile, fit.",
    )
    sub.add_argument(
        "--model",
        type=Path,
        required=True,
        help="the Keras model to start from, with softmax output",
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


def _train(args: argparse.Namespace) -> None:
    import keras

    import nested_keras
    from nested_keras import callbacks

    x_train, y_train, x_test, y_test = arguments.load_arrays(
        args.data, "x_train", "y_train", "x_test", "y_test"
    )
    keras.utils.set_random_seed(args.seed)
    base = keras.models.load_model(args.model, compile=False)
    model = nested_keras.nest(base, args.sparsities, block_shape=args.block_shape)
    model.compile(
        keras.optimizers.Adam(args.learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        routing=args.routing,
    )
    model.fit(
        x_train,
        y_train,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_data=(x_test, y_test),
        callbacks=[
            callbacks.NestedPruning(),
            callbacks.BatchNormReestimation(x_train),
        ],
    )
    model.save(args.out)
    rows = [
        [str(row["level"]), f"{row['sparsity']:.3f}", f"{row['accuracy']:.2%}"]
        for row in model.evaluate_levels(x_test, y_test, verbose=0)
    ]
    arguments.say(format_table(["level", "sparsity", "accuracy"], rows))
    arguments.say(f"Wrote {args.out}")
