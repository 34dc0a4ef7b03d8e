"""`nested-keras firmware`: build the firmware that `run` runs, for an emulator or a board."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nested_keras.cli import arguments, detector_flags, examples, run_command
from nested_keras.runtime.runner import read_model
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "firmware",
        _firmware,
        "Build the firmware of `run`, for an emulator or for the board itself.",
        "Writes firmware.elf, which runs the inputs at every level and prints outputs and counts\n"
        "(docs/firmware.md).",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    arguments.add_board(sub, required=True)
    arguments.add_runtime(sub)
    examples.add_flags(
        sub, "the test data as `train` takes them (default: one input of zeros)", required=False
    )
    sub.add_argument(
        "--limit", type=arguments.positive, default=None, help="use only the first N inputs"
    )
    detector_flags.add_flags(sub)
    sub.add_argument("--out", type=Path, required=True, help="folder for the firmware")


def _firmware(args: argparse.Namespace) -> None:
    from nested_keras import firmware

    content = read_model(args.model)
    decoder = detector_flags.decoder_of(args, content)
    model = firmware.QemuModel(content, runtime=args.runtime, decoder=decoder)
    if args.data is None:
        x = [np.zeros(tensor.shape, tensor.dtype) for tensor in model.input_details]
    else:
        x = [run_command.test_data(args, content).x]
    args.terminal.status("building the firmware")
    board = args.board_dir or args.board
    built = model.build([array[: args.limit] for array in x], args.out, board=board)
    args.terminal.note(
        f"Wrote {built.elf}: {built.text_bytes:,} bytes of code and constants, "
        f"{built.data_bytes + built.bss_bytes:,} bytes of variables"
    )
