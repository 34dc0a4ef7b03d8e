"""Files that are written whole or not at all.

A file is first written under a temporary name in the folder where it belongs, and then renamed. A
reader finds the old file or the new one, and a run that is killed destroys neither.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end of the block.

    The temporary path has the suffix of `path`, because writers such as Keras's look at it. Where
    the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to make or to replace. Its folder must exist.

    Yields:
        The temporary path, beside `path`.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: str | os.PathLike[str], *, suffix: str | None = None) -> None:
    """Checks that `replacing` can write a file, before the work that makes its content.

    Args:
        path: The file to make or to replace.
        suffix: What its name must end in, if anything.

    Raises:
        ValueError: If the name ends in something else.
        OSError: If the folder is missing or cannot be written to, or the path is a folder or a
            file that is read-only.
    """
    target = Path(path)
    if suffix is not None and target.suffix != suffix:
        raise ValueError(f"expected the name of a file that ends in {suffix}: got {target}")
    if target.is_dir():
        raise IsADirectoryError(f"expected a file to write: {target} is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"expected a folder to write {target.name} to: {target.parent}")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"expected a file that can be written: {target} is read-only")
    with tempfile.TemporaryFile(dir=target.parent):
        pass


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file of bytes, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Writes a UTF-8 text file with the line ends as given, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="")
