"""The layers of the table and their reproducible numbers."""

import numpy as np
import pytest

from nested_keras.bench.layer_cases import LAYERS, SPARSITIES, cases_of, make_case

BY_LABEL = {layer.label: layer for layer in LAYERS}


def test_labels_are_unique():
    assert len(BY_LABEL) == len(LAYERS)


def test_a_row_is_measured_at_every_sparsity_and_block_shape():
    cases = cases_of(BY_LABEL["3x3 32->32 @16x16"])
    pruned = SPARSITIES[1:]
    expected = [(0.0, 1), *((s, 1) for s in pruned), *((s, 4) for s in pruned)]
    assert [(case.sparsity, case.block_size) for case in cases] == expected


@pytest.mark.parametrize("block_size", [1, 2, 4])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95])
def test_the_share_of_zeros_is_exact(sparsity, block_size):
    layer = BY_LABEL["FC 256->64"]
    case = make_case(layer, sparsity, block_size)
    blocks = case.dense.filter.reshape(-1, block_size)
    kept = round((1 - sparsity) * len(blocks))
    assert np.count_nonzero(blocks.any(axis=1)) == kept
    assert np.count_nonzero(blocks) == kept * block_size


def test_cases_are_reproducible():
    layer = BY_LABEL["1x1 64->64 @8x8"]
    first, second = make_case(layer, 0.9, 1), make_case(layer, 0.9, 1)
    assert first.stream.data == second.stream.data
    assert np.array_equal(first.x, second.x)


def test_outputs_spread_over_the_int8_range():
    for layer in LAYERS:
        y = cases_of(layer)[-1].y
        assert 40 < y.astype(float).std() < 90, layer.label
        assert np.mean(np.abs(y.astype(int)) >= 127) < 0.25, layer.label


def test_the_levels_of_a_nested_layer_share_one_stream():
    cases = cases_of(BY_LABEL["FC 256->64, 3 levels"])
    assert [(case.sparsity, case.level) for case in cases] == [(0.9, 0), (0.8, 1), (0.7, 2)]
    (stream,) = {case.stream for case in cases}
    assert len(stream.levels) == 3
    alone = make_case(BY_LABEL["FC 256->64"], 0.8, 1)
    assert np.array_equal(cases[1].dense.filter, alone.dense.filter)
    assert np.array_equal(cases[1].y, alone.y)


def test_a_dense_operator_has_no_stream():
    (case,) = cases_of(BY_LABEL["depthwise 3x3 64ch @8x8, dense operator"])
    assert case.stream is None
    assert case.dense.filter.shape == (64, 3, 3, 1)


def test_stride_two_pads_below_and_right_only():
    layer = BY_LABEL["3x3 32->64 stride 2, 16x16 -> 8x8"]
    assert (layer.output_shape, layer.pad) == ((1, 8, 8, 64), 0)
