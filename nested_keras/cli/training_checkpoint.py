"""What `nested-keras train` keeps beside its output, so that an interruption loses no epoch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nested_keras import files
from nested_keras.cli import arguments

_RECORD = "arguments.json"
_BACKUP = "backup"


class Checkpoint:
    """The folder `NAME.training` beside the output NAME.keras.

    It holds the arguments of the training, and the backup that `keras.callbacks.BackupAndRestore`
    writes after each epoch. The same command goes on from it; a finished training removes it.

    Args:
        out: The output of the training.
        values: What decides how the training goes; JSON values.

    Attributes:
        folder: The folder.

    Raises:
        ValueError: If the folder holds a training with other arguments.
    """

    def __init__(self, out: Path, values: dict[str, Any]) -> None:
        self.folder = out.with_name(f"{out.stem}.training")
        record = self.folder / _RECORD
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
            raise ValueError(f"{self.folder} is needed for checkpoints, but is no folder of them")
        self.folder.mkdir(exist_ok=True)
        files.write_text(record, json.dumps(values, indent=2) + "\n")

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
        """Says what is left where the block is interrupted or fails.

        Raises:
            SystemExit: On Ctrl-C; SIGTERM and SIGHUP raise it in every command.
        """
        try:
            yield
        except KeyboardInterrupt:
            arguments.complain(f"stopped: {self._left()}")
            raise SystemExit(130) from None  # as a shell reports a death by Ctrl-C
        except SystemExit:
            arguments.complain(f"stopped: {self._left()}")
            raise
        except Exception:
            arguments.say(self._left())
            raise

    def _left(self) -> str:
        """Says what is left, and removes a folder without a backup."""
        if not self.epochs():
            self.remove()
            return "no epoch was finished, so nothing is kept"
        return (
            f"{self.folder} keeps {self.epochs()} epochs; give the same command again to go on, or "
            "remove the folder"
        )


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
