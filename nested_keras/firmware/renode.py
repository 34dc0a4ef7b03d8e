"""Run a firmware ELF on Renode's Cortex-M7, as a NUCLEO-F767ZI.

Renode's exit status says nothing about the firmware, nor about its own script: what counts is
what the firmware printed on its UART, which Renode writes to a file. The firmware counts its
instructions with the DWT, which Renode derives from virtual time; `cpu ExecutedInstructions` is
read as well, and the two have to advance alike.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nested_keras.firmware import process, sources
from nested_keras.firmware.errors import DeviceError, ToolchainError
from nested_keras.firmware.qemu import last_lines

BOARD = "nucleo_f767zi"

_DWT_CYCCNT = 0xE0001004
_VERDICTS = ("end ", "error ", "fault ")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What the Monitor prints for a ulong and then for a uint.
_READING = re.compile(r"\b0x([0-9A-Fa-f]{16})\s+0x([0-9A-Fa-f]{8})\b")
# The two counters are read while the core stands still; this much they may differ after all.
_COUNT_TOLERANCE = 0.001
_POLL_S = 0.05
# Log lines between the bytes of the Monitor's output would be unreadable: they go to a file.
_OPTIONS = ("--disable-xwt", "--console", "--plain", "--hide-log")
# Comes after the script, also when a command of it fails.
_AFTERWARDS = ("-e", "quit")


@dataclass(frozen=True)
class _Files:
    """What Renode writes: the text of the UART, the Monitor's output, the log."""

    uart: Path
    console: Path
    log: Path


def find_renode() -> str:
    """Path of Renode: the environment variable RENODE, else `renode` on PATH.

    Raises:
      ToolchainError: It is not there.
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
    """Runs the firmware to its end and returns what it printed.

    Args:
      elf: A firmware for the board nucleo_f767zi.
      timeout_s: Seconds after which Renode is stopped.

    Returns:
      The text of the UART, up to and with the line `end`, `error` or `fault`.

    Raises:
      ToolchainError: Renode is missing.
      DeviceError: The time limit passed, Renode ended before the firmware, or the counter that the
        firmware reads does not count instructions.
    """
    if timeout_s <= 0:
        raise ValueError(f"timeout_s must be positive: got {timeout_s}")
    renode = find_renode()
    with process.temporary_folder("nested_keras_renode_") as folder:
        files = _Files(folder / "uart.txt", folder / "console.txt", folder / "renode.log")
        commands = script(elf.resolve(), files)
        (folder / "run.resc").write_text(commands, encoding="utf-8")
        with (
            files.console.open("wb") as sink,
            process.running(
                [renode, *_OPTIONS, "run.resc", *_AFTERWARDS],
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
    firmware has ended. The steps add up to several hours of virtual time.

    Args:
      elf: The firmware.
      files: Where Renode writes; must not exist.
    """
    lines = [
        f"logFile @{_escape(files.log)} true",
        f"$bin=@{_escape(elf)}",
        f"include @{_escape(sources.board_dir(BOARD) / f'{BOARD}.resc')}",
        f"sysbus.usart3 CreateFileBackend @{_escape(files.uart)} true",
    ]
    # The first step is past the start-up code, which runs before the counter does.
    for seconds in (0.02, *(0.1 * 1.05**step for step in range(180))):
        lines += [
            f'emulation RunFor "{seconds:.6f}"',
            "cpu ExecutedInstructions",
            f"sysbus ReadDoubleWord 0x{_DWT_CYCCNT:08X}",
        ]
    return "\n".join(lines) + "\n"


def readings(console: str) -> list[tuple[int, int]]:
    """The counters that the script printed.

    Args:
      console: What the Monitor wrote.

    Returns:
      After each step the value of `cpu ExecutedInstructions` and that of CYCCNT, modulo 2^32.
    """
    found = _READING.findall(_ESCAPES.sub("", console))
    return [(int(instructions, 16), int(count, 16)) for instructions, count in found]


def _escape(path: Path) -> str:
    return str(path).replace(" ", "\\ ")


def _watch(emulator: subprocess.Popen[bytes], files: _Files, timeout_s: float) -> str:
    """Waits for the verdict of the firmware and for two readings of the counters."""
    deadline = time.monotonic() + timeout_s
    while True:
        alive = emulator.poll() is None  # before the files: what they hold then is all there is
        text, counts = _read(files.uart), readings(_read(files.console))
        if _has_ended(text) and len(counts) >= 2:
            _check_counter(*counts[:2])
            return text
        if not alive:
            raise DeviceError("Renode ended before the firmware did" + _story(files))
        if time.monotonic() > deadline:
            raise DeviceError(f"the firmware did not end within {timeout_s:g} s" + _story(files))
        time.sleep(_POLL_S)


def _story(files: _Files) -> str:
    """The last lines of the firmware, of the Monitor and of Renode's log."""
    told = ((files.uart, ""), (files.console, "\nthe Monitor"), (files.log, "\nRenode's log"))
    return "".join(who + last_lines(_read(path)) for path, who in told)


def _read(path: Path) -> str:
    return path.read_bytes().decode("ascii", errors="replace") if path.exists() else ""


def _has_ended(text: str) -> bool:
    return text.endswith("\n") and text.splitlines()[-1].startswith(_VERDICTS)


def _check_counter(first: tuple[int, int], second: tuple[int, int]) -> None:
    instructions = second[0] - first[0]
    counts = (second[1] - first[1]) % (1 << 32)
    if instructions <= 0 or abs(counts - instructions) > _COUNT_TOLERANCE * instructions:
        raise DeviceError(
            "the counter of the DWT must advance as the instructions do: "
            f"got {counts} counts for {instructions} instructions"
        )
