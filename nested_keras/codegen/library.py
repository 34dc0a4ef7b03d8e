"""Write standalone C from a .tflite: a folder with the model, its weights and its kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nested_keras import files
from nested_keras.codegen import ctext, marks, sources
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.model_source import ModelSource, print_model
from nested_keras.codegen.reserved_names import checked_name
from nested_keras.detection.decoding import Decoder
from nested_keras.runtime.runner import AnyModel, load_program, read_model
from nested_keras.tflite.program import Program

_FILES_NAMED = 5  # in an error message


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
        include_dirs: Folders for the compiler's -I.
        arena_bytes: Size of the static arena.
        data_bytes: Size of the constants: weights, tables, streams.
        stack_bytes: Bound of the stack under any of its functions, on a Cortex-M7 with gcc 12 at
            -O2 or -Os.
        program: The prepared graph from which the library was printed.
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
    model_sha256: str | None = None

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns the name and the sizes for a JSON file."""
        return {
            "name": self.name,
            "levels": self.program.levels,
            "arena_bytes": self.arena_bytes,
            "data_bytes": self.data_bytes,
            "stack_bytes": self.stack_bytes,
            "model_sha256": self.model_sha256,
        }

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

    Returns:
        The written library.

    Raises:
        ValueError: `name` is no such prefix, or is reserved (`reserved_names.py`).
        CodegenError: The graph holds something that cannot be printed, or a file to be written
            exists and is not of an earlier run.
        nested_keras.runtime.ModelError: The bytes are no model that can be run.
        nested_keras.runtime.UnsupportedOpError: An operator that the runtimes do not know.
    """
    checked_name(name)
    digest = None
    if not isinstance(model, Program):
        model = read_model(model)
        digest = hashlib.sha256(model).hexdigest()
    program = load_program(model)
    source = print_model(program, name, marks.comment(digest), decoder)
    directory = Path(out_dir)
    kernels = sources.sources_for(source.kernels)
    _write(directory, _texts(name, source, kernels, digest))
    return GeneratedLibrary(
        directory=directory,
        name=name,
        sources=(directory / f"{name}.c", *(directory / "src" / path.name for path in kernels)),
        include_dirs=(directory, directory / "include"),
        arena_bytes=source.arena_bytes,
        data_bytes=source.data_bytes,
        stack_bytes=source.stack_bytes,
        program=program,
        model_sha256=digest,
    )


def _texts(
    name: str, source: ModelSource, kernels: Sequence[Path], digest: str | None
) -> dict[str, bytes]:
    """Returns the contents of all files, by their paths in the folder."""
    banner = marks.lines(digest)
    texts = {
        f"{name}.h": source.header,
        f"{name}.c": source.source,
        f"{name}_data.h": source.data,
        "CMakeLists.txt": _cmake(name, [path.name for path in kernels], banner),
        "README.md": _readme(name, source, banner),
    }
    # Every file of src/ is to be compiled, so that a project may name the folder as a whole.
    used = "nk_detection_s8" in source.kernels
    public = [path for path in sources.headers() if used or path.name != "nk_detection.h"]
    copies = {"include": (*public, *sources.private_headers(kernels)), "src": kernels}
    for folder, paths in copies.items():
        for path in paths:
            texts[f"{folder}/{path.name}"] = f"{marks.comment()}\n{sources.flat_text(path)}"
    return {path: text.encode("ascii") for path, text in texts.items()}


def _write(directory: Path, contents: dict[str, bytes]) -> None:
    """Writes the files, and removes other files of an earlier run."""
    paths = [*contents, *sorted({path.split("/")[0] for path in contents if "/" in path})]
    foreign = [path for path in paths if _is_foreign(directory / path, folder=path not in contents)]
    if foreign:
        raise CodegenError(
            f"{directory} holds files that codegen did not write: {_listed(foreign)}; "
            "choose another folder, or delete them"
        )
    marked = [path for path in sorted(directory.glob("*")) if marks.is_marked(path)]
    others = [path.name for path in marked if path.name not in contents]
    if others:
        raise CodegenError(
            f"{directory} holds a library of another name: {_listed(others)}; "
            "choose another folder, or delete them"
        )
    copies = (path.relative_to(directory) for path in sorted(directory.glob("*/*")))
    stale = [
        path.as_posix()
        for path in copies
        if path.parts[0] in ("include", "src")
        and path.as_posix() not in contents
        and marks.is_marked(directory / path)
    ]
    files.write_folder(directory, contents, remove=stale)


def _is_foreign(path: Path, *, folder: bool) -> bool:
    """Whether a path holds something that no earlier run has put there."""
    if folder:
        return path.exists() and not path.is_dir()
    return (path.exists() or path.is_symlink()) and not marks.is_marked(path)


def _listed(names: list[str]) -> str:
    more = len(names) - _FILES_NAMED
    return ", ".join(names[:_FILES_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cmake(name: str, kernels: list[str], banner: tuple[str, ...]) -> str:
    compiled = "".join(f"  src/{kernel}\n" for kernel in kernels if kernel.endswith(".c"))
    assembly = "".join(
        _CMAKE_ASSEMBLY.format(name=name, file=kernel)
        for kernel in kernels
        if kernel.endswith(".S")
    )
    return f"""\
{"".join(f"# {line}" + chr(10) for line in banner)}cmake_minimum_required(VERSION 3.16)
project({name} C)

# In your own project: add_subdirectory(<this folder>), then target_link_libraries(app {name}).
add_library({name} STATIC
  {name}.c
{compiled})
{assembly}target_include_directories({name} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}}
                                  ${{CMAKE_CURRENT_SOURCE_DIR}}/include)
target_compile_features({name} PRIVATE c_std_11)
if(UNIX)
  target_link_libraries({name} PUBLIC m)
endif()
"""


# As in tflm_ops/CMakeLists.txt.
_CMAKE_ASSEMBLY = """\
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  # The assembly file is empty for cores without the instructions of the Cortex-M7. The file learns
  # the core from the flags, and toolchain files often give the flags to the C compiler alone.
  if(NOT CMAKE_ASM_COMPILER_TARGET)
    set(CMAKE_ASM_COMPILER_TARGET "${{CMAKE_C_COMPILER_TARGET}}")
  endif()
  enable_language(ASM)
  string(REGEX MATCHALL "(^| )(-m|--target=)[^ ]+" core "${{CMAKE_C_FLAGS}}")
  string(REPLACE ";" "" core "${{core}}")
  set(CMAKE_ASM_FLAGS "${{CMAKE_ASM_FLAGS}} ${{core}}")
  target_sources({name} PRIVATE src/{file})
endif()
"""


def _readme(name: str, source: ModelSource, banner: tuple[str, ...]) -> str:
    upper = name.upper()
    return f"""\
<!-- {" ".join(banner)} -->
# {name}

The model as C11 without heap and without an interpreter: {source.data_bytes} bytes of constants,
{source.arena_bytes} bytes of arena. A call takes at most {source.stack_bytes} bytes of stack on a
Cortex-M7 with gcc 12 at -O2 or -Os, and more at -O0.

    #include "{name}.h"

    {ctext.call(f"{name}_invoke", source.example, prefix="nk_status status = ", indent="")}

`level` is 0 (sparsest, fastest) to {upper}_LEVELS - 1 (densest). Quantisation constants and sizes
stand in {name}.h. `{name}_check()` verifies all packed weights: call `{name}_check()` once at
start-up if the flash may be damaged.

`{name}_invoke` works in a static arena, so only one call may run at a time. `{name}_invoke_in`
takes an arena of yours, {upper}_ARENA_SIZE bytes: calls in different arenas may run at the same
time. Define {upper}_ARENA_ATTRIBUTE and {upper}_WEIGHTS_ATTRIBUTE (for example with
`-include placement.h`) to place the static arena and the weights in sections of your own.

Build: add the folder to a CMake project (`add_subdirectory`), or compile {name}.c and the .c
and .S files in src with `-std=c11 -O2 -I. -Iinclude`.
"""
