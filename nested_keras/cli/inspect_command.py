"""`nested-keras inspect`: show the layers of a .tflite, with their costs at each level."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator

from nested_keras.cli import arguments
from nested_keras.codegen.model_plan import Sizes
from nested_keras.report import format_table
from nested_keras.runtime.runner import read_model
from nested_keras.tflite.strip import LayerSummary
from nested_keras.typing import Subparsers

_WIDTH = 79


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "inspect",
        _inspect,
        "Show a .tflite's layers: nonzeros, bytes, encoding and predicted cycles per level.",
        "The bytes of level l are the bytes that a runtime reads at level l: header, tables and\n"
        "weights of the levels 0..l. A layer that is not nested has equal numbers at every level.\n"
        "The exporter chose blocks and `stored as` for the weights that each level adds. The\n"
        "cycles are predicted for the core (docs/kernels.md). The last table adds up the\n"
        "nested layers; --clock turns the cycles into milliseconds.",
    )
    arguments.add_model(sub, "a .tflite written by `export`")
    sub.add_argument(
        "--clock",
        type=_clock,
        metavar="HZ",
        help="clock of the core, such as 216e6, for milliseconds",
    )
    arguments.add_core(sub)
    arguments.add_json(sub)


def _clock(text: str) -> float:
    """A frequency in Hz."""
    try:
        clock = float(text)
    except ValueError:
        clock = math.nan
    if not 0 < clock < math.inf:
        raise argparse.ArgumentTypeError(f"expected a frequency above 0 in Hz: got {text}")
    return clock


def _ends(content: bytes) -> Iterator[str]:
    """Yields a line with type, shape and quantisation for each input and output."""
    from nested_keras.tflite import flatbuffer
    from nested_keras.tflite.file_reader import read_graph
    from nested_keras.tflite.lowering import read_interface

    interface = read_interface(read_graph(flatbuffer.load(content)))
    for end, indices in (("input", interface.inputs), ("output", interface.outputs)):
        for tensor in (interface.tensors[index] for index in indices):
            codes = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
            yield (
                f"{end} {tensor.name}: {tensor.dtype} {'x'.join(map(str, tensor.shape))}"
                f"{codes if tensor.scale else ''}"
            )


def _inspect(args: argparse.Namespace) -> None:
    from nested_keras import export, report

    arguments.require_json(args.json)
    content = read_model(args.model)
    layers = export.summarize_model(content, core=args.core)
    header = ["layer", "level", "nonzeros", "bytes", "stored as", "predicted\ncycles"]
    rows = [row for layer in layers for row in _rows(layer)]
    room = _WIDTH - sum(max(map(len, column)) + 2 for column in list(zip(*rows, strict=True))[1:])
    for row in rows:
        if len(row[0]) > max(room, 12):
            row[0] = "..." + row[0][3 - max(room, 12) :]
    args.terminal.say(format_table(header, rows))
    args.terminal.say("")
    for line in _ends(content):
        args.terminal.say(line)
    args.terminal.say("")
    memory = _memory(content)
    args.terminal.say(_memory_line(memory))
    nested = [layer for layer in layers if layer.cycles]
    levels = [
        {**dataclasses.asdict(size), "cycles": sum(layer.cycles[size.level] for layer in nested)}
        for size in report.level_sizes(content)
    ]
    args.terminal.say(_level_table(levels, args.clock))
    arguments.write_json(
        args,
        {
            "core": args.core,
            "layers": [dataclasses.asdict(layer) for layer in layers],
            "levels": levels,
            "generated_c": memory if isinstance(memory, str) else dataclasses.asdict(memory),
        },
    )


def _memory(content: bytes) -> Sizes | str:
    """The sizes of the model as generated C, or the reason why there is none."""
    from nested_keras import firmware

    try:
        return firmware.measure(content)
    except firmware.CodegenError as error:
        return str(error)


def _memory_line(memory: Sizes | str) -> str:
    if isinstance(memory, str):
        return f"generated C: none, because {memory}"
    return (
        f"generated C: arena {memory.arena_bytes:,}, stack {memory.stack_bytes:,}, "
        f"constants {memory.data_bytes:,} bytes"
    )


def _level_table(levels: list[dict[str, float]], clock: float | None) -> str:
    """Returns a row for each level, with the cycles of all nested layers."""
    header = ["level", "zeros,\nall layers", "nonzeros", "weight\nbytes", "nested layers,\ncycles"]
    rows = [
        [
            f"{row['level']}",
            f"{row['sparsity']:.3f}",
            *(f"{row[name]:,}" for name in ("nnz", "weight_bytes", "cycles")),
        ]
        for row in levels
    ]
    if clock is not None:
        header.append(f"ms at\n{clock / 1e6:g} MHz")
        for cells, row in zip(rows, levels, strict=True):
            cells.append(f"{1e3 * row['cycles'] / clock:.3f}")
    return format_table(header, rows)


def _rows(layer: LayerSummary) -> list[list[str]]:
    """Returns a row for each level of a layer; kind and size stand below its name."""
    facts = [layer.name, f"  {layer.kind}", f"  {layer.weights:,} weights"]
    if not layer.nested:
        cells = ["all", f"{layer.nnz[0]:,}", f"{layer.bytes[0]:,}", "not nested", "-"]
        return [[facts[0], *cells], *([fact, *[""] * 5] for fact in facts[1:])]
    facts.append(f"  blocks of 1x{layer.block_size}")
    count = len(layer.nnz)
    rows = []
    for index in range(max(count, len(facts))):
        cells = [""] * 5
        if index < count:
            cells = [
                *(str(index), f"{layer.nnz[index]:,}", f"{layer.bytes[index]:,}"),
                *(layer.encodings[index], f"{layer.cycles[index]:,}"),
            ]
        rows.append([facts[index] if index < len(facts) else "", *cells])
    return rows
