"""Write standalone C from a .tflite: a folder with the model, its weights and its kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from nested_keras import files
from nested_keras.codegen import arena_picture, ctext, marks, sources
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.layouts import Facts, Layout, layout_of, print_files
from nested_keras.codegen.model_plan import Sizes
from nested_keras.codegen.model_source import ModelSource, print_model, sizes_of
from nested_keras.codegen.reserved_names import checked_name
from nested_keras.codegen.storage import Storage
from nested_keras.codegen.strip_choice import SMALLEST
from nested_keras.detection.decoding import Decoder
from nested_keras.runtime.runner import AnyModel, load_program, read_model
from nested_keras.tflite.program import Program

WEIGHTS = ("compiled", "external")
"""Where the weights of a library may lie."""


class Compiler(Protocol):
    """A compiler of single files, such as `nested_keras.devices.toolchain.Toolchain`."""

    def compile(
        self,
        source: Path,
        *,
        include_dirs: Sequence[Path],
        cache_dir: Path,
        first_include: Path | None = None,
    ) -> Path:
        """Returns the object file."""
        ...


@dataclass(frozen=True)
class GeneratedLibrary:
    """A generated folder.

    Attributes:
        directory: The folder.
        name: Prefix of its functions and, in capitals, macros.
        sources: Its C files.
        weights: The file of weights that the library opens at run time; None where the weights are
            compiled.
        include_dirs: Folders for the compiler's -I.
        arena_bytes: Size of the static arena.
        data_bytes: Size of the constants: weights, tables, streams.
        stack_bytes: Bound of the stack under any of its functions, on a Cortex-M7 with gcc 12 at
            -O2 or -Os.
        program: The prepared graph from which the library was printed.
        storage: Where each tensor lies.
        model_sha256: sha256 of the .tflite, in hexadecimal; None without a .tflite.
    """

    directory: Path
    name: str
    sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]
    arena_bytes: int
    data_bytes: int
    stack_bytes: int
    program: Program = field(repr=False)
    storage: Storage = field(repr=False)
    model_sha256: str | None = None
    weights: Path | None = None

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns the name and the sizes for a JSON file."""
        return {
            "name": self.name,
            "levels": self.program.levels,
            "arena_bytes": self.arena_bytes,
            "data_bytes": self.data_bytes,
            "weights": None if self.weights is None else str(self.weights),
            "stack_bytes": self.stack_bytes,
            "model_sha256": self.model_sha256,
        }

    def draw_arena(self) -> str:
        """Returns a picture of the arena as SVG: which bytes hold what during which operators."""
        title = f"{self.name}: an arena of {self.arena_bytes:,} bytes"
        return arena_picture.draw(self.storage, len(self.program.ops), title)

    def compile(
        self, compiler: Compiler, cache_dir: Path, *, first_include: Path | None = None
    ) -> list[Path]:
        """Compiles every file of the library, or finds the objects of equal compilations.

        Args:
            compiler: The compiler with its flags.
            cache_dir: Where objects are kept. The objects of kernels serve every model.
            first_include: A header to include ahead of `<name>.c`, for its hook after each
                operator.

        Returns:
            The objects; the first is the object of `<name>.c`.

        Raises:
            ToolchainError: The compiler is missing.
            BuildError: The compiler refused a file.
        """
        model, *kernels = self.sources
        return [
            compiler.compile(
                model,
                include_dirs=self.include_dirs,
                cache_dir=cache_dir,
                first_include=first_include,
            ),
            *(
                compiler.compile(kernel, include_dirs=self.include_dirs, cache_dir=cache_dir)
                for kernel in kernels
            ),
        ]


def generate(
    model: AnyModel,
    out_dir: str | Path,
    *,
    name: str = "model",
    decoder: Decoder | None = None,
    layout: str = "standard",
    weights: str = "compiled",
    arena: int | str | None = None,
) -> GeneratedLibrary:
    """Writes a self-contained C library that runs the model.

    The library has no heap, no interpreter and no dependency but the C library. Its interface is
    `<name>.h`: `nk_status <name>_invoke(const int8_t *input, int8_t *output, int32_t level)`,
    `nk_status <name>_check(void)`, and places for input and output in the arena.

    All files are written, or none. The files of an earlier run bear a mark in their first line and
    are replaced; marked files that the model does not need any more are removed. Other files stay.

    Args:
        model: Contents of a .tflite, its path, or a prepared graph.
        out_dir: The folder; made when absent.
        name: Prefix of all names: lower-case letters, digits and underscores, a letter first.
        decoder: Of a detector (`runtime.decoder_for`): the library has `<name>_detect()` besides,
            which finds the boxes in the outputs (docs/detection.md).
        layout: "standard", a folder that CMake, PlatformIO, ESP-IDF, Zephyr, CMSIS-Pack, Bazel and
            Arduino sketches take as it is; or "arduino", a library for Arduino.
        weights: "compiled", as arrays in the code; or "external", in the file <name>_weights.bin,
            which the program gives to `<name>_open(file, size)` (docs/firmware.md).
        arena: The most bytes of the arena, >= 0, or "smallest": operators then run strip by strip
            where necessary (docs/firmware.md). None for the fewest instructions.

    Returns:
        The written library.

    Raises:
        ValueError: `name` is no such prefix, or is reserved (`reserved_names.py`); or there is no
            such layout, place of the weights or arena.
        CodegenError: The graph holds something that cannot be printed or needs a larger arena, or a
            file to be written exists and is not of an earlier run.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
        nested_keras.runtime.UnsupportedOpError: An operator that the runtimes do not know.
    """
    checked_name(name)
    chosen = layout_of(layout)
    _check_memory(weights, arena)
    digest = None
    if not isinstance(model, Program):
        model = read_model(model)
        digest = hashlib.sha256(model).hexdigest()
    program = load_program(model)
    external, banner = weights == "external", marks.comment(digest)
    source = print_model(program, name, banner, decoder, external_weights=external, arena=arena)
    kernels = sources.sources_for(source.kernels)
    contents = _contents(name, source, kernels, chosen, digest)
    directory = Path(out_dir)
    _write(directory, chosen, contents, either={_weights_name(name), f"{chosen.code}{name}_data.h"})
    return _library(directory, chosen, name, source, kernels, program, digest)


def _library(
    directory: Path,
    layout: Layout,
    name: str,
    source: ModelSource,
    kernels: Sequence[Path],
    program: Program,
    digest: str | None,
) -> GeneratedLibrary:
    """Returns the library that lies in a folder."""
    folder = directory / layout.code
    return GeneratedLibrary(
        directory=directory,
        name=name,
        sources=(folder / f"{name}.c", *(folder / "src" / path.name for path in kernels)),
        include_dirs=(folder, folder / "include"),
        arena_bytes=source.sizes.arena_bytes,
        data_bytes=source.sizes.data_bytes,
        stack_bytes=source.sizes.stack_bytes,
        program=program,
        storage=source.storage,
        model_sha256=digest,
        weights=None if source.weights is None else directory / _weights_name(name),
    )


def measure(model: AnyModel, arena: int | str | None = None) -> Sizes:
    """Returns the sizes of the library that `generate` would write, weights compiled.

    Args:
        model: Contents of a .tflite, its path, or a prepared graph.
        arena: As for `generate`.

    Raises:
        ValueError: There is no such arena.
        CodegenError: The graph holds something that cannot be printed, or needs a larger arena.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
    """
    _check_memory(WEIGHTS[0], arena)
    return sizes_of(load_program(model), arena)


def _check_memory(weights: str, arena: int | str | None) -> None:
    """Refuses an unknown place of the weights and a limit of the arena that is none."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}: got {weights!r}")
    if arena is None or arena == SMALLEST or (isinstance(arena, int) and arena >= 0):
        return
    raise ValueError(f"arena must be a number of bytes, {SMALLEST!r} or None: got {arena!r}")


def _weights_name(name: str) -> str:
    return f"{name}_weights.bin"


def _contents(
    name: str, source: ModelSource, kernels: Sequence[Path], layout: Layout, digest: str | None
) -> dict[str, bytes]:
    """Returns the contents of all files, by their paths in the folder."""
    code = _code(name, source, kernels)
    texts = {layout.code + path: text for path, text in code.items()}
    texts |= print_files(layout, _facts(name, source, code), digest)
    contents = {path: text.encode("ascii") for path, text in texts.items()}
    if source.weights is not None:
        contents[_weights_name(name)] = source.weights
    return contents


def _code(name: str, source: ModelSource, kernels: Sequence[Path]) -> dict[str, str]:
    """Returns the texts of all C files, by their paths in the folder of the code."""
    texts = {f"{name}.h": source.header, f"{name}.c": source.source}
    if source.data is not None:
        texts[f"{name}_data.h"] = source.data
    # Every file of src/ is to be compiled, so that a project may name the folder as a whole.
    needs = {"nk_detection.h": "nk_detection_s8", "nk_weights.h": "nk_weights_check"}
    public = [
        path
        for path in sources.headers()
        if path.name not in needs or needs[path.name] in source.kernels
    ]
    for path in (*public, *sources.private_headers(kernels)):
        texts[f"include/{path.name}"] = f"{marks.comment()}\n{sources.flat_text(path, headers='')}"
    for path in kernels:
        text = sources.flat_text(path, headers="../include/")
        texts[f"src/{path.name}"] = f"{marks.comment()}\n{text}"
    return texts


def _facts(name: str, source: ModelSource, code: Iterable[str]) -> Facts:
    return Facts(
        name=name,
        upper=name.upper(),
        c_source=tuple(path for path in code if path.endswith(".c")),
        assembly_source=tuple(path for path in code if path.endswith(".S")),
        header=tuple(path for path in code if path.startswith("include/")),
        call=_example(name, source),
        data_bytes=source.sizes.data_bytes,
        arena_bytes=source.sizes.arena_bytes,
        stack_bytes=source.sizes.stack_bytes,
    )


def _example(name: str, source: ModelSource) -> str:
    """The calls of an example, in lines after the first with the indent of the README."""
    if source.weights is None:
        return ctext.call(f"{name}_invoke", source.example, prefix="nk_status status = ", indent="")
    call = ctext.call(f"{name}_invoke", source.example, prefix="status = ")
    opening = f"nk_status status = {name}_open(file, size); /* bytes of {_weights_name(name)} */"
    return f"{opening}\n    if (status == NK_OK) {{\n    {call}\n    }}"


def _write(
    directory: Path, layout: Layout, contents: dict[str, bytes], *, either: set[str]
) -> None:
    """Writes the files, and removes other files of an earlier run.

    Args:
        directory: The folder.
        layout: Its layout.
        contents: The files.
        either: Files of which one or the other belongs to a library of this name.
    """
    folders = {parent.as_posix() for path in contents for parent in PurePosixPath(path).parents}
    in_the_way = {path for path in folders - {"."} if not (directory / path).is_dir()}
    marks.refuse_foreign(
        directory,
        {path: () if path in in_the_way else (path,) for path in sorted({*contents, *in_the_way})},
        "codegen",
    )
    marked = _marked(directory, {"", layout.code}) - set(contents)
    others = marked - either
    if others:
        raise CodegenError(
            f"{directory} holds a library of another name or layout: "
            f"{marks.listed(sorted(others))}; choose another folder, or delete them"
        )
    copies = _marked(directory, {f"{layout.code}include/", f"{layout.code}src/"})
    files.write_folder(directory, contents, remove=sorted((copies | marked) - set(contents)))


def _marked(directory: Path, folders: Iterable[str]) -> set[str]:
    """The files in some folders that bear the mark, by their paths in the directory."""
    return {
        folder + path.name
        for folder in folders
        for path in (directory / folder).glob("*")
        if marks.is_marked(path)
    }
