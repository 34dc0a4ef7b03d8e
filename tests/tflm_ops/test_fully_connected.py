"""The fully connected kernel for the Cortex-M7: here in its portable form, and as firmware."""

import ctypes

import numpy as np
import pytest

from nested_keras.format import Encoding
from tests.tflm_ops import grid_firmware
from tests.tflm_ops.fully_connected_grid import make_grid, pack
from tests.tflm_ops.grid_firmware import NO_UNALIGNED_ACCESS
from tests.tflm_ops.library import Guarded, params_struct, pointer

pytestmark = pytest.mark.arm

FUNCTIONS = (
    *("nk_stream_open", "nk_stream_validate", "nk_nested_conv_s8"),
    "nk_fully_connected_s8",
)


@pytest.fixture(scope="module")
def grid():
    return make_grid()


def test_grid_has_every_kind_of_level_and_unclamped_outputs(grid):
    levels = [(case.stream.params, level) for case in grid for level in case.stream.levels]
    assert {level.encoding for _, level in levels} == set(Encoding) - {Encoding.CODED}
    widths = {(params.block_size, level.count_bits > 8) for params, level in levels}
    assert widths == {(size, is_wide) for size in (1, 2, 4) for is_wide in (False, True)}
    values = np.concatenate([y.reshape(-1) for case in grid for y in case.outputs])
    assert len(np.unique(values)) > 200


def test_streams_equal_the_reference(nk, grid):
    for index, case in enumerate(grid):
        stream = nk.validate(case.stream.data)
        for level, expected in enumerate(case.outputs):
            y = Guarded(expected.shape, np.int8)
            nk.c.nk_nested_fully_connected_s8_dsp(
                stream, level, len(case.x), pointer(case.x), pointer(y.array)
            )
            np.testing.assert_array_equal(y.array, expected, f"case {index}, level {level}")
            assert y.is_intact()


def test_dense_layers_equal_the_reference(nk, grid):
    for index, case in enumerate(grid):
        expected = case.outputs[-1]
        params = params_struct(case.dense)
        y = Guarded(expected.shape, np.int8)
        nk.c.nk_fully_connected_s8_dsp(
            ctypes.byref(params), len(case.x), pointer(case.x), pointer(y.array)
        )
        np.testing.assert_array_equal(y.array, expected, f"case {index}")
        assert y.is_intact()


@pytest.mark.parametrize("flags", [(), NO_UNALIGNED_ACCESS], ids=["usual", "no unaligned access"])
def test_cortex_m7_equals_the_reference(grid, flags, tmp_path):
    cases = b"".join(map(pack, grid))
    told = grid_firmware.run(
        "fully_connected_grid.c", cases, FUNCTIONS, flags=flags, folder=tmp_path
    )
    assert told == f"{len(grid)} cases, 0 failures\n"
