"""Kernels and detection on the emulated Cortex-M7 against the references, bit for bit.

The same programs run on this computer under the sanitizers (CMakeLists.txt), where the instructions
of nk_simd.h are plain C and the assembler loops are left out.
"""

import re
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import cortex_m7_toolchain
from tests.tflm_ops.grid_firmware import NO_UNALIGNED_ACCESS

pytestmark = pytest.mark.arm

TESTS = Path(__file__).parent
BOARD = "mps2_an500"
# Program and the functions of tflm_ops that it calls.
PROGRAMS = {
    "test_depthwise_grid": (
        *("nk_depthwise_conv2d_s8_ref", "nk_depthwise_conv2d_s8_dsp"),
        *("nk_depthwise_conv2d_s8_portable", "nk_dims4_size"),
    ),
    "test_detection_grid": ("nk_detection_s8",),
    "test_ops_grid": (
        "nk_add_s8",
        "nk_add_s8_shorten",
        "nk_average_pool2d_s8",
        "nk_max_pool2d_s8",
        "nk_maximum_s8",
        "nk_mean_s8",
        "nk_minimum_s8",
    ),
}
# The same of nested_grid.c.
NESTED_GRID = (
    *("nk_nested_conv_s8", "nk_nested_conv_s8_get_buffer_size"),
    *("nk_nested_conv2d_add_s8", "nk_nested_conv2d_add_s8_get_buffer_size"),
    *("nk_nested_parts_s8", "nk_nested_conv2d_add_parts_s8"),
)


@pytest.mark.parametrize("flags", [(), NO_UNALIGNED_ACCESS], ids=["usual", "no unaligned access"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_tuned_kernels_equal_the_references(tmp_path, program, flags):
    toolchain = cortex_m7_toolchain()
    root, board = sources.tflm_ops_dir(), sources.board_dir(BOARD)
    files = (
        TESTS / f"{program}.c",
        *([TESTS / "bytewise.c"] if flags else []),
        *sources.board_sources(BOARD),
        *sources.sources_for(PROGRAMS[program]),
    )
    objects = [
        toolchain.compile(
            file,
            include_dirs=(root / "include", board.parent, TESTS),
            cache_dir=tmp_path / "objects",
            extra_flags=flags,
        )
        for file in files
    ]
    elf = tmp_path / f"{program}.elf"
    toolchain.link(objects, elf, flags=(f"-T{board / f'{BOARD}.ld'}",))
    assert re.search(r"^[0-9]{3,} layers$", qemu.run(elf).strip())
