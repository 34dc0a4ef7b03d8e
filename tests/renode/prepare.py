"""Builds what nucleo_f767zi.robot runs and expects: python -m tests.renode.prepare FOLDER [MODEL].

MODEL is a nested .tflite; without one a small network with random weights is taken.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nested_keras.devices.records import output_layout, to_records
from nested_keras.firmware import QemuModel, build_firmware
from nested_keras.runtime.runner import load_program
from nested_keras.tflite.operators import NestedSparseConv
from nested_keras.tflite.program import Program
from tests.nested_keras.codegen.programs import expected, nested_net, random_inputs

BOARD = "nucleo_f767zi"
IMAGES = 2
# 50 ms at the 200 MIPS of the platform file.
COUNTING_INSTRUCTIONS = 10_000_000


def prepare(folder: Path, program: Program) -> None:
    """Writes the firmwares and the lines that they are to print.

    `levels.elf`, `switching.elf` and `corrupted.elf` are what their names say; `counting.elf` runs
    the levels again and again, so that the counters can be read while it is at work.

    Args:
      folder: Receives the files.
      program: A nested model with int8 inputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    x = random_inputs(program, IMAGES)
    levels = range(program.levels)
    switching = [*reversed(levels), *levels, *levels[::2]]
    counts = QemuModel(program).run_all(x).instructions
    repeats = math.ceil(COUNTING_INSTRUCTIONS / (IMAGES * sum(counts)))
    with tempfile.TemporaryDirectory() as work:
        for name, model, chosen in (
            ("levels", program, levels),
            ("switching", program, switching),
            ("corrupted", _corrupt(program), levels),
            ("counting", program, [*levels] * repeats),
        ):
            firmware = build_firmware(
                *(model, x, Path(work) / name),
                levels=chosen,
                board=BOARD,
                cache_dir=Path(work) / "objects",
            )
            shutil.copy(firmware.elf, folder / f"{name}.elf")
    (folder / "levels.txt").write_text(_lines(program, x, levels))
    (folder / "switching.txt").write_text(_lines(program, x, switching))
    totals = (f"{level} {round(count * IMAGES)}\n" for level, count in enumerate(counts))
    (folder / "qemu.txt").write_text("".join(totals))


def _lines(program: Program, x, levels: Sequence[int]) -> str:
    """The `out` lines of the reference's outputs."""
    layout = output_layout(program)
    lines = []
    for level in levels:
        records = to_records(layout, expected(program, x, level))
        for image, record in enumerate(records):
            lines.append(f"out {level} {image} {record[: layout.size].tobytes().hex()}\n")
    return "".join(lines)


def _corrupt(program: Program) -> Program:
    """One bit of the last stream flipped, in the middle of its weights."""
    ops = list(program.ops)
    index = max(i for i, op in enumerate(ops) if isinstance(op, NestedSparseConv))
    stream = bytearray(ops[index].layer.data)
    stream[len(stream) // 2] ^= 1
    layer = dataclasses.replace(ops[index].layer, data=bytes(stream))
    ops[index] = dataclasses.replace(ops[index], layer=layer)
    return dataclasses.replace(program, ops=tuple(ops))


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    prepare(arguments[0], load_program(arguments[1]) if len(arguments) > 1 else nested_net())
