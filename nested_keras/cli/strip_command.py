"""`nested-keras strip`: keep only the sparsest K levels of a .tflite."""

from __future__ import annotations

import argparse
from pathlib import Path

from nested_keras import files
from nested_keras.cli import arguments, examples
from nested_keras.runtime.runner import read_model
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "strip",
        _strip,
        "Keep only the sparsest K levels of a .tflite.",
        "Cuts each stream after level K-1, because the weights are stored level by level.",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument(
        "--levels", type=arguments.positive, required=True, metavar="K", help="levels to keep"
    )
    sub.add_argument("--out", type=Path, required=True, help="the .tflite to write")


def _strip(args: argparse.Namespace) -> None:
    from nested_keras import export

    files.require_writable(args.out)
    before = read_model(args.model)
    after = export.strip_model(before, args.levels)
    files.write_bytes(args.out, after)
    for beside in (examples.beside, examples.anchors_beside):
        if beside(args.model).exists():
            files.write_bytes(beside(args.out), beside(args.model).read_bytes())
    args.terminal.note(
        f"Wrote {args.out}: levels 0..{args.levels - 1}, {len(before):,} -> {len(after):,} bytes"
    )
