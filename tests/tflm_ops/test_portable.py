"""The kernels for cores without the DSP extension, as firmware on the emulated Cortex-M3.

The Cortex-M3 runs the code for the Cortex-M0+ and the M23 too, which is other code (NK_USE_THUMB1).
Of the instructions that the M23 has and the M3 lacks, this code uses none. On this computer the
dispatchers choose these kernels, so that all other tests run them.
"""

import re
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import arm_toolchain
from tests.tflm_ops.grid_firmware import NO_UNALIGNED_ACCESS
from tests.tflm_ops.test_m7_grid import NESTED_GRID, PROGRAMS

pytestmark = pytest.mark.arm

TESTS = Path(__file__).parent
BOARD = "mps2_an385"
CORES = {
    "m3": ("-mcpu=cortex-m3",),
    "m3, no unaligned access": ("-mcpu=cortex-m3", *NO_UNALIGNED_ACCESS),
    "m0+": ("-mcpu=cortex-m0plus",),
    "m23": ("-mcpu=cortex-m23",),
}
GRIDS = {
    "nested_grid": NESTED_GRID,
    "test_depthwise_grid": PROGRAMS["test_depthwise_grid"],
    "test_ops_grid": PROGRAMS["test_ops_grid"],
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    return tmp_path_factory.mktemp("objects")


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("program", GRIDS)
def test_kernels_equal_the_references(tmp_path, objects, program, core):
    flags = CORES[core]
    toolchain = arm_toolchain((*flags, "-mthumb", "-mfloat-abi=soft"))
    root, board = sources.tflm_ops_dir(), sources.board_dir(BOARD)
    files = (
        TESTS / f"{program}.c",
        *([TESTS / "bytewise.c"] if NO_UNALIGNED_ACCESS[0] in flags else []),
        *sources.board_sources(BOARD),
        *sources.sources_for(GRIDS[program]),
    )
    compiled = [
        toolchain.compile(
            file,
            include_dirs=(root / "include", board.parent, TESTS),
            cache_dir=objects,
            extra_flags=("-DFIRST_SEED=50001", "-DLAYERS=200"),
        )
        for file in files
    ]
    elf = tmp_path / f"{program}.elf"
    toolchain.link(compiled, elf, flags=(f"-T{board / f'{BOARD}.ld'}",))
    assert re.search(
        r"^(layers 200 failures 0|[0-9]{3,} layers)$", qemu.run(elf, machine="mps2-an385").strip()
    )
