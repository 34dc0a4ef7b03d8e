"""Errors of the firmware room."""

from __future__ import annotations


class FirmwareError(RuntimeError):
    """Base of the errors below."""


class CodegenError(FirmwareError):
    """The prepared graph holds something that cannot be printed as C."""


class ToolchainError(FirmwareError):
    """A compiler or emulator is missing; the message names the program and its Debian package."""


class BuildError(FirmwareError):
    """A compiler or linker refused its input; the message ends with the tool's output."""


class DeviceError(FirmwareError):
    """The firmware did not run to its end; the message ends with its last lines of output."""
