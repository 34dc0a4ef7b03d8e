"""The tuned kernels against the reference kernel, both on an emulated Cortex-M7 or M55.

One firmware runs a random grid: all kinds, block sizes and encodings, one to four levels, odd
sizes, strides, paddings, extreme values, tables and clamps from their whole ranges. Every entry
point runs or refuses each layer, with guards around its scratch and its output.
"""

from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices import qemu
from nested_keras.devices.board import Board
from nested_keras.devices.toolchain import arm_toolchain
from tests.tflm_ops.grid_firmware import NO_UNALIGNED_ACCESS
from tests.tflm_ops.test_m7_grid import NESTED_GRID

pytestmark = pytest.mark.arm

HERE = Path(__file__).parent
BOARD = "mps2_an500"
HELIUM = "mps3_an547"


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    return tmp_path_factory.mktemp("objects")


def run(elf, board=BOARD):
    return qemu.run(elf, machine=Board.read(board).machine, timeout_s=600)


def build(folder, objects, *, first_seed, layers, flags=(), board=BOARD):
    facts = Board.read(board)
    toolchain = arm_toolchain(facts.flags)
    includes = (sources.tflm_ops_dir() / "include", facts.folder.parent)
    grid = toolchain.compile(
        HERE / "nested_grid.c",
        include_dirs=includes,
        cache_dir=objects,
        extra_flags=(f"-DFIRST_SEED={first_seed}", f"-DLAYERS={layers}", *flags),
    )
    kernels = [
        toolchain.compile(source, include_dirs=includes, cache_dir=objects, extra_flags=flags)
        for source in (
            *([HERE / "bytewise.c"] if flags[:3] == NO_UNALIGNED_ACCESS else []),
            *sources.sources_for(NESTED_GRID),
            *sources.board_sources(board),
        )
    ]
    elf = folder / "grid.elf"
    toolchain.link([grid, *kernels], elf, flags=(f"-T{facts.linker_script}",))
    return elf


@pytest.mark.parametrize(
    ("first_seed", "flags"),
    [(1, ("-DCHAIN_LEAST_RUNS=0", "-DCHAIN_MOST_MEAN=255")), (10001, ())],
    ids=["chains wherever they can run", "chains where they pay"],
)
def test_grid_equals_reference(tmp_path, objects, first_seed, flags):
    elf = build(tmp_path, objects, first_seed=first_seed, layers=1500, flags=flags)
    assert "layers 1500 failures 0" in run(elf)


@pytest.mark.parametrize(("flag", "layers"), [("-O2", 1000), ("-Os", 500), ("-O0", 250)])
def test_grid_equals_reference_with_helium(tmp_path, objects, flag, layers):
    elf = build(tmp_path, objects, first_seed=1, layers=layers, flags=(flag,), board=HELIUM)
    assert f"layers {layers} failures 0" in run(elf, HELIUM)


def test_helium_can_be_left_out(tmp_path, objects):
    elf = build(tmp_path, objects, first_seed=1, layers=50, flags=("-DNK_USE_MVE=0",), board=HELIUM)
    assert "layers 50 failures 0" in run(elf, HELIUM)


def test_the_grid_finds_a_wrong_kernel(tmp_path, objects):
    # One weight more in an accumulator than the proof in docs/kernels.md allows.
    elf = build(tmp_path, objects, first_seed=1, layers=50, flags=("-DNK_DSP_SPAN=256",))
    with pytest.raises(DeviceError, match=r"wrong \d+"):
        run(elf)


def test_no_access_is_unaligned_if_the_build_forbids_it(tmp_path, objects):
    elf = build(tmp_path, objects, first_seed=1, layers=400, flags=(*NO_UNALIGNED_ACCESS, "-Os"))
    assert "layers 400 failures 0" in run(elf)


def test_an_unaligned_access_would_be_found(tmp_path, objects):
    flags = (*NO_UNALIGNED_ACCESS, "-DNK_USE_UNALIGNED=1")
    elf = build(tmp_path, objects, first_seed=1, layers=50, flags=flags)
    with pytest.raises(DeviceError, match=r"fault 3 pc=\w+ cfsr=01000000"):  # UNALIGNED
        run(elf)


def test_kernels_of_the_target_can_be_left_out(tmp_path, objects):
    elf = build(tmp_path, objects, first_seed=1, layers=50, flags=("-DNK_USE_DSP=0",))
    assert "layers 50 failures 0" in run(elf)
