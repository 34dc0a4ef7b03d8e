"""Files that are written whole or not at all.

A file is first written under a temporary name in its folder, and then renamed. A reader finds the
old file or the new file, and a killed run destroys neither. A pipe or a device is written to.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end of the block.

    The temporary path has the suffix of `path`, because writers such as Keras's look at the suffix.
    If the block raises, the temporary file is removed and `path` stays unchanged.

    Args:
        path: The file to make or to replace, or a link to the file. Its folder must exist. What is
            written for a pipe or a device goes into the pipe or the device at the end of the block.

    Yields:
        The temporary path: beside the file, or in the folder of temporary files.
    """
    target = Path(path)
    stream = _is_stream(target)
    if not stream:  # a link stays a link
        target = Path(os.path.realpath(target))
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    temporary = folder / f".{target.stem}.{secrets.token_hex(4)}{Path(path).suffix}"
    try:
        yield temporary
        if stream:
            with temporary.open("rb") as made, target.open("wb") as sink:
                shutil.copyfileobj(made, sink)
        else:
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a device or a socket, which a rename would put an end to."""
    return path.exists() and not path.is_file() and not path.is_dir()


def require_writable(path: str | os.PathLike[str], *, suffix: str | None = None) -> None:
    """Checks that `replacing` can write a file, before the work begins.

    Args:
        path: The file to make or to replace.
        suffix: The required end of the name, if any.

    Raises:
        ValueError: If the name has another suffix.
        OSError: If the folder is missing or cannot be written to, or the path is a folder or a
            file that is read-only.
    """
    target = Path(path)
    if suffix is not None and target.suffix != suffix:
        raise ValueError(f"expected the name of a file that ends in {suffix}: got {target}")
    if target.is_dir():
        raise IsADirectoryError(f"expected a file to write: {target} is a folder")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"expected a file that can be written: {target} is read-only")
    if not _is_stream(target):
        target = Path(os.path.realpath(target))
        if not target.parent.is_dir():
            raise FileNotFoundError(f"expected a folder to write {target.name} to: {target.parent}")
        with tempfile.TemporaryFile(dir=target.parent):
            pass


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file of bytes, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Writes a UTF-8 text file with the line ends of the text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="")


def write_folder(
    folder: str | os.PathLike[str], contents: Mapping[str, bytes], *, remove: Iterable[str] = ()
) -> None:
    """Writes the files of a folder, all or none.

    All files are written to a temporary folder and then renamed into place, so that a full disk
    leaves the old files unchanged. Other files of the folder stay.

    Args:
        folder: Created if missing, with the folders above it.
        contents: The content of each file, by its path below `folder`, such as "src/a.c".
        remove: Files below `folder` that are removed after the new files are in place.
    """
    target = Path(folder)
    existing = next(path for path in (target, *target.absolute().parents) if path.is_dir())
    # Inside an existing folder, because a rename must not cross to another file system.
    temporary = existing / f".{target.name}.{secrets.token_hex(4)}"
    try:
        for name, content in contents.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name in contents:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).replace(target / name)
        for name in remove:
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
