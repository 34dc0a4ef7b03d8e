"""`nested-keras demo`: train, export and run a small nested convnet on an emulated Cortex-M7."""

from __future__ import annotations

import argparse
from pathlib import Path

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
        "arm-none-eabi-gcc and qemu-system-arm. Leaves model.tflite, firmware.elf, report.json\n"
        "and report.html in the output folder and prints one row per level.",
    )
    sub.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the results")


def _demo(args: argparse.Namespace) -> None:
    from nested_keras import demo, report

    result = demo.run(args.out, say=arguments.say)
    arguments.say("")
    arguments.say(report.level_table(result))
    arguments.say(f"\nWrote model.tflite, firmware.elf, report.json and report.html to {args.out}/")
