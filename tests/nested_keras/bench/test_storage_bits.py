"""Bits per stored weight."""

import pytest

from nested_keras.bench import storage_bits
from nested_keras.bench.layer_cases import LAYERS, SPARSITIES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows():
    return {(row.layer, row.block_shape, row.sparsity): row for row in storage_bits.rows()}


def test_a_row_for_every_layer_block_shape_and_sparsity(rows):
    assert len(rows) == (8 + 1) * 3 * len(SPARSITIES[1:])


def test_a_weight_takes_a_delta_and_its_share_of_the_count(rows):
    # 4608 weights of 2 bytes, 32 counts of 8 bits: the largest of 144 on average is below 256.
    row = rows["3x3 32->32 @16x16", "1x1", 0.5]
    assert (row.nonzeros, row.bits_per_nonzero) == (4608, round(8 * (2 + 32 / 4608), 3))
    # 72 blocks a channel on average: 7 bits.
    row = rows["3x3 32->32 @16x16", "1x2", 0.5]
    assert (row.nonzeros, row.bits_per_nonzero) == (4608, round(8 * (1.5 + 28 / 4608), 3))
    # Bytes, where the kernel reads counts in place.
    row = rows["FC 256->64", "1x4", 0.95]
    assert (row.nonzeros, row.bits_per_nonzero) == (820, round(8 * (1.25 + 64 / 820), 3))


@pytest.mark.parametrize("sparsity", SPARSITIES[1:])
@pytest.mark.parametrize(("block_shape", "limit"), [("1x1", 16.5), ("1x2", 12.5)])
def test_the_layers_of_the_table_keep_the_limits_together(rows, sparsity, block_shape, limit):
    assert rows["all", block_shape, sparsity].bits_per_nonzero <= limit


@pytest.mark.parametrize(("block_shape", "limit"), [("1x1", 16.5), ("1x2", 12.5)])
def test_each_layer_keeps_them_from_16_weights_a_channel_on(rows, block_shape, limit):
    outputs = {layer.name: layer.out_channels for layer in LAYERS}
    checked = 0
    for (layer, shape, _), row in rows.items():
        if layer in outputs and shape == block_shape and row.nonzeros >= 16 * outputs[layer]:
            assert row.bits_per_nonzero <= limit
            checked += 1
    assert checked >= 25
