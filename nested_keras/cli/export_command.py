"""`nested-keras export`: convert a trained nested model to one .tflite with all its levels."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import files, native_output
from nested_keras.cli import arguments, data_files, examples
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
    examples.add_flags(sub, "the training data, for calibration, as `train` takes them")
    sub.add_argument(
        "--samples",
        type=arguments.positive,
        default=200,
        help="calibration examples, spread over all training data (default 200)",
    )
    for end in ("input", "output"):
        sub.add_argument(
            f"--{end}-type",
            choices=("int8", "uint8", "float32"),
            default="int8",
            help=f"type of the model's {end}s (default int8)",
        )
    sub.add_argument(
        "--optimize",
        type=_optimize,
        default="latency",
        metavar="latency|size|BYTES",
        help="store levels as they run fastest, in the fewest bytes, or so that the file has at "
        "most BYTES (default latency)",
    )
    sub.add_argument("--out", type=Path, required=True, help="the .tflite to write")


def _optimize(text: str) -> str | int:
    if text in ("latency", "size"):
        return text
    try:
        return arguments.positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected latency, size or a positive number of bytes: got {text!r}"
        ) from None


def _export(args: argparse.Namespace) -> None:
    args.terminal.status("loading TensorFlow and the model")
    native_output.load_tensorflow()
    import nested_keras
    from nested_keras import export

    files.require_writable(args.out)
    model = nested_keras.load_model(args.model, compile=False)
    reading = examples.reading_of(args, args.model, model)
    args.terminal.status("loading the data")
    shape = tuple(model.inputs[0].shape)
    x_train = examples.load(args.data, "train", shape=shape, reading=reading).x
    chosen = x_train[data_files.spread(len(x_train), args.samples)]
    args.terminal.status("exporting: fold, calibrate, convert, quantise, pack, verify")
    content = export.to_tflite(
        model,
        representative_dataset=chosen,
        inference_input_type=args.input_type,
        inference_output_type=args.output_type,
        optimize=args.optimize,
    )
    files.write_bytes(args.out, content)
    examples.keep(args.out, reading)
    args.terminal.note(
        f"Wrote {args.out}: {len(content):,} bytes, every level verified against its dense twin"
    )
    args.terminal.say(arguments.level_table(content))
