"""`nested-keras run`: run a .tflite at every level and report accuracy and instructions."""

from __future__ import annotations

import argparse
from typing import Any

from nested_keras import runtime
from nested_keras.cli import arguments, examples
from nested_keras.report import TARGETS, format_table
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
        "`host` (generated C compiled for this PC), and generated C on an emulated Cortex-M7,\n"
        "which also counts instructions per inference: `qemu` (mps2-an500) and `renode`\n"
        "(NUCLEO-F767ZI; Renode is found on PATH or by the environment variable RENODE).\n"
        "With `--runtime tflm`, TFLite Micro runs on the device in place of the generated C;\n"
        "TFLM_ROOT must name a tree of TFLite Micro with a library for the Cortex-M7.\n"
        "Every output is compared with the NumPy reference; if an output differs, the exit status\n"
        "is 1. y_test holds class indices; a model with one output has two classes.",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument("--target", choices=TARGETS, required=True)
    arguments.add_runtime(sub)
    examples.add_flags(sub, "the test data as `train` takes them; labels may be missing in a .npz")
    arguments.add_board_dir(sub)
    sub.add_argument(
        "--limit",
        type=arguments.positive,
        default=None,
        help="use only the first N inputs, or with class folders some inputs of each class",
    )
    arguments.add_json(sub)


def test_data(args: argparse.Namespace, model: bytes) -> tuple[Any, Any]:
    """Returns the test inputs of a command, and their labels or None.

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
    content = args.model.read_bytes()
    x, labels = test_data(args, content)
    result = report.run_levels(
        content,
        x,
        labels,
        target=args.target,
        device_runtime=args.runtime,
        board=args.board_dir,
        progress=args.terminal.status,
    )
    args.terminal.note(f"{args.model} on {args.target}: {len(x)} inputs")
    header = ["level", "accuracy", "instructions", "arena bytes", "flash bytes", "mismatches"]
    rows = [
        [
            str(row.level),
            "-" if row.accuracy is None else f"{row.accuracy:.2%}",
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
