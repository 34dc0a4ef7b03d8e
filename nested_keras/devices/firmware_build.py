"""Build a firmware ELF: the generated model, a board, and the images of one run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nested_keras import files
from nested_keras.codegen import ctext, marks, sources
from nested_keras.codegen.firmware_errors import BuildError
from nested_keras.codegen.library import GeneratedLibrary, generate
from nested_keras.codegen.templating import fill
from nested_keras.detection.decoding import Decoder
from nested_keras.devices.board import Board
from nested_keras.devices.memory import explain_overflow
from nested_keras.devices.records import (
    BOX_BYTES,
    Array,
    detection_bytes,
    input_layout,
    output_layout,
    to_records,
)
from nested_keras.devices.toolchain import Toolchain, arm_toolchain, run_tool
from nested_keras.runtime.runner import AnyModel
from nested_keras.tflite.program import Program

DEFAULT_BOARD = "mps2_an500"

ELF_MARKED = ("images.S", "run/data.S")
"""Texts of a run, in generated C or in TFLite Micro: firmware.elf beside one is of that run."""

_MARKED = {
    "firmware_run.c": ("firmware_run.c",),
    "images.S": ("images.S",),
    "images.bin": ("images.S",),
    "firmware.elf": ELF_MARKED,
}


@dataclass(frozen=True)
class Firmware:
    """A built firmware.

    Attributes:
        elf: The file.
        library: The generated model in the firmware.
        levels: The levels that the firmware runs.
        text_bytes: Code and constants in flash, without the images of the run.
        data_bytes: Initialised variables: flash and RAM.
        bss_bytes: Zeroed variables, the arena among them, without the stack.
    """

    elf: Path
    library: GeneratedLibrary
    levels: tuple[int, ...]
    text_bytes: int
    data_bytes: int
    bss_bytes: int

    @property
    def model_bytes(self) -> int:
        """The part of text_bytes that is the model's constants."""
        return self.library.data_bytes


def build_firmware(
    model: AnyModel,
    inputs: Array | Sequence[Array],
    out_dir: str | Path,
    *,
    levels: Sequence[int] | None = None,
    board: str | Path = DEFAULT_BOARD,
    cache_dir: str | Path | None = None,
    decoder: Decoder | None = None,
) -> Firmware:
    """Generates and builds a firmware that runs the model over the inputs at every level.

    Args:
        model: Contents of a .tflite, its path, or a prepared graph.
        inputs: [n, ...] of the input's dtype; a sequence of such arrays for several inputs.
        out_dir: Receives firmware.elf, the generated library in model/, and the objects.
        levels: The levels to run; all by default.
        board: The name of a folder of tflm_ops/boards, or the path of a folder elsewhere.
        cache_dir: Where compiled objects are kept, to be shared by many builds; <out_dir>/objects
            by default.
        decoder: Of a detector: the firmware finds the boxes, too.

    Returns:
        The firmware.

    Raises:
        ToolchainError: The cross compiler is missing.
        BuildError: The compiler or linker refused, for example because the images do not fit
            the board.
        ValueError: A level out of range, inputs of a wrong shape or dtype, an unknown board.
        CodegenError: The graph holds something that cannot be printed, or a file to be written
            exists and is not of an earlier run.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
    """
    chosen_board = Board.read(board)
    toolchain = arm_toolchain(chosen_board.flags)
    out = Path(out_dir)
    marks.refuse_foreign(out, _MARKED, "firmware")
    cache = out / "objects" if cache_dir is None else Path(cache_dir)
    library = generate(model, out / "model", decoder=decoder)
    chosen = checked_levels(library.program, levels)
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    records = to_records(input_layout(library.program), arrays)
    run, images = _write_run(library, records, chosen, out, decoder)
    objects = _compile(library, run, board, toolchain, cache)
    elf = out / "firmware.elf"
    try:
        toolchain.link([*objects, images], elf, flags=(f"-T{chosen_board.linker_script}",))
    except BuildError as error:
        count, size = records.shape
        raise explain_overflow(error, chosen_board.folder, images=count, stride=size) from error
    text, data, bss = section_sizes(elf)
    return Firmware(elf, library, chosen, text, data, bss)


def _write_run(
    library: GeneratedLibrary,
    records: Array,
    levels: tuple[int, ...],
    out: Path,
    decoder: Decoder | None,
) -> tuple[Path, Path]:
    """Writes the C source of the run and the assembler source that holds its images."""
    content, run, images = out / "images.bin", out / "firmware_run.c", out / "images.S"
    text = run_source(
        library.program,
        levels,
        len(records),
        banner=marks.comment(library.model_sha256),
        declarations=generated_model(library.program, decoder),
        decoder=decoder,
    )
    files.write_text(run, text)
    # Before images.bin, which the mark of images.S tells from a file of the user.
    files.write_text(images, incbin_source("firmware_images", content.resolve(), section=".images"))
    files.write_bytes(content, records.tobytes())
    return run, images


def _compile(
    library: GeneratedLibrary, run: Path, board: str | Path, toolchain: Toolchain, cache: Path
) -> list[Path]:
    """Compiles the generated model, the run and the board; returns the objects."""
    boards = sources.boards_dir()
    common = boards / "common"
    include_dirs = (*library.include_dirs, boards, common, sources.board_dir(board))
    objects = library.compile(toolchain, cache, first_include=common / "profile.h")
    for source in (run, common / "main.c", *sources.board_sources(board)):
        objects.append(toolchain.compile(source, include_dirs=include_dirs, cache_dir=cache))
    return objects


def incbin_source(symbol: str, content: Path, *, section: str) -> str:
    """Assembler text that places a file's bytes in a read-only section, 16-byte aligned."""
    path = str(content).replace("\\", "\\\\").replace('"', '\\"')
    return f"""\
{marks.comment()}
    .section {section}, "a"
    .balign 16
    .global {symbol}
{symbol}:
    .incbin "{path}"
"""


def generated_model(program: Program, decoder: Decoder | None = None) -> str:
    """C text of the generated model behind the names that `run_source` uses by default."""
    inputs, outputs = input_layout(program), output_layout(program)
    arguments = [f"(const void *)(in + {offset})" for offset in inputs.offsets]
    arguments += [f"(void *)(out + {offset})" for offset in outputs.offsets]
    call = ctext.call("model_invoke", [*arguments, "level"], prefix="return ", tail="")
    call = call.removeprefix("  return ")
    if decoder is None:
        return fill("devices", "generated_model.c", call=call)
    boxes, scores = outputs.offsets
    return fill(
        "devices",
        "generated_detector.c",
        call=call,
        boxes=boxes,
        scores=scores,
        count=outputs.stride,
        detections=outputs.stride + detection_bytes(decoder) - BOX_BYTES * decoder.max_boxes,
    )


def run_source(
    program: Program,
    levels: tuple[int, ...],
    images: int,
    *,
    banner: str,
    declarations: str,
    arena_bytes: str = "arena_bytes",
    check: str = "model_check",
    invoke: str = "invoke",
    decoder: Decoder | None = None,
) -> str:
    """C text of `the_run` (boards/common/firmware.h).

    Args:
        program: The model.
        levels: The levels to run.
        images: Number of records in `firmware_images`.
        banner: The comment that begins the text.
        declarations: C text that defines or declares the next three.
        arena_bytes: Name of the variable that holds the bytes of the arena in use.
        check: Name of the function that checks the model.
        invoke: Name of the function that runs one record.
        decoder: Of a detector whose boxes follow its outputs.
    """
    outputs = output_layout(program)
    output_bytes = outputs.size
    if decoder is not None:
        output_bytes = outputs.stride + detection_bytes(decoder)
    return fill(
        "devices",
        "firmware_run.c",
        banner=banner,
        declarations=declarations.rstrip("\n"),
        levels=ctext.initializer(levels),
        op_counters=max(len(program.ops), 1),
        model_levels=program.levels,
        level_count=len(levels),
        images=images,
        input_stride=input_layout(program).stride,
        output_bytes=output_bytes,
        op_count=len(program.ops),
        arena_bytes=arena_bytes,
        check=check,
        invoke=invoke,
    )


def checked_levels(program: Program, levels: Sequence[int] | None) -> tuple[int, ...]:
    """The levels to run; all by default.

    Raises:
        ValueError: None at all, or one out of range.
    """
    chosen = tuple(range(program.levels)) if levels is None else tuple(levels)
    if not chosen or any(not 0 <= level < program.levels for level in chosen):
        raise ValueError(f"levels must be in 0..{program.levels - 1}: got {chosen}")
    return chosen


def section_sizes(elf: Path) -> tuple[int, int, int]:
    """Bytes of text, data and bss; the images of the run and the stack do not count."""
    listing = run_tool(["arm-none-eabi-size", "-A", os.fspath(elf)])
    rows = (line.split() for line in listing.splitlines())
    sections = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
    text = sections.get(".text", 0) + sections.get(".ARM.exidx", 0)
    return text, sections.get(".data", 0), sections.get(".bss", 0)
