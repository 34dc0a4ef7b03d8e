"""A board: its folder, its core and the machine of QEMU that plays the board."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nested_keras.codegen import sources

_KEYS = {"core", "flags", "machine"}


@dataclass(frozen=True)
class Board:
    """What board.json says of a board.

    Attributes:
        folder: The folder with the linker script and the C files.
        core: The name of the core, such as "cortex-m7".
        flags: The flags that name the core to the compiler.
        machine: The machine of QEMU; None if QEMU has none.
    """

    folder: Path
    core: str
    flags: tuple[str, ...]
    machine: str | None

    @classmethod
    def read(cls, board: str | Path) -> Board:
        """Finds a board and reads its file board.json.

        A folder without that file is a board with the core and the machine of mps2_an500.

        Args:
            board: Its name, such as "mps2_an500", or the path of a folder elsewhere.

        Raises:
            ValueError: There is no such board, or its board.json is wrong.
        """
        folder = sources.board_dir(board)
        file = folder / "board.json"
        if not file.exists():
            file = sources.board_dir("mps2_an500") / "board.json"
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: expected JSON: {error}") from None
        if not _is_right(facts):
            raise ValueError(
                f"{file}: expected the keys core (text), flags (a list of texts) and, where QEMU "
                f"has the board, machine (text): got {facts!r}"
            )
        return cls(folder, facts["core"], tuple(facts["flags"]), facts.get("machine"))

    @property
    def linker_script(self) -> Path:
        """The linker script."""
        return self.folder / f"{self.folder.name}.ld"


def _is_right(facts: object) -> bool:
    if not isinstance(facts, dict) or not _KEYS - {"machine"} <= set(facts) <= _KEYS:
        return False
    flags = facts["flags"]
    texts = [facts["core"], facts.get("machine", ""), *(flags if isinstance(flags, list) else [0])]
    return all(isinstance(text, str) for text in texts)
