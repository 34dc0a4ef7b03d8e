"""The data files of the commands: .npz archives of inputs and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import arrays


def images(path: Path, name: str) -> npt.NDArray[Any]:
    """Returns inputs [n, ...] of a .npz archive: int8 as stored, any other type as float32.

    Raises:
        ValueError: If the file is no .npz archive or is damaged, or the array is missing or holds
            no finite real numbers.
    """
    (x,) = load_arrays(path, name)
    return arrays.real_images(x, name=f"{path}: {name}")


def load_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Returns arrays of a .npz archive by name.

    Raises:
        ValueError: If the file is no .npz archive or is damaged, or an array is missing.
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
    """Returns an array of a .npz archive; None if the archive has no array of that name.

    Raises:
        ValueError: If the file is no .npz archive or is damaged.
    """
    if name not in _names(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive[name]
    except MemoryError:
        raise ValueError(f"{path}: array {name} says that it is larger than the memory") from None
    except Exception as error:  # zipfile, zlib and NumPy raise many types for damaged bytes
        text = " ".join(str(error).split())
        if "pickle" in text:  # NumPy's text advises to load such a file in an unsafe way
            text = "the array holds Python objects where numbers are expected"
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
            f"{path}: expected a .npz archive of numpy.savez: got {kinds.get(start, damaged)}"
        ) from None


def spread(count: int, samples: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Draws indices that are spread over the whole of a data set, because data may be sorted.

    Args:
        count: The size of the data set, >= 1.
        samples: The number of indices, >= 1; a data set with no more examples gives all indices.
        seed: The seed.

    Returns:
        Increasing indices in 0..count-1: one index from each of `samples` equal parts.
    """
    if samples >= count:
        return np.arange(count)
    edges = np.linspace(0, count, samples + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])
