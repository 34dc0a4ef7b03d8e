"""What `nested-keras train` keeps beside its output, so that an interruption loses no epoch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nested_keras import files

_RECORD = "arguments.json"
_BACKUP = "backup"


class Checkpoint:
    """The folder `NAME.training` beside the output NAME.keras.

    It holds the arguments of the training, and the backup that `keras.callbacks.BackupAndRestore`
    writes after each epoch. The same command goes on from it; a finished training removes it.

    Args:
        out: The output of the training.
        arguments: What decides how the training goes; JSON values.

    Attributes:
        folder: The folder.

    Raises:
        ValueError: If the folder holds a training with other arguments.
    """

    def __init__(self, out: Path, arguments: dict[str, Any]) -> None:
        self.folder = out.with_name(f"{out.stem}.training")
        record = self.folder / _RECORD
        if record.exists():
            try:
                before = json.loads(record.read_text(encoding="utf-8"))
            except ValueError:
                before = {}
            changed = sorted(
                name for name in {*before, *arguments} if before.get(name) != arguments.get(name)
            )
            if changed:
                raise ValueError(
                    f"{self.folder} keeps a training that was not finished, with another "
                    f"{' and another '.join(changed)}: give the same to go on, or remove the folder"
                )
        elif self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            raise ValueError(f"{self.folder} is needed for checkpoints, but is no folder of them")
        self.folder.mkdir(exist_ok=True)
        files.write_text(record, json.dumps(arguments, indent=2) + "\n")

    def epochs(self) -> int:
        """Returns how many epochs the backup holds."""
        try:
            text = (self.folder / _BACKUP / "training_metadata.json").read_text()
            return int(json.loads(text)["epoch"])
        except (OSError, ValueError, KeyError):
            return 0

    def callback(self) -> Any:
        """Returns the callback that restores and writes the backup; put it first."""
        import keras

        # Two backups: a kill may come while one is written.
        return keras.callbacks.BackupAndRestore(
            str(self.folder / _BACKUP), double_checkpoint=True, delete_checkpoint=False
        )

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps the folder where the block is interrupted or fails after the first epoch.

        Raises:
            StoppedError: On Ctrl-C, SIGTERM and SIGHUP.
        """
        try:
            with _signals_as_interrupt():
                yield
        except KeyboardInterrupt:
            raise StoppedError(self._left()) from None
        except Exception:
            self._left()
            raise

    def _left(self) -> str:
        """Says what is left, and removes a folder without a backup."""
        if not self.epochs():
            self.remove()
            return "stopped before the end of the first epoch: nothing is kept"
        return (
            f"stopped: {self.folder} keeps {self.epochs()} epochs; give the same command again to "
            "go on, or remove the folder"
        )


class StoppedError(Exception):
    """The user or the system stopped the training; the text says what is left of it."""


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
