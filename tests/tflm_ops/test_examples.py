"""The examples run on the emulated board as their text says."""

import pytest

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.firmware_build import DEFAULT_BOARD
from nested_keras.devices.toolchain import cortex_m7_toolchain
from nested_keras.firmware import generate
from tests.nested_keras.tflite.nested_models import conv_params, nested_model, random_layer

pytestmark = pytest.mark.arm

LEVELS = 4


def model():
    params = conv_params(in_channels=16, out_channels=16)
    layer = random_layer(params, levels=LEVELS, seed=0)
    return nested_model(layer, shapes=((1, 8, 8, 16), (1, 8, 8, 16)))


def build(example, folder):
    toolchain = cortex_m7_toolchain()
    library = generate(model(), folder / "model")
    board = sources.board_dir(DEFAULT_BOARD)
    includes = (*library.include_dirs, board.parent, board.parent / "common")
    source = sources.tflm_ops_dir() / "examples" / example
    objects = [
        toolchain.compile(path, include_dirs=includes, cache_dir=folder)
        for path in (source, *library.sources, *sources.board_sources(DEFAULT_BOARD))
    ]
    elf = folder / "example.elf"
    toolchain.link(objects, elf, flags=(f"-T{board / DEFAULT_BOARD}.ld",))
    return elf


def test_the_level_follows_the_deadline(tmp_path):
    frames = [line.split() for line in qemu.run(build("deadline.c", tmp_path)).splitlines()]
    assert len(frames) == 12
    costs = {}
    for _, deadline, _, level, _, took, verdict in frames:
        costs[int(level)] = int(took)
        assert verdict == ("met" if int(took) <= int(deadline) else "missed")
    # Only the frame that no level can serve misses its deadline, and it runs the sparsest level.
    assert [frame[-1] for frame in frames].count("missed") == 1
    assert frames[6][3::3] == ["0", "missed"]
    assert len(costs) >= 3
    assert sorted(costs) == sorted(costs, key=costs.get)
    # A longer deadline never gets a sparser level.
    by_deadline = sorted((int(frame[1]), int(frame[3])) for frame in frames)
    assert [level for _, level in by_deadline] == sorted(level for _, level in by_deadline)
