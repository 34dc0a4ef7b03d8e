"""`nested-keras run`: run a .tflite at every level and report accuracy and instructions."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import files
from nested_keras.cli import arguments, data_files
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
        "With `--runtime tflm` TFLite Micro runs there in place of the generated C; TFLM_ROOT\n"
        "must name a tree of it with a library built for the Cortex-M7.\n"
        "Every output is compared with the NumPy reference; where one differs, the exit status is\n"
        "1. y_test holds class indices; a model with one score is one of two classes.",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument("--target", choices=TARGETS, required=True)
    arguments.add_runtime(sub)
    sub.add_argument("--data", type=Path, required=True, help=".npz with x_test and maybe y_test")
    sub.add_argument(
        "--limit", type=arguments.positive, default=None, help="use only the first N inputs"
    )
    arguments.add_json(sub)


def _run(args: argparse.Namespace) -> int:
    from nested_keras import report

    if args.json:
        files.require_writable(args.json)
    x = data_files.images(args.data, "x_test")
    labels = data_files.labels(args.data, "y_test", count=len(x))
    result = report.run_levels(
        args.model.read_bytes(),
        x[: args.limit],
        None if labels is None else labels[: args.limit],
        target=args.target,
        device_runtime=args.runtime,
    )
    arguments.say(f"{args.model} on {args.target}: {len(x[: args.limit])} inputs")
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
    arguments.say(format_table(header, rows))
    if args.json:
        arguments.write_json(args.json, result.to_dict())
    wrong = sum(row.mismatches_against_reference for row in result.levels)
    if wrong:
        arguments.complain(f"{wrong:,} output values differ from the NumPy reference")
    return 1 if wrong else 0
