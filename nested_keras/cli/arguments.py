"""What the commands share: types of arguments, data files, what is printed."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.firmware import RUNTIMES
from nested_keras.report import format_table


def add_command(
    commands: Any,
    name: str,
    action: Callable[[argparse.Namespace], int | None] | None,
    summary: str,
    details: str,
) -> argparse.ArgumentParser:
    """Adds a command to the parser of `nested-keras`.

    Args:
        commands: The subparsers of the main parser.
        name: The name of the command.
        action: Runs the command; returns its exit status, None for 0. None where commands below
            this one have actions of their own.
        summary: One line, shown in the list of commands.
        details: The rest of what `--help` says.

    Returns:
        The command's own parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{details}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(action=action)
    return parser


def add_model(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds the argument MODEL."""
    parser.add_argument("model", metavar="MODEL", type=Path, help=text)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --runtime."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="standalone",
        help="what runs the model on a device: generated C (default) or TFLite Micro",
    )


def fractions(text: str) -> tuple[float, ...]:
    """Reads comma-separated fractions such as 0.9,0.8,0.7."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected comma-separated fractions such as 0.9,0.8,0.7: got {text!r}"
        ) from None


def block_shape(text: str) -> tuple[int, int]:
    """Reads a block shape such as 1x4."""
    shapes = {"1x1": (1, 1), "1x2": (1, 2), "1x4": (1, 4)}
    if text not in shapes:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(shapes)}: got {text!r}")
    return shapes[text]


def positive(text: str) -> int:
    """Reads a whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more: got {text!r}")
    return int(text)


def load_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Returns arrays of a .npz archive by name.

    Raises:
        ValueError: If the file is no such archive or is damaged, or an array is missing.
    """
    found = [load_array(path, name) for name in names]
    missing = [name for name, array in zip(names, found, strict=True) if array is None]
    if missing:
        raise ValueError(
            f"{path}: expected arrays {', '.join(names)}; "
            f"got {', '.join(_names(path)) or 'none'} (missing {', '.join(missing)})"
        )
    return [array for array in found if array is not None]


def load_array(path: Path, name: str) -> npt.NDArray[Any] | None:
    """Returns an array of a .npz archive; None where the archive has none of that name.

    Raises:
        ValueError: If the file is no such archive or is damaged.
    """
    if name not in _names(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive[name]
    except MemoryError:
        raise ValueError(f"{path}: array {name} says that it is larger than the memory") from None
    except Exception as error:  # whatever zipfile, zlib and NumPy raise for damaged bytes
        text = " ".join(str(error).split())
        if "pickle" in text:  # NumPy advises to load such a file in an unsafe way
            text = "it holds Python objects where numbers are expected"
        raise ValueError(f"{path}: array {name} cannot be read: {text}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: {name} must be an array that numpy.savez wrote")
    return array


def _names(path: Path) -> list[str]:
    """Returns the names of the arrays of a .npz archive."""
    with path.open("rb") as file:
        start = file.read(6)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile:
        kinds = {b"": "an empty file", b"\x93NUMPY": "a .npy file, whose array has no name"}
        damaged = "a damaged archive" if start.startswith(b"PK") else "a file of another kind"
        raise ValueError(
            f"{path}: expected a .npz archive as numpy.savez writes it: "
            f"got {kinds.get(start, damaged)}"
        ) from None


def spread(count: int, samples: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Draws indices that are spread over the whole of a data set, which may be sorted.

    Args:
        count: The size of the data set, >= 1.
        samples: How many indices, >= 1; all of them where there are no more.
        seed: The seed.

    Returns:
        Increasing indices in 0..count-1: one drawn from each of as many equal parts.
    """
    if samples >= count:
        return np.arange(count)
    edges = np.linspace(0, count, samples + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def say(text: str) -> None:
    """Prints a line."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Prints the line of an error, whatever line breaks its text has."""
    print(f"nested-keras: error: {' '.join(text.split())}", file=sys.stderr, flush=True)


def print_levels(content: bytes) -> None:
    """Prints a table of what each level of a .tflite holds."""
    from nested_keras import report

    rows = [
        [str(size.level), f"{size.sparsity:.3f}", f"{size.nnz:,}", f"{size.weight_bytes:,}"]
        for size in report.level_sizes(content)
    ]
    say(format_table(["level", "zeros, all layers", "nonzeros", "weight bytes"], rows))
