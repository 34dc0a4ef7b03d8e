"""Run a firmware ELF on Renode's Cortex-M7, as a NUCLEO-F767ZI.

Renode's exit status says nothing about the firmware, nor about its own script: the verdict is the
last line that the firmware printed on its UART, which Renode writes to a file. The firmware counts
its instructions with the DWT, which Renode derives from virtual time. So the script reads
`cpu ExecutedInstructions` too, while the firmware runs, and a run counts only if the two advance
alike. tests/renode/README.md lists the assumptions about Renode.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nested_keras.codegen import sources
from nested_keras.codegen.firmware_errors import DeviceError, ToolchainError
from nested_keras.devices import process
from nested_keras.devices.qemu import last_lines

BOARD = "nucleo_f767zi"

_DWT_CYCCNT = 0xE0001004
_FAILURES = ("error ", "fault ")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The Monitor prints a ulong and then a uint so.
_READING = re.compile(r"\b0x([0-9A-Fa-f]{16})\s+0x([0-9A-Fa-f]{8})\b")
# The Monitor says so where a script is given up; Renode itself goes on and waits for input.
_SCRIPT_ERRORS = re.compile(
    r"There was an error executing command|No such command or device|Could not (find|tokenize)"
)
# Between two readings the counters may differ by this share of the instructions, and by the
# instructions of one microsecond: virtual time is no finer.
_COUNT_TOLERANCE, _COUNT_SLACK = 0.001, 200
# The first step lies within the shortest run; 270 steps make three hours of virtual time.
_FIRST_STEP_S, _STEP_GROWTH, _STEPS = 0.001, 1.05, 270
_POLL_S = 0.05
_SCRIPT = "run.resc"
# Log lines go to a file, because the Monitor's output would be unreadable between them.
_OPTIONS = ("--disable-xwt", "--console", "--plain", "--hide-log")
# Renode puts the folder in front of a script that is its argument and does not escape the spaces
# in that name; a command names the script without a folder.
_COMMANDS = ("-e", f"include @{_SCRIPT}", "-e", "quit")


@dataclass(frozen=True)
class _Files:
    """The files that Renode writes: the text of the UART, the Monitor's output, the log."""

    uart: Path
    console: Path
    log: Path


def find_renode() -> str:
    """Path of Renode: the environment variable RENODE, else `renode` on PATH.

    Raises:
        ToolchainError: Renode is not there.
    """
    named = os.environ.get("RENODE")
    path = shutil.which(named or "renode")
    if path is None:
        where = f"RENODE names {named!r}, which is" if named else "renode is"
        raise ToolchainError(
            f"{where} no program that can be run; install Renode 1.16 or later from "
            "https://github.com/renode/renode/releases and put it on PATH or into RENODE"
        )
    return path


def run(elf: Path, *, timeout_s: float = 300.0) -> str:
    """Runs the firmware to its end and returns the text that the firmware printed.

    Args:
        elf: A firmware for the board nucleo_f767zi.
        timeout_s: Seconds after which Renode is stopped; its own start takes 4 to 6 of them.

    Returns:
        The text of the UART, up to and with the line `end`, `error` or `fault`.

    Raises:
        ToolchainError: Renode is missing.
        DeviceError: The time limit passed, Renode failed or ended before the firmware, or the
            counter that the firmware reads does not count instructions.
    """
    if timeout_s <= 0:
        raise ValueError(f"timeout_s must be positive: got {timeout_s}")
    renode = find_renode()
    with process.temporary_folder("nested_keras_renode_") as folder:
        files = _Files(folder / "uart.txt", folder / "console.txt", folder / "renode.log")
        (folder / _SCRIPT).write_text(script(elf.resolve(), files), encoding="utf-8")
        with (
            files.console.open("wb") as sink,
            process.running(
                [renode, *_OPTIONS, *_COMMANDS],
                cwd=folder,
                # Nobody types, but the Monitor would take the end of its input for `quit`.
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
            ) as emulator,
        ):
            return _watch(emulator, files, timeout_s)


def script(elf: Path, files: _Files) -> str:
    """The commands of a run.

    A script has no loops that end on a condition: it runs the emulation in steps, each a little
    longer than the one before, and prints the counters after each; `run` stops Renode when the
    firmware has ended.

    Args:
        elf: The firmware.
        files: The files that Renode writes, in the folder of the run; none of them may exist.
    """
    lines = [
        f"logFile @{files.log.name} true",
        f"$bin=@{_escape(elf)}",
        f"include @{_escape(sources.board_dir(BOARD) / f'{BOARD}.resc')}",
        f"sysbus.usart3 CreateFileBackend @{files.uart.name} true",
    ]
    for step in range(_STEPS):
        lines += [
            f'emulation RunFor "{_FIRST_STEP_S * _STEP_GROWTH**step:.6f}"',
            "cpu ExecutedInstructions",
            f"sysbus ReadDoubleWord 0x{_DWT_CYCCNT:08X}",
        ]
    return "\n".join(lines) + "\n"


def readings(console: str) -> list[tuple[int, int]]:
    """The counters that the script printed.

    Args:
        console: The text that the Monitor wrote.

    Returns:
        After each step the value of `cpu ExecutedInstructions` and that of CYCCNT, modulo 2^32.
    """
    found = _READING.findall(_ESCAPES.sub("", console))
    return [(int(instructions, 16), int(count, 16)) for instructions, count in found]


def _escape(path: Path) -> str:
    return str(path).replace(" ", "\\ ")


def _watch(emulator: subprocess.Popen[bytes], files: _Files, timeout_s: float) -> str:
    """Waits for the verdict of the firmware and, where that is good, for the counters."""
    deadline = time.monotonic() + timeout_s
    while True:
        alive = emulator.poll() is None  # before the files: what they hold then is all there is
        text, console = _read(files.uart), _read(files.console)
        verdict = _verdict(text)
        if verdict.startswith(_FAILURES):
            return text
        if verdict.startswith("end ") and _counts_instructions(readings(console)):
            return text
        if not alive or _SCRIPT_ERRORS.search(console):
            raise DeviceError("Renode ended before the firmware did" + _story(files))
        if time.monotonic() > deadline:
            raise DeviceError(
                f"the firmware did not end within {timeout_s:g} s, the start of Renode among them"
                + _story(files)
            )
        time.sleep(_POLL_S)


def _story(files: _Files) -> str:
    """The last lines of the firmware, of the Monitor and of Renode's log."""
    told = ((files.uart, ""), (files.console, "\nthe Monitor"), (files.log, "\nRenode's log"))
    return "".join(who + last_lines(_read(path)) for path, who in told)


def _read(path: Path) -> str:
    return path.read_bytes().decode("ascii", errors="replace") if path.exists() else ""


def _verdict(text: str) -> str:
    """The last line that the firmware printed; "" while a line is not complete."""
    return text.splitlines()[-1] if text.endswith("\n") else ""


def _counts_instructions(counts: list[tuple[int, int]]) -> bool:
    """Whether the counter of the DWT advanced as the instructions did, between two readings.

    One interval is enough: a counter at another rate disagrees in every one. An interval in which
    the core slept does not agree, because virtual time goes on then and the instructions do not.

    Returns:
        False while there is no interval in which the counter was on.

    Raises:
        DeviceError: The counter disagrees in all intervals.
    """
    intervals = [
        (second[0] - first[0], (second[1] - first[1]) % (1 << 32))
        for first, second in itertools.pairwise(counts)
        if first[1] > 0
    ]
    for instructions, counted in intervals:
        slack = _COUNT_TOLERANCE * instructions + _COUNT_SLACK
        if instructions > 0 and abs(counted - instructions) <= slack:
            return True
    if intervals:
        instructions, counted = intervals[0]
        raise DeviceError(
            "the counter of the DWT must advance as the instructions do: "
            f"got {counted} counts for {instructions} instructions"
        )
    return False
