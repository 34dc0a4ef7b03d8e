"""`nested-keras demo`: train, export and run a small nested convnet on an emulated Cortex-M7."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import native_output
from nested_keras.cli import arguments
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "demo",
        _demo,
        "Train, export and run a small nested convnet on an emulated Cortex-M7.",
        "Uses the handwritten digits that scikit-learn ships, so nothing is downloaded. Needs\n"
        "arm-none-eabi-gcc and qemu-system-arm. Leaves in the output folder report.json,\n"
        "report.html, firmware.elf, and files for the other commands: base.keras, data.npz,\n"
        "nested.keras and model.tflite. Prints one row per level.",
    )
    sub.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the results")


def _demo(args: argparse.Namespace) -> None:
    args.terminal.status("loading TensorFlow")
    native_output.load_tensorflow()
    from nested_keras import demo, report

    result = demo.run(args.out, say=args.terminal.note, status=args.terminal.status)
    args.terminal.note("")
    args.terminal.say(report.level_table(result))
    args.terminal.note(f"\nWrote to {args.out}/: {', '.join(demo.OUTPUTS)}")
