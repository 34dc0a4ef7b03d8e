"""`nested-keras inspect`: show the layers of a .tflite, and what they cost at each level."""

from __future__ import annotations

import argparse
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


def _per_level(numbers: Sequence[int]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def _say_ends(content: bytes) -> None:
    """Prints type, shape and quantisation of the inputs and outputs."""
    from nested_keras.tflite import flatbuffer
    from nested_keras.tflite.file_reader import read_graph
    from nested_keras.tflite.lowering import read_interface

    interface = read_interface(read_graph(flatbuffer.load(content)))
    for end, indices in (("input", interface.inputs), ("output", interface.outputs)):
        for tensor in (interface.tensors[index] for index in indices):
            codes = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
            arguments.say(
                f"{end} {tensor.name}: {tensor.dtype} {'x'.join(map(str, tensor.shape))}"
                f"{codes if tensor.scale else ''}"
            )
    arguments.say("")


def _inspect(args: argparse.Namespace) -> None:
    from nested_keras import export

    content = args.model.read_bytes()
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
        for layer in export.summarize_model(content)
    ]
    arguments.say(format_table(header, rows))
    arguments.say("")
    _say_ends(content)
    arguments.print_levels(content)
