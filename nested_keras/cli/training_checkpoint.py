"""The checkpoint of `nested-keras train`, so that an interruption loses no finished epoch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import files
from nested_keras.cli import arguments

_RECORD = "arguments.json"
_BACKUP = "backup"
_FINISHED = "finished"


class Checkpoint:
    """The folder of a training: `NAME.training` beside the output NAME.keras, or from `--run`.

    The folder holds the arguments of the training, and the backup that
    `keras.callbacks.BackupAndRestore` writes after each epoch. The same command goes on from the
    backup. A finished training removes the backup, and removes the folder unless the folder stays.

    Args:
        folder: The folder.
        values: The arguments that decide the training; JSON values.
        stays: Whether the folder stays when the training is finished.
        note: Called with a line if the training fails.

    Attributes:
        folder: The folder.

    Raises:
        ValueError: If the folder holds a training with other arguments, or a finished one.
    """

    def __init__(
        self,
        folder: Path,
        values: dict[str, Any],
        *,
        stays: bool = False,
        note: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._note = note
        self._stays = stays
        record = self.folder / _RECORD
        if (self.folder / _FINISHED).exists():
            raise ValueError(
                f"{self.folder} keeps the record of a finished training: name another folder, or "
                "remove this folder"
            )
        if record.exists():
            try:
                before = json.loads(record.read_text(encoding="utf-8"))
            except ValueError:
                before = {}
            changed = sorted(
                name.replace("_", "-")
                for name in {*before, *values}
                if before.get(name) != values.get(name)
            )
            if changed:
                raise ValueError(
                    f"{self.folder} keeps a training that was not finished, with another "
                    f"{' and another '.join(changed)}: give the same to go on, or remove the folder"
                )
        elif self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            raise ValueError(f"{self.folder} must be new or a folder of checkpoints: got another")
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_text(record, json.dumps(values, indent=2) + "\n")

    def epochs(self) -> int:
        """Returns the number of finished epochs in the backup."""
        try:
            text = (self.folder / _BACKUP / "training_metadata.json").read_text()
            return int(json.loads(text)["epoch"])
        except (OSError, ValueError, KeyError):
            return 0

    def callback(self) -> Any:
        """Returns the callback that restores and writes the backup; put this callback first."""
        import keras

        # Two backups, because a kill may come while a backup is written.
        return keras.callbacks.BackupAndRestore(
            str(self.folder / _BACKUP), double_checkpoint=True, delete_checkpoint=False
        )

    def finish(self) -> None:
        """Removes the backup of a finished training, and the folder unless the folder stays."""
        if self._stays:
            shutil.rmtree(self.folder / _BACKUP, ignore_errors=True)
            files.write_text(self.folder / _FINISHED, "")
        else:
            self.discard()

    def discard(self) -> None:
        """Removes the folder with all its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Prints a line about the kept epochs if the block is interrupted or fails.

        Raises:
            SystemExit: On Ctrl-C; SIGTERM and SIGHUP raise it in every command.
        """
        try:
            yield
        except KeyboardInterrupt:
            arguments.complain(f"stopped: {self._left()}")
            raise SystemExit(130) from None  # the status that a shell reports after Ctrl-C
        except SystemExit:
            arguments.complain(f"stopped: {self._left()}")
            raise
        except Exception:
            self._note(self._left())
            raise

    def _left(self) -> str:
        """Returns a sentence about the kept epochs, and removes a folder without a backup."""
        if not self.epochs():
            self.discard()
            return "no epoch was finished, so nothing is kept"
        return (
            f"{self.folder} keeps {self.epochs()} epochs; give the same command again to go on, or "
            "remove the folder"
        )


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of_arrays(*values: npt.NDArray[Any]) -> str:
    """Returns the SHA-256 of arrays: type, shape and content."""
    found = hashlib.sha256()
    for array in values:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
