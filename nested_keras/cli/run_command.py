"""`nested-keras run`: run a .tflite at every level and report accuracy and instructions."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import runtime
from nested_keras.cli import arguments, detector_flags, examples
from nested_keras.cli.parts import Part
from nested_keras.detection import decoding
from nested_keras.report import TARGETS, LevelRun, TargetRun, format_table
from nested_keras.runtime.runner import read_model
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "run",
        _run,
        "Run a .tflite at every level and report accuracy and instructions.",
        "Targets: `reference` (NumPy), `litert` (LiteRT with the NESTED_SPARSE_CONV delegate),\n"
        "`tflm` (TFLite Micro's own interpreter, from the PyPI package tflite-micro),\n"
        "`host` (generated C compiled for this PC), and generated C on an emulated Cortex-M,\n"
        "which also counts instructions per inference: `qemu` (--board names the core; by default\n"
        "mps2_an500, a Cortex-M7) and `renode` (NUCLEO-F767ZI; Renode is found on PATH or by the\n"
        "environment variable RENODE).\n"
        "With `--runtime tflm`, TFLite Micro runs on the device in place of the generated C;\n"
        "TFLM_ROOT must name a tree of TFLite Micro with a library for the Cortex-M7.\n"
        "Every output is compared with the NumPy reference; if an output differs, the exit status\n"
        "is 1. y_test holds class indices; a model with one output has two classes.\n\n"
        "A detector is a model with its anchors beside it. Generated C finds the boxes by itself,\n"
        "and the boxes are compared with the boxes of NumPy (docs/detection.md).",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument("--target", choices=TARGETS, required=True)
    arguments.add_runtime(sub)
    examples.add_flags(sub, "the test data as `train` takes them; labels may be missing in a .npz")
    arguments.add_board(sub, required=False)
    sub.add_argument(
        "--limit",
        type=arguments.positive,
        default=None,
        help="use only the first N inputs, or with class folders some inputs of each class",
    )
    detector_flags.add_flags(sub)
    sub.add_argument(
        "--draw",
        type=Path,
        default=None,
        metavar="DIR",
        help="write a PNG with the boxes of a detector for each input and level to this folder",
    )
    arguments.add_json(sub)


def test_data(args: argparse.Namespace, model: bytes) -> Part:
    """Returns the test data of a command.

    Args:
        args: The arguments of a command with the flags of `examples.add_flags` and --limit.
        model: The contents of the .tflite.
    """
    reading = examples.reading_of(args, args.model)
    details = runtime.lower(model)
    shape = details.tensors[details.inputs[0]].shape
    part = examples.load(args.data, "test", shape=(None, *shape[1:]), reading=reading)
    if part.y is not None and (not part.y.ndim or len(part.y) != len(part.x)):
        raise ValueError(
            f"{part.name}expected {len(part.x)} labels in {part.y_name}, one per input: got shape "
            f"{part.y.shape}"
        )
    return examples.first(part, args.limit)


def _run(args: argparse.Namespace) -> int:
    from nested_keras import report

    arguments.require_json(args.json)
    content = read_model(args.model)
    decoder = detector_flags.decoder_of(args, content)
    if args.draw is not None and decoder is None:
        raise ValueError(
            f"--draw is for a detector, which has its anchors beside it: expected "
            f"{examples.anchors_beside(args.model)} or --anchors"
        )
    part = test_data(args, content)
    result = report.run_levels(
        content,
        part.x,
        None if decoder else part.y,
        target=args.target,
        device_runtime=args.runtime,
        board=args.board_dir or args.board,
        decoder=decoder,
        truths=part.truths,
        progress=args.terminal.status,
    )
    args.terminal.note(f"{args.model} on {args.target}: {len(part.x)} inputs")
    if args.draw is not None:
        _draw(args, content, part, result)
    quality = ["accuracy"] if decoder is None else ["boxes", "mAP@0.5"]
    header = ["level", *quality, "instructions", "arena bytes", "flash bytes", "mismatches"]
    rows = [
        [
            str(row.level),
            *_quality(row),
            *(
                "-" if value is None else f"{value:,}"
                for value in (row.instructions, row.arena_bytes, row.flash_bytes)
            ),
            str(row.mismatches_against_reference),
        ]
        for row in result.levels
    ]
    args.terminal.say(format_table(header, rows))
    arguments.write_json(args, result.to_dict())
    wrong = sum(row.mismatches_against_reference for row in result.levels)
    if wrong:
        arguments.complain(f"{wrong:,} output values differ from the NumPy reference")
    return 1 if wrong else 0


def _quality(row: LevelRun) -> list[str]:
    """Returns the accuracy of a level, or number and average precision of a detector's boxes."""
    if row.detections is None:
        return [_percent(row.accuracy)]
    return [f"{sum(map(len, row.detections)):,}", _percent(row.average_precision)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _draw(args: argparse.Namespace, content: bytes, part: Part, result: TargetRun) -> None:
    """Draws the boxes of all levels."""
    reading = examples.reading_of(args, args.model)
    images = detector_flags.pictures(part.x, runtime.lower(content), reading)
    found = [[decoding.found(each) for each in row.detections or ()] for row in result.levels]
    count = detector_flags.draw(args.draw, images, found, part.classes or reading.classes)
    args.terminal.note(f"Wrote {count} images with boxes to {args.draw}")
