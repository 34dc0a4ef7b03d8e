"""`nested-keras export`: convert a trained nested model to one .tflite with all its levels."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import files
from nested_keras.cli import arguments, data_files
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "export",
        _export,
        "Convert a trained nested model to one .tflite with all its levels.",
        "Folds BatchNorm, calibrates activation ranges over all levels, quantises to int8, packs\n"
        "the weights level by level, and compares every level with a dense golden model bit for\n"
        "bit before the file is written.",
    )
    arguments.add_model(sub, "nested .keras file written by `train` or NestedModel.save")
    sub.add_argument("--data", type=Path, required=True, help=".npz with x_train for calibration")
    sub.add_argument(
        "--samples",
        type=arguments.positive,
        default=200,
        help="calibration images, spread over all of x_train (default 200)",
    )
    for end in ("input", "output"):
        sub.add_argument(
            f"--{end}-type",
            choices=("int8", "uint8", "float32"),
            default="int8",
            help=f"type of the model's {end}s (default int8)",
        )
    sub.add_argument("--out", type=Path, required=True, help="the .tflite to write")


def _export(args: argparse.Namespace) -> None:
    import nested_keras
    from nested_keras import export

    files.require_writable(args.out)
    x_train = data_files.images(args.data, "x_train")
    model = nested_keras.load_model(args.model, compile=False)
    chosen = x_train[data_files.spread(len(x_train), args.samples)]
    content = export.to_tflite(
        model,
        representative_dataset=chosen,
        inference_input_type=args.input_type,
        inference_output_type=args.output_type,
    )
    files.write_bytes(args.out, content)
    arguments.say(
        f"Wrote {args.out}: {len(content):,} bytes, every level verified against its dense twin"
    )
    arguments.print_levels(content)
