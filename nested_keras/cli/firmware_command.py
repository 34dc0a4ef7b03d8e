"""`nested-keras firmware`: build the firmware that `run` runs, for an emulator or a board."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nested_keras.cli import arguments, data_files
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "firmware",
        _firmware,
        "Build the firmware that `run` runs, for an emulator or for the board itself.",
        "Writes firmware.elf, which runs the inputs at every level and prints outputs and counts\n"
        "(docs/firmware.md). `make flash` writes it to a NUCLEO-F767ZI.",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument("--board", required=True, help="a folder of tflm_ops/boards (docs/boards.md)")
    arguments.add_runtime(sub)
    sub.add_argument(
        "--data", type=Path, default=None, help=".npz with x_test (default: one input of zeros)"
    )
    sub.add_argument(
        "--limit", type=arguments.positive, default=None, help="use only the first N inputs"
    )
    sub.add_argument("--out", type=Path, required=True, help="folder for the firmware")


def _firmware(args: argparse.Namespace) -> None:
    from nested_keras import firmware

    model = firmware.QemuModel(args.model.read_bytes(), runtime=args.runtime)
    if args.data is None:
        x = [np.zeros(tensor.shape, tensor.dtype) for tensor in model.input_details]
    else:
        x = [data_files.images(args.data, "x_test")]
    built = model.build([array[: args.limit] for array in x], args.out, board=args.board)
    arguments.say(
        f"Wrote {built.elf}: {built.text_bytes:,} bytes of code and constants, "
        f"{built.data_bytes + built.bss_bytes:,} bytes of variables"
    )
