"""Build a firmware ELF that runs a model in TFLite Micro instead of generated C.

TFLite Micro itself is the user's: TFLM_ROOT names a tree whose Makefile has built a library for
the Cortex-M7. CMake builds the rest (tflm_ops/tflm/firmware).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nested_keras import files
from nested_keras.codegen import marks, sources
from nested_keras.codegen.firmware_errors import BuildError, ToolchainError
from nested_keras.codegen.templating import fill
from nested_keras.devices.board import Board
from nested_keras.devices.firmware_build import (
    DEFAULT_BOARD,
    ELF_MARKED,
    checked_levels,
    incbin_source,
    run_source,
    section_sizes,
)
from nested_keras.devices.memory import explain_overflow
from nested_keras.devices.records import (
    Array,
    RecordLayout,
    input_layout,
    output_layout,
    to_records,
)
from nested_keras.devices.toolchain import cortex_m7_toolchain, find_tool, run_tool
from nested_keras.runtime.runner import ModelFile, read_model
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import Graph, read_graph
from nested_keras.tflite.lowering import lower_graph
from nested_keras.tflite.program import Program

ROOT_VARIABLE = "TFLM_ROOT"
"""Environment variable that names a TFLite Micro tree with a built library."""

ARENA_BYTES = 256 * 1024
"""Default size of TFLite Micro's arena; a run measures the bytes that a model uses."""

_MARKED = {
    "run/tflm_model.h": ("run/tflm_model.h",),
    "run/firmware_run.c": ("run/firmware_run.c",),
    "run/data.S": ("run/data.S",),
    "run/model.tflite": ("run/data.S",),
    "run/images.bin": ("run/data.S",),
    "firmware.elf": ELF_MARKED,
}
_OWN_KERNELS = ("ADD", "MEAN")  # of tflm_ops/tflm/nk_builtins.h, in place of TFLite Micro's


@dataclass(frozen=True)
class TflmFirmware:
    """A built firmware that holds TFLite Micro.

    Attributes:
        elf: The file.
        levels: The levels that the firmware runs.
        text_bytes: Code and constants in flash, the model among them, without the images of the
            run.
        data_bytes: Initialised variables: flash and RAM.
        bss_bytes: Zeroed variables, the whole arena among them, without the stack.
        model_bytes: Size of the .tflite in flash.
    """

    elf: Path
    levels: tuple[int, ...]
    text_bytes: int
    data_bytes: int
    bss_bytes: int
    model_bytes: int


def tflm_root() -> Path:
    """The user's TFLite Micro tree.

    Raises:
        ToolchainError: TFLM_ROOT is not set, or names no such tree.
    """
    value = os.environ.get(ROOT_VARIABLE)
    if not value:
        raise ToolchainError(
            f"{ROOT_VARIABLE} is not set: it must name a TFLite Micro tree with a library built "
            "for the Cortex-M7 (tflm_ops/README.md)"
        )
    root = Path(value).resolve()
    marker = Path("tensorflow") / "lite" / "micro" / "micro_interpreter.h"
    if not (root / marker).is_file():
        raise ToolchainError(
            f"{ROOT_VARIABLE} must name a TFLite Micro tree: {root} has no {marker}"
        )
    return root


def build_tflm_firmware(
    model: ModelFile,
    inputs: Array | Sequence[Array],
    out_dir: str | Path,
    *,
    levels: Sequence[int] | None = None,
    board: str | Path = DEFAULT_BOARD,
    arena_bytes: int = ARENA_BYTES,
    main: Path | None = None,
) -> TflmFirmware:
    """Builds a firmware that runs the model in TFLite Micro over the inputs at every level.

    The resolver holds just the operators of the model.

    Args:
        model: Contents of a .tflite or its path.
        inputs: [n, ...] of the input's dtype; a sequence of such arrays for several inputs.
        out_dir: Receives firmware.elf and the files that the ELF is built from.
        levels: The levels to run; all by default.
        board: The name of a folder of tflm_ops/boards, or the path of a folder elsewhere.
        arena_bytes: Size of the arena.
        main: The C file with main(); boards/common/main.c by default.

    Returns:
        The firmware.

    Raises:
        ToolchainError: TFLM_ROOT, the cross compiler or CMake is missing.
        BuildError: A compiler refused, for example because the model does not fit the board.
        CodegenError: A file to be written exists and is not of an earlier run.
        ValueError: A level out of range, inputs of a wrong shape or dtype, an unknown board, or
            a board with another core than the Cortex-M7.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
    """
    root = tflm_root()
    folder = _cortex_m7_board(board)
    out = Path(out_dir)
    marks.refuse_foreign(out, _MARKED, "firmware")
    for tool in ("cmake", "ninja"):
        find_tool(tool)
    original = read_model(model)
    content, graph = _inlined(original)
    program = lower_graph(graph)
    chosen = checked_levels(program, levels)
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    records = to_records(input_layout(program), arrays)
    banner = marks.comment(hashlib.sha256(original).hexdigest())
    texts = {
        "tflm_model.h": _model_header(program, graph, arena_bytes, banner),
        "firmware_run.c": _run_source(program, chosen, len(records), banner),
    }
    _write_run(out / "run", texts, content, records)
    try:
        elf = _build(root, out.resolve(), folder, main)
    except BuildError as error:
        size = records.shape[1]
        raise explain_overflow(error, folder, images=len(records), stride=size) from error
    text_bytes, data_bytes, bss_bytes = section_sizes(elf)
    return TflmFirmware(elf, chosen, text_bytes, data_bytes, bss_bytes, len(content))


def _inlined(model: bytes) -> tuple[bytes, Graph]:
    """A .tflite with all buffers inside and aligned, which TFLite Micro takes on trust."""
    tree = flatbuffer.load(model)
    read_graph(tree)  # checks the parts that flatbuffer.load() takes on trust
    content = flatbuffer.save(tree)
    return content, read_graph(tree)


def _cortex_m7_board(board: str | Path) -> Path:
    """The folder of a board, whose core must be that of the user's TFLite Micro."""
    chosen = Board.read(board)
    if chosen.core != "cortex-m7":
        raise ValueError(
            f"TFLite Micro runs on boards with a Cortex-M7: {board} has a {chosen.core}"
        )
    return chosen.folder


def _run_source(program: Program, levels: tuple[int, ...], images: int, banner: str) -> str:
    """C text of the run, which calls the names of tflm_run.cc."""
    return run_source(
        program,
        levels,
        images,
        banner=banner,
        declarations=fill("devices", "tflm_run.c"),
        arena_bytes="tflm_arena_bytes",
        check="tflm_check",
        invoke="tflm_invoke",
    )


def _write_run(run: Path, texts: dict[str, str], model: bytes, records: Array) -> None:
    """Writes the model, the images and the sources of a run into its folder."""
    run.mkdir(parents=True, exist_ok=True)
    data = incbin_source("tflm_model", (run / "model.tflite").resolve(), section=".rodata")
    data += incbin_source("firmware_images", (run / "images.bin").resolve(), section=".images")
    for name, text in (*texts.items(), ("data.S", data)):
        files.write_text(run / name, text)
    # After data.S, whose mark tells the two from files of the user.
    files.write_bytes(run / "model.tflite", model)
    files.write_bytes(run / "images.bin", records.tobytes())


def _build(root: Path, out: Path, board: Path, main: Path | None) -> Path:
    """Configures and builds the CMake project with the flags of the other firmware."""
    toolchain = cortex_m7_toolchain()
    c_flags = " ".join(toolchain.flags)
    cxx_flags = " ".join(f for f in toolchain.flags if f not in ("-std=c11", "-Wconversion"))
    settings = {
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_SYSTEM_PROCESSOR": "cortex-m7",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_C_COMPILER": toolchain.compiler,
        "CMAKE_CXX_COMPILER": "arm-none-eabi-g++",
        "CMAKE_C_FLAGS": c_flags,
        "CMAKE_CXX_FLAGS": cxx_flags,
        "CMAKE_ASM_FLAGS": c_flags,
        "TFLM_ROOT": root,
        "NK_BOARD_DIR": board,
        "NK_RUN_DIR": out / "run",
        "CMAKE_RUNTIME_OUTPUT_DIRECTORY": out,
    }
    if main is not None:
        settings["NK_MAIN"] = main
    project = sources.tflm_ops_dir() / "tflm" / "firmware"
    defines = [f"-D{name}={value}" for name, value in settings.items()]
    build = str(out / "build")
    run_tool(["cmake", "-G", "Ninja", "-S", str(project), "-B", build, *defines])
    run_tool(["cmake", "--build", build])
    return out / "firmware.elf"


def _model_header(program: Program, graph: Graph, arena_bytes: int, banner: str) -> str:
    """C++ text of tflm_model.h, which tflm_run.cc includes."""
    level = program.level_input
    kinds = sorted({(op.kind, op.custom) for op in graph.operators})
    is_ours = any(custom for _, custom in kinds)
    adders = "\n  ".join(
        f"resolver->{_adder(kind, custom=custom, is_ours=is_ours)};" for kind, custom in kinds
    )
    inputs = _record_tensors(
        input_layout(program), [graph.inputs.index(tensor) for tensor in program.inputs]
    )
    outputs = _record_tensors(output_layout(program), range(len(program.outputs)))
    return fill(
        "devices",
        "tflm_model.h",
        banner=banner,
        inputs=inputs,
        outputs=outputs,
        level_input=-1 if level is None else graph.inputs.index(level),
        arena_bytes=arena_bytes,
        ops=len(kinds),
        adders=adders,
    )


def _record_tensors(layout: RecordLayout, positions: Sequence[int]) -> str:
    """Initialisers of RecordTensor."""
    return ", ".join(
        f"{{{position}, {offset}, {tensor.nbytes}}}"
        for position, offset, tensor in zip(positions, layout.offsets, layout.tensors, strict=True)
    )


def _adder(kind: str, *, custom: bool, is_ours: bool) -> str:
    """The call that puts an operator into the resolver, such as AddAveragePool2D().

    A model of ours (`is_ours`) has operators of ours; any other runs on TFLite Micro alone.
    """
    if custom:
        return f'AddCustom("{kind}", Register_{kind}())'
    words = (word if word == "2D" else word.capitalize() for word in kind.split("_"))
    kernel = f"Register_NK_{kind}()" if is_ours and kind in _OWN_KERNELS else ""
    return f"Add{''.join(words)}({kernel})"
