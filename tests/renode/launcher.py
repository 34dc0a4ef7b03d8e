"""Programs that take the place of `renode`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write_launcher(folder: Path, *arguments: str) -> Path:
    """A program that runs Python with these arguments and then its own.

    Args:
      folder: Receives it.
      *arguments: For example "-m", "tests.renode.monitor".
    """
    path = folder / "renode"
    command = " ".join(f"'{argument}'" for argument in (sys.executable, *arguments))
    path.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec {command} \"$@\"\n")
    path.chmod(0o755)
    return path
