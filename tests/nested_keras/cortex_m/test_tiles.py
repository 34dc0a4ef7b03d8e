"""How a row of outputs is cut into tiles; test_cycles.py compares the counts with the kernels."""

import pytest

from nested_keras.cortex_m import tiles
from nested_keras.format import Encoding, LayerKind, LayerParams, StoredLevel

CHANNELS = 4


def cut(width, *, height=1, weights=10, levels=1, encoding=Encoding.DELTA8):
    """Cuts a row of a layer with so many weights in each channel and level."""
    params = LayerParams(
        kind=LayerKind.CONV, kernel_h=1, kernel_w=1, in_channels=200, out_channels=CHANNELS
    )
    stored = [StoredLevel(encoding, weights * CHANNELS)] * levels
    return tiles.cut_row(params, height, width, stored)


@pytest.mark.parametrize(
    ("width", "found"),
    [
        *((5, (8, 0, 5)), (8, (8, 1, 0)), (9, (5, 2, 0)), (12, (6, 2, 0)), (13, (8, 2, 0))),
        *((16, (8, 2, 0)), (17, (6, 3, 0)), (18, (6, 3, 0)), (19, (8, 3, 0)), (25, (8, 4, 0))),
    ],
)
def test_all_tiles_of_a_single_row_have_one_width(width, found):
    assert cut(width) == found


@pytest.mark.parametrize(("width", "found"), [(9, (8, 1, 1)), (11, (8, 2, 0)), (17, (8, 2, 1))])
def test_many_weights_cost_more_than_another_list(width, found):
    assert cut(width, weights=96) == found


def test_a_tile_of_two_pixels_is_faster_than_a_repeated_one_from_30_weights_on():
    assert [cut(26, weights=weights) for weights in (29, 30)] == [(8, 4, 0), (8, 3, 2)]


def test_the_weights_count_for_each_level():
    assert cut(9, weights=95, levels=3) == (5, 2, 0)


def test_columns_of_tiles_may_end_narrower():
    assert cut(9, height=2) == (8, 1, 1)
