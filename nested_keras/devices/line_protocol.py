"""Parse the firmware's line protocol (tflm_ops/boards/common/main.c, docs/firmware.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices.qemu import last_lines

PROTOCOL_VERSION = 1


@dataclass(frozen=True, eq=False)
class DeviceRun:
    """The values that one run of the firmware printed.

    Attributes:
        levels: The levels run, in order.
        outputs: Raw output bytes, uint8 [len(levels), images, output_bytes].
        instructions: Mean instructions of an inference, float64 [len(levels)].
        op_instructions: Instructions of each operator for image 0, int64 [len(levels), ops].
        model_levels: Levels of the model.
        arena_bytes: Size of the static arena.
        stack_bytes: Deepest use of the stack.
    """

    levels: tuple[int, ...]
    outputs: npt.NDArray[np.uint8]
    instructions: npt.NDArray[np.float64]
    op_instructions: npt.NDArray[np.int64]
    model_levels: int
    arena_bytes: int
    stack_bytes: int


def parse(text: str) -> DeviceRun:
    """Reads the console text of a complete run.

    Args:
        text: All that the firmware printed.

    Returns:
        The results.

    Raises:
        DeviceError: A fault or error line, a line out of place, bad digits, or no `end OK`. The
            message ends with the last lines.
    """
    try:
        return _parse(iter(text.splitlines()))
    except _ProtocolError as error:
        raise DeviceError(f"{error}{last_lines(text)}") from None


class _ProtocolError(Exception):
    pass


def _parse(lines: Iterator[str]) -> DeviceRun:
    (version,) = _numbers(_expect(lines, "nk-firmware"), 1)
    if version != PROTOCOL_VERSION:
        raise _ProtocolError(f"expected protocol version {PROTOCOL_VERSION}: got {version}")
    header = _numbers(_expect(lines, "model"), 5)
    model_levels, images, output_bytes, ops, arena_bytes = header
    levels: list[int] = []
    outputs: list[npt.NDArray[np.uint8]] = []
    instructions: list[float] = []
    op_instructions: list[list[int]] = []
    line = _next(lines)
    while line.startswith("out "):
        (level,) = _numbers(line.split()[1:2], 1)
        levels.append(level)
        records = []
        for image in range(images):
            records.append(_output(line, level, image, output_bytes))
            line = _next(lines)
        outputs.append(np.stack(records))
        instructions.append(_leveled(_words(line, "instructions"), level, 1)[0] / images)
        op_instructions.append(_leveled(_expect(lines, "ops"), level, ops))
        line = _next(lines)
    if not levels:
        raise _ProtocolError(f"expected an `out` line: got {line!r}")
    (stack_bytes,) = _numbers(_words(line, "stack"), 1)
    if _expect(lines, "end") != ["OK"]:
        raise _ProtocolError("expected `end OK` as the last line")
    extra = next(lines, None)
    if extra is not None:
        raise _ProtocolError(f"expected nothing after `end OK`: got {extra!r}")
    return DeviceRun(
        levels=tuple(levels),
        outputs=np.stack(outputs),
        instructions=np.array(instructions, np.float64),
        op_instructions=np.array(op_instructions, np.int64).reshape(len(levels), ops),
        model_levels=model_levels,
        arena_bytes=arena_bytes,
        stack_bytes=stack_bytes,
    )


def _next(lines: Iterator[str]) -> str:
    line = next((line for line in lines if not line.startswith("# ")), None)
    if line is None:
        raise _ProtocolError("the output ends before `end OK`")
    if line.startswith("fault "):
        raise _ProtocolError(f"the firmware faulted: {line}")
    if line.startswith("error "):
        raise _ProtocolError(f"the firmware reported an error: {line}")
    return line


def _expect(lines: Iterator[str], keyword: str) -> list[str]:
    return _words(_next(lines), keyword)


def _words(line: str, keyword: str) -> list[str]:
    first, *rest = line.split(" ")
    if first != keyword:
        raise _ProtocolError(f"expected a `{keyword}` line: got {line!r}")
    return rest


def _numbers(words: list[str], count: int) -> list[int]:
    if len(words) != count or not all(w.isascii() and w.isdigit() for w in words):
        raise _ProtocolError(f"expected {count} unsigned numbers: got {' '.join(words)!r}")
    return [int(word) for word in words]


def _leveled(words: list[str], level: int, count: int) -> list[int]:
    """The numbers of a line that starts with its level."""
    got, *numbers = _numbers(words, count + 1)
    if got != level:
        raise _ProtocolError(f"expected results of level {level}: got level {got}")
    return numbers


def _output(line: str, level: int, image: int, output_bytes: int) -> npt.NDArray[np.uint8]:
    words = _words(line, "out")
    if len(words) != 3 or words[:2] != [str(level), str(image)]:
        raise _ProtocolError(f"expected `out {level} {image} HEX`: got {line!r}")
    digits = words[2]
    if len(digits) != 2 * output_bytes or not set(digits) <= set("0123456789abcdef"):
        raise _ProtocolError(
            f"expected {2 * output_bytes} hex digits in `out {level} {image}`: got {digits!r}"
        )
    return np.frombuffer(bytes.fromhex(digits), np.uint8)
