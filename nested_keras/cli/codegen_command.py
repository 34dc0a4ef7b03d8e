"""`nested-keras codegen`: write a self-contained C library for a .tflite."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras.cli import arguments, detector_flags
from nested_keras.codegen.layouts import LAYOUTS
from nested_keras.codegen.library import WEIGHTS
from nested_keras.runtime.runner import read_model
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "codegen",
        _codegen,
        "Write a self-contained C library for a .tflite.",
        "No heap, no interpreter: model data, a static arena plan and\n"
        "NAME_invoke(input, output, level). C11; tried with GCC (PC, Arm) and Clang (PC).\n"
        "Replaces only the files of an earlier codegen in the folder.\n\n"
        "CMake, PlatformIO, ESP-IDF, Zephyr, CMSIS-Pack, Bazel and Arduino sketches take the\n"
        "folder as it is (docs/build_systems.md). --layout arduino writes an Arduino library.\n\n"
        "The library of a detector, which has its anchors beside it, finds the boxes, too:\n"
        "NAME_detect() (docs/detection.md).",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument("--out", type=Path, required=True, help="folder for the library")
    sub.add_argument("--name", default="model", help="prefix of the C names (default model)")
    sub.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        default="standard",
        help="arrangement of the folder (default standard)",
    )
    sub.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="compiled",
        help="where the weights lie: in the code (default), or in NAME_weights.bin, which the\n"
        "program gives to NAME_open() at run time",
    )
    sub.add_argument(
        "--arena",
        type=_arena,
        metavar="BYTES",
        help="the most bytes of RAM for the arena, or 'smallest': operators run strip by strip\n"
        "where that is necessary, with the same results and a few more instructions",
    )
    sub.add_argument(
        "--picture", type=Path, metavar="FILE", help="an SVG of the arena: what lies where and when"
    )
    detector_flags.add_flags(sub)
    arguments.add_json(sub)


def _arena(text: str) -> int | str:
    """The value of --arena."""
    from nested_keras.codegen.strip_choice import SMALLEST

    if text == SMALLEST:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"expected a number of bytes or {SMALLEST!r}: got {text!r}"
        )
    return int(text)


def _codegen(args: argparse.Namespace) -> None:
    from nested_keras import files, firmware

    arguments.require_json(args.json)
    if args.picture is not None:
        files.require_writable(args.picture)
    content = read_model(args.model)
    decoder = detector_flags.decoder_of(args, content)
    library = firmware.generate(
        content,
        args.out,
        name=args.name,
        decoder=decoder,
        layout=args.layout,
        weights=args.weights,
        arena=args.arena,
    )
    args.terminal.note(
        f"Wrote a C library to {args.out}: {library.arena_bytes:,} bytes of arena, "
        f"{library.stack_bytes:,} of stack"
    )
    args.terminal.note(f"Include {args.name}.h, compile every .c file, call {args.name}_invoke().")
    if library.weights is not None:
        args.terminal.note(f"Give the bytes of {library.weights} to {args.name}_open() first.")
    if decoder is not None:
        args.terminal.note(f"{args.name}_detect() finds the boxes in its outputs.")
    if args.picture is not None:
        files.write_text(args.picture, library.draw_arena())
    arguments.write_json(args, library.to_dict())
