"""The memories of a board, and the error for a firmware that does not fit into the memories."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nested_keras.codegen.firmware_errors import BuildError

_REGION = re.compile(
    r"^\s*(\w+)\s*\(\w+\)\s*:\s*ORIGIN\s*=\s*\w+,\s*LENGTH\s*=\s*(\d+)([KM])", re.M
)
_IMAGES = re.compile(r"^\s*\.images\b[^>]*>\s*(\w+)", re.M)
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_UNITS = {"K": 1024, "M": 1024 * 1024}


@dataclass(frozen=True)
class BoardMemory:
    """The board as a linker script describes the board.

    Attributes:
        regions: Bytes of each memory, by its name in the script.
        images: The memory that holds the images of the run.
    """

    regions: dict[str, int]
    images: str

    @classmethod
    def read(cls, board: Path) -> BoardMemory:
        """Reads the linker script of a board.

        Args:
            board: A folder of tflm_ops/boards.
        """
        text = (board / f"{board.name}.ld").read_text(encoding="utf-8")
        regions = {name: int(size) * _UNITS[unit] for name, size, unit in _REGION.findall(text)}
        match = _IMAGES.search(text)
        if match is None or match[1] not in regions:
            raise BuildError(f"{board.name}.ld must place .images in a memory of known LENGTH")
        return cls(regions, match[1])


def explain_overflow(error: BuildError, board: Path, *, images: int, stride: int) -> BuildError:
    """Puts numbers to a linker's error that says that a memory overflowed.

    Args:
        error: The error that ended the build.
        board: A folder of tflm_ops/boards.
        images: Number of images in the firmware.
        stride: Bytes of an image.

    Returns:
        The error to raise: `error` itself where no memory overflowed.
    """
    overflows = {name: int(excess) for name, excess in _OVERFLOW.findall(str(error))}
    if not overflows:
        return error
    memory = BoardMemory.read(board)
    parts = [
        f"{memory.regions[name] + excess:,} bytes for {name}, which has {memory.regions[name]:,}"
        for name, excess in overflows.items()
    ]
    text = f"the firmware does not fit {board.name}: it needs {' and '.join(parts)}"
    excess = overflows.get(memory.images, 0)
    room = (images * stride - excess) // stride
    if excess and room > 0:
        text += f"; the {images:,} images take {stride:,} bytes each: at most {room:,} fit"
    elif excess:
        text += "; the firmware does not fit even with one image"
    return BuildError(text)
