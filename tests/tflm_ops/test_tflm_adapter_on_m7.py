"""The TFLite Micro adapter's Init, Prepare and Eval on the emulated Cortex-M7."""

import struct
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.firmware_build import DEFAULT_BOARD
from nested_keras.devices.toolchain import Toolchain, cortex_m7_toolchain
from nested_keras.firmware import DeviceError
from tests.nested_keras.format.streams import PROFILES
from tests.tflm_ops.make_cases import case_bytes

pytestmark = pytest.mark.arm

CASES = ("3x3", "1x1 stride 2", "block 4 of 12", "depthwise multiplier 3", "row block 4", "batch 3")
HARNESS = Path(__file__).parent


def embedded(names):
    parts = []
    for index, name in enumerate(names):
        data = case_bytes(name, levels=1 + index % 4, profile=PROFILES[index % len(PROFILES)])
        parts.append(struct.pack("<I", len(data)) + data + bytes(-len(data) % 4))
    return b"".join(parts)


def build(folder, content):
    c = cortex_m7_toolchain()
    cxx_flags = [flag for flag in c.flags if flag != "-std=c11"]
    cxx = Toolchain(
        "arm-none-eabi-g++",
        ("-std=c++17", *cxx_flags, "-fno-rtti", "-fno-exceptions"),
        c.link_flags,
    )
    adapters, board = sources.tflm_adapters(), sources.board_dir(DEFAULT_BOARD)
    include = sources.tflm_ops_dir() / "include"
    includes = (include, adapters[0].parent, sources.tflm_abi_dir(), HARNESS)
    (folder / "cases.bin").write_bytes(content)
    (folder / "cases.S").write_text(
        '.section .images, "a"\n.balign 16\n.global embedded_cases, embedded_cases_end\n'
        f'embedded_cases:\n.incbin "{folder / "cases.bin"}"\nembedded_cases_end:\n'
    )
    objects = [
        cxx.compile(source, include_dirs=includes, cache_dir=folder)
        for source in (
            *adapters,
            HARNESS / "tflm" / "adapter_test.cc",
            HARNESS / "tflm" / "adapter_firmware.cc",
        )
    ]
    kernels = sources.sources_for(sources.functions_used(*adapters))
    for source in (*kernels, *sources.board_sources(DEFAULT_BOARD)):
        objects.append(
            c.compile(
                source,
                include_dirs=(include, board.parent, board.parent / "common"),
                cache_dir=folder,
            )
        )
    elf = folder / "adapter.elf"
    # C's linker driver: the adapter needs nothing of the C++ library.
    c.link([*objects, folder / "cases.S"], elf, flags=(f"-T{board / DEFAULT_BOARD}.ld",))
    return elf


def test_the_adapter_holds_on_the_cortex_m7(tmp_path):
    text = qemu.run(build(tmp_path, embedded(CASES)), timeout_s=60)
    assert text == "end OK\n"


def test_the_firmware_reports_a_failed_check(tmp_path):
    content = bytearray(embedded(CASES[:1]))
    content[-4] ^= 1  # in the last expected output
    elf = build(tmp_path, bytes(content))
    with pytest.raises(DeviceError, match=r"failed: output by the level input(?s:.*)end FAILED"):
        qemu.run(elf, timeout_s=60)
