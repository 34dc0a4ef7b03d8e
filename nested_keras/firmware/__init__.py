"""Standalone C, firmware and emulators."""

from nested_keras.firmware.build import Firmware, build_firmware
from nested_keras.firmware.codegen import GeneratedLibrary, generate
from nested_keras.firmware.device import DeviceResult, QemuModel
from nested_keras.firmware.errors import (
    BuildError,
    CodegenError,
    DeviceError,
    FirmwareError,
    ToolchainError,
)
from nested_keras.firmware.host import HostModel
from nested_keras.firmware.tflm_host import TflmModel
from nested_keras.firmware.toolchain import find_tool

__all__ = [
    "BuildError",
    "CodegenError",
    "DeviceError",
    "DeviceResult",
    "Firmware",
    "FirmwareError",
    "GeneratedLibrary",
    "HostModel",
    "QemuModel",
    "TflmModel",
    "ToolchainError",
    "build_firmware",
    "find_tool",
    "generate",
]
