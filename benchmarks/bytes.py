"""Bytes of a model against its cycles: `python -m benchmarks.bytes` writes bytes.json and bytes.md.

Each network is nested at 90, 80 and 70 %, unstructured, with random weights, and exported with
`optimize="latency"`, `"size"` or a number of bytes. All run as generated C on the emulated
Cortex-M7. The largest model is linked for the NUCLEO-F767ZI.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks import models
from nested_keras import applications, files, firmware, nest
from nested_keras.bench import whole_model
from nested_keras.codegen.firmware_errors import FirmwareError
from nested_keras.devices import process
from nested_keras.export import interface, steps
from nested_keras.export.shrink import Optimize
from nested_keras.report.table import format_table
from nested_keras.runtime.runner import load_program

HERE = Path(__file__).parent
BOARD = "nucleo_f767zi"
_SEED = 0
_HEAD = "<!-- Written by benchmarks/bytes.py. Do not edit. -->\n"
_NOTE = """\
`nested-keras export --optimize` at 90, 80 and 70 % sparsity, unstructured, with random weights.
"constants" is the weights and tables of the generated C; "paper" is the bytes of the weights of
the same network in the paper, which has one file for three levels too. "x" is the modelled cycles
of a level over those of `latency`. "F767ZI" says whether the firmware links for the NUCLEO-F767ZI,
which has 2 MB of flash. Every output equals the NumPy reference.

Unpacking takes some 13 cycles for each weight at each call: 8.25 to decode, 1.5 to sum up for the
bias, the rest for channels and parts. A tile of 8 pixels takes 8 to 14 cycles for a weight. So a
layer with many tiles pays little (ResNet-8), and one with 4 or 16 pixels pays as much as it costs
(MobileNetV1 on 32x32). A byte saved costs 12 to 16 cycles: MobileNetV1 1.0 must save 0.2 MB to
link for the board, which is 50 % at the densest level.
"""


@dataclass(frozen=True)
class Network:
    """A network, and the bytes to which it is exported.

    Attributes:
        name: Its name in the table.
        make: Makes the Keras model.
        paper_bytes: Bytes in the paper; None where the paper has none.
        limits: The values of `optimize` besides "latency" and "size".
    """

    name: str
    make: Callable[[], Any]
    paper_bytes: int | None
    limits: tuple[int, ...] = ()


def _mobilenet(width: float) -> Callable[[], Any]:
    return functools.partial(applications.mobilenet_v1, (32, 32, 3), 10, width=width)


NETWORKS = (
    Network("ResNet-8", applications.resnet8, None, (45_000,)),
    Network("MobileNetV1 1.0", _mobilenet(1.0), 1_464_000, (2_000_000, 1_800_000, 1_600_000)),
    Network("MobileNetV1 0.75", _mobilenet(0.75), 839_000),
    Network("MobileNetV1 0.5", _mobilenet(0.5), 387_000, (600_000, 500_000)),
    Network("MobileNetV1 0.25", _mobilenet(0.25), 115_000),
)


@dataclass(frozen=True)
class Row:
    """One export of a network.

    Attributes:
        network: Name of the network.
        optimize: What the export was asked for.
        tflite_bytes: The exported file.
        data_bytes: Constants.
        code_bytes: Machine code.
        arena_bytes: Static memory of the generated code.
        links: Whether the firmware links for the board.
        cycles: Of one inference at each level; modelled.
    """

    network: str
    optimize: Optimize
    tflite_bytes: int
    data_bytes: int
    code_bytes: int
    arena_bytes: int
    links: bool
    cycles: tuple[int, ...]


def exports(network: Network, optimize: tuple[Optimize, ...]) -> Iterator[tuple[Optimize, bytes]]:
    """Exports a network with seeded random weights, once for each value of `optimize`."""
    keras.utils.set_random_seed(_SEED)
    nested = nest(network.make(), models.SPARSITIES)
    nested.prune()
    images = np.random.default_rng(_SEED).standard_normal((32, *nested.input_shape[1:]))
    with_types = functools.partial(interface.with_types, inputs="int8", outputs="int8")
    state = steps.ExportState(nested, images.astype(np.float32), with_types)
    *before, last = steps.STEPS
    for step in before:
        state = step(state)
    for each in optimize:
        yield each, last(dataclasses.replace(state, optimize=each)).tflite


def measure(network: Network, optimize: Optimize, tflite: bytes, folder: Path) -> Row:
    """Runs an export at all its levels, and links it for the board; objects stay in a folder."""
    found = whole_model.run(tflite, work_dir=folder)
    return Row(
        network.name,
        optimize,
        len(tflite),
        found.data_bytes,
        found.code_bytes,
        found.arena_bytes,
        links(tflite, folder),
        tuple(level.cycles for level in found.levels),
    )


def links(tflite: bytes, folder: Path) -> bool:
    """Says whether the firmware of a model, with one image, fits the flash and RAM of the board."""
    program = load_program(tflite)
    image = np.zeros((1, *program.tensors[program.inputs[0]].shape[1:]), np.int8)
    try:
        firmware.build_firmware(tflite, image, folder / BOARD, board=BOARD)
    except FirmwareError:
        return False
    return True


def table(rows: list[Row]) -> str:
    """One line for each row."""
    header = ["network", "--optimize", ".tflite", "constants", "paper", "code", "arena"]
    header += ["90 %", "80 %", "70 %", "x", "x", "x", "F767ZI"]
    fast = {row.network: row.cycles for row in rows if row.optimize == "latency"}
    paper = {network.name: network.paper_bytes for network in NETWORKS}
    lines = []
    for row in rows:
        limit = row.optimize if isinstance(row.optimize, str) else f"{row.optimize:,}"
        of_paper = paper[row.network]
        ratios = [a / b for a, b in zip(row.cycles, fast[row.network], strict=True)]
        sizes = (row.code_bytes, row.arena_bytes, *row.cycles)
        lines.append(
            [
                row.network,
                limit,
                f"{row.tflite_bytes:,}",
                f"{row.data_bytes:,}",
                "" if of_paper is None else f"{of_paper:,}",
                *(f"{size:,}" for size in sizes),
                *(f"{ratio:.2f}" for ratio in ratios),
                "yes" if row.links else "no",
            ]
        )
    return format_table(header, lines)


def page(rows: list[Row]) -> str:
    """The text of bytes.md."""
    return (
        f"{_HEAD}# Bytes against cycles\n\n{_NOTE}\n{models.counted_with()}\n\n"
        f"```\n{table(rows)}\n```\n"
    )


def main() -> None:
    """Measures and writes both files."""
    rows: list[Row] = []
    with process.temporary_folder() as folder:
        for network in NETWORKS:
            for optimize, tflite in exports(network, ("latency", *network.limits, "size")):
                rows.append(measure(network, optimize, tflite, folder))
                print(table(rows).splitlines()[-1], flush=True)
    files.write_text(
        HERE / "bytes.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    )
    files.write_text(HERE / "bytes.md", page(rows))


if __name__ == "__main__":
    main()
