"""Standalone C, firmware and emulators."""

from nested_keras.codegen.firmware_errors import (
    BuildError,
    CodegenError,
    DeviceError,
    FirmwareError,
    ToolchainError,
)
from nested_keras.codegen.library import GeneratedLibrary, generate, measure
from nested_keras.devices import line_protocol as results
from nested_keras.devices.device import RUNTIMES, DeviceModel, DeviceResult, QemuModel, RenodeModel
from nested_keras.devices.firmware_build import Firmware, build_firmware
from nested_keras.devices.host import HostModel
from nested_keras.devices.tflm_firmware import TflmFirmware, build_tflm_firmware
from nested_keras.devices.tflm_host import TflmModel
from nested_keras.devices.toolchain import find_tool

__all__ = [
    "BuildError",
    "CodegenError",
    "DeviceError",
    "DeviceModel",
    "DeviceResult",
    "Firmware",
    "FirmwareError",
    "GeneratedLibrary",
    "HostModel",
    "QemuModel",
    "RenodeModel",
    "RUNTIMES",
    "TflmFirmware",
    "TflmModel",
    "ToolchainError",
    "build_firmware",
    "build_tflm_firmware",
    "find_tool",
    "generate",
    "measure",
    "results",
]
