"""`nested-keras inspect`: show the layers of a .tflite, and what they cost at each level."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from nested_keras.cli import arguments
from nested_keras.report import format_table
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "inspect",
        _inspect,
        "Show a .tflite's layers: nonzeros, bytes, encoding and predicted cycles per level.",
        "Bytes of level l are what a runtime reads at level l: header, tables and weights of the\n"
        "levels 0..l. Layers that are not nested count the same at every level. `block` and\n"
        "`stored as` are what the exporter chose for the weights that each level adds; the cycles\n"
        "are those of a Cortex-M7, predicted (docs/kernels.md).",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    arguments.add_json(sub)


def _per_level(numbers: Sequence[int]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def _inspect(args: argparse.Namespace) -> None:
    from nested_keras import export, report

    arguments.require_json(args.json)
    content = args.model.read_bytes()
    layers = export.summarize_model(content)
    header = [
        *("layer", "kind", "weights", "nonzeros per level", "bytes per level"),
        *("block", "stored as", "predicted cycles per level"),
    ]
    rows = [
        [
            layer.name,
            layer.kind,
            f"{layer.weights:,}",
            _per_level(layer.nnz),
            _per_level(layer.bytes),
            f"1x{layer.block_size}" if layer.nested else "-",
            " / ".join(layer.encodings) if layer.nested else "not nested",
            _per_level(layer.cycles) if layer.nested else "-",
        ]
        for layer in layers
    ]
    args.terminal.say(format_table(header, rows))
    args.terminal.say("")
    args.terminal.say(arguments.level_table(content))
    sizes = [dataclasses.asdict(size) for size in report.level_sizes(content)]
    arguments.write_json(
        args, {"layers": [dataclasses.asdict(layer) for layer in layers], "levels": sizes}
    )
