"""Run a firmware ELF on a machine of QEMU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices import process
from nested_keras.devices.toolchain import find_tool

_LAST_LINES = 8


def find_qemu() -> str:
    """Path of QEMU.

    Raises:
        ToolchainError: QEMU is not on PATH.
    """
    return find_tool("qemu-system-arm")


def run(
    elf: Path,
    *,
    machine: str = "mps2-an500",
    timeout_s: float = 300.0,
    options: Sequence[str] = (),
) -> str:
    """Runs the firmware to its end and returns the text that the firmware printed.

    Args:
        elf: The firmware.
        machine: QEMU's name of the board for which the firmware was built.
        timeout_s: Seconds after which the emulator is killed.
        options: More arguments for QEMU.

    Returns:
        The console's text.

    Raises:
        ToolchainError: qemu-system-arm is missing.
        DeviceError: The time limit passed or the exit status was not 0; the message ends with the
            last lines printed.
    """
    if timeout_s <= 0:
        raise ValueError(f"timeout_s must be positive: got {timeout_s}")
    command = [
        find_qemu(),
        *("-machine", machine),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        # SysTick counts instructions because an instruction takes one nanosecond of virtual time.
        *("-icount", "shift=0"),
        *("-kernel", os.fspath(elf)),
        *options,
    ]
    try:
        done = process.run(command, timeout_s=timeout_s, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as error:
        text = _decode(error.stdout)
        raise DeviceError(
            f"the firmware did not end within {timeout_s:g} s{last_lines(text)}"
        ) from None
    text = _decode(done.stdout)
    if done.returncode != 0:
        raise DeviceError(
            f"the firmware ended with exit status {done.returncode}, expected 0{last_lines(text)}"
        )
    return text


def last_lines(text: str) -> str:
    """The end of a console text, ready to be put at the end of an error message."""
    lines = [line if len(line) <= 160 else line[:157] + "..." for line in text.splitlines()]
    if not lines:
        return "; nothing was printed"
    return "; its last lines:\n  " + "\n  ".join(lines[-_LAST_LINES:])


def _decode(data: bytes | None) -> str:
    return (data or b"").decode("ascii", errors="replace")
