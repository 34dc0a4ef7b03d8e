"""Find the C sources of tflm_ops, and the sources that a generated library needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from nested_keras.codegen.firmware_errors import FirmwareError

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# A function's head at the start of a line, up to the brace that opens its body.
_DEFINITION = re.compile(r"^(?!static\b)[a-z][^;{}()=]*?\b(nk_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
# What a header only declares; the rest of a header are macros, types and inline functions.
_PROTOTYPE = re.compile(r"^(?!static\b)[a-z][^;{}()=]*?\bnk_\w+\([^;{}]*\)\s*;", re.MULTILINE)
# An assembly file names its functions: ".global nk_a, nk_b". The file calls no other function.
_GLOBAL = re.compile(r"^\s*\.global\s+(nk_\w+(?:\s*,\s*nk_\w+)*)$", re.MULTILINE)
_USE = re.compile(r"\b(nk_\w+)\(")
_NAME = re.compile(r"\bnk_\w+\b")
_INCLUDE = re.compile(r'^#include "(?:\.\./)*(?:\w+/)?(\w+\.h)"$', re.MULTILINE)


def tflm_ops_dir() -> Path:
    """The folder of the C sources: beside the package in a checkout, inside it when installed.

    Raises:
        FirmwareError: The folder is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    places = (package.parent / "tflm_ops", package / "tflm_ops")
    for place in places:
        if (place / "include" / "nk_ops.h").is_file():
            return place
    raise FirmwareError(
        "the C sources of tflm_ops are missing: expected include/nk_ops.h in "
        f"{places[0]} or {places[1]}"
    )


def boards_dir() -> Path:
    """The folder of the boards of this package, with the headers that every board includes."""
    return tflm_ops_dir() / "boards"


def board_dir(board: str | Path) -> Path:
    """The folder of one board.

    Args:
        board: Its name, such as "mps2_an500", or the path of a folder elsewhere.

    Raises:
        ValueError: There is no such board, or the folder has no linker script or no C file.
    """
    if isinstance(board, Path):
        folder = board.resolve()
        missing = [
            name
            for name, pattern in ((f"{folder.name}.ld", f"{folder.name}.ld"), ("a C file", "*.c"))
            if not any(folder.glob(pattern))
        ]
        if missing:
            raise ValueError(
                f"{board}: a board must have {' and '.join(missing)}: got no such file"
            )
        return folder
    boards = boards_dir()
    known = sorted(path.parent.name for path in boards.glob("*/*.ld"))
    if board not in known:
        raise ValueError(f"board must be one of {', '.join(known)}: got {board!r}")
    return boards / board


def board_sources(board: str | Path) -> tuple[Path, ...]:
    """The C files that bring up one board: the start-up code of all boards and the board's own.

    The files need tflm_ops/boards among the folders for `#include`.

    Args:
        board: Its name, such as "mps2_an500", or the path of a folder elsewhere.

    Raises:
        ValueError: There is no such board.
    """
    folder = board_dir(board)
    return (boards_dir() / "common" / "startup.c", *sorted(folder.glob("*.c")))


def tflm_adapters() -> tuple[Path, ...]:
    """The sources of the operators for TFLite Micro; their headers lie beside them."""
    return tuple(sorted((tflm_ops_dir() / "tflm").glob("*.cc")))


def tflm_abi_dir() -> Path:
    """The declarations that stand in for the headers of TFLite Micro when the adapter is built."""
    return tflm_ops_dir() / "tflm" / "abi"


def exported_names() -> dict[str, Path]:
    """The names that the library exports to a linker, each with the file that defines it."""
    return dict(_index(tflm_ops_dir())[0])


def functions_used(*files: Path) -> tuple[str, ...]:
    """Names of the library's public functions that source files call."""
    texts = (_COMMENT.sub("", file.read_text(encoding="utf-8")) for file in files)
    return tuple(sorted({name for text in texts for name in _USE.findall(text)}))


def headers() -> tuple[Path, ...]:
    """The headers that a user of the library includes."""
    return tuple(sorted((tflm_ops_dir() / "include").glob("*.h")))


def private_headers(kernels: Iterable[Path]) -> tuple[Path, ...]:
    """The headers beside the sources that some source files include, directly or not.

    Args:
        kernels: Files of tflm_ops/src.

    Returns:
        Paths in alphabetical order.
    """
    places = {path.name: path for path in (tflm_ops_dir() / "src").glob("*/*.h")}
    needed: set[Path] = set()
    waiting = list(kernels)
    while waiting:
        text = waiting.pop().read_text(encoding="utf-8")
        found = {places[name] for name in _INCLUDE.findall(text) if name in places}
        waiting.extend(found - needed)
        needed |= found
    return tuple(sorted(needed))


def flat_text(path: Path, *, headers: str) -> str:
    """The text of a file of tflm_ops, for a folder that holds all headers side by side.

    Args:
        path: The file.
        headers: Where the headers lie, from the place of the text: "" or a path that ends in a
            slash.
    """
    text = path.read_text(encoding="utf-8")
    return _INCLUDE.sub(rf'#include "{headers}\1"', text)


def sources_for(functions: Iterable[str]) -> tuple[Path, ...]:
    """The source files that define the functions, and the functions called by these files.

    Args:
        functions: Names of public functions.

    Returns:
        Paths in alphabetical order.

    Raises:
        FirmwareError: No source file defines a function.
    """
    root = tflm_ops_dir()
    defined_in, used_by = _index(root)
    needed: set[Path] = set()
    wanted = list(functions)
    for function in wanted:
        if function not in defined_in:
            raise FirmwareError(f"no source file below {root} defines {function}")
    while wanted:
        path = defined_in[wanted.pop()]
        if path not in needed:
            needed.add(path)
            wanted.extend(used_by[path])
    return tuple(sorted(needed))


@lru_cache(maxsize=4)
def _index(root: Path) -> tuple[dict[str, Path], dict[Path, tuple[str, ...]]]:
    """File of each public function, and the public functions of other files that a file calls."""
    texts = {
        path: _COMMENT.sub("", path.read_text(encoding="utf-8"))
        for path in sorted((root / "src").glob("*/*.c"))
    }
    defined_in = {name: path for path, text in texts.items() for name in _DEFINITION.findall(text)}
    for path in sorted((root / "src").glob("*/*.S")):
        texts[path] = ""
        for names in _GLOBAL.findall(path.read_text(encoding="utf-8")):
            defined_in.update({name.strip(): path for name in names.split(",")})
    inline = {
        path: _USE.findall(_PROTOTYPE.sub("", _COMMENT.sub("", path.read_text(encoding="utf-8"))))
        for path in (root / "src").glob("*/*.h")
    }
    used_by = {}
    for path, text in texts.items():
        called = {name for header in private_headers([path]) for name in inline[header]}
        used = (called | set(_NAME.findall(text))) & set(defined_in)
        used_by[path] = tuple(name for name in sorted(used) if defined_in[name] != path)
    return defined_in, used_by
