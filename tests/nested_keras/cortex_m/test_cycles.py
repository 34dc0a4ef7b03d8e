"""The cost model: what it predicts, and what is chosen by it."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from nested_keras.bench.layer_cases import LAYERS, cases_of
from nested_keras.cortex_m import cycles
from nested_keras.cortex_m.cycles import ImageSize
from nested_keras.format import Encoding, LayerKind, LayerParams, NestedWeights, StoredLevel, Stream
from tests.nested_keras.format.streams import random_layer

ROOT = Path(__file__).resolve().parents[3]
CONV = LayerParams(LayerKind.CONV, 3, 3, 16, 16, pad_top=1, pad_left=1)
IMAGE = ImageSize(1, 16, 16, 16, 16)


def sparse_layer(params, share, *, block=1, levels=1, seed=0):
    """Weights of which `share` is kept, in blocks along the input channels."""
    nested = random_layer(params, levels=levels, profile="full", seed=seed)
    rng = np.random.default_rng(seed)
    *outer, inputs = params.filter_shape
    kept = np.repeat(rng.random((*outer, inputs // block)) < share, block, axis=-1)
    return dataclasses.replace(nested, level_map=np.where(kept, 0, levels).astype(np.uint8))


def encodings(stream):
    return [level.encoding for level in stream.levels]


def test_the_counted_cycles_of_the_table_are_predicted_within_a_tenth():
    rows = json.loads((ROOT / "benchmarks" / "kernels.json").read_text())
    counted = {(row["layer"], row["sparsity"], row["block_shape"]): row["cycles"] for row in rows}
    streams = [layer for layer in LAYERS if not layer.is_plain]
    for case in itertools.chain.from_iterable(map(cases_of, streams)):
        row = (case.layer.label, case.sparsity, f"1x{case.block_size}")
        assert case.predicted_cycles == pytest.approx(counted[row], rel=0.1), row


@pytest.mark.parametrize("core", cycles.CORES)
def test_every_part_of_every_kernel_has_its_cycles(core):
    segments = [
        [StoredLevel(encoding, 4000)]
        for encoding in (Encoding.DENSE, Encoding.DELTA8, Encoding.DELTA16)
    ] + [[StoredLevel(Encoding.EMPTY, 0)], [StoredLevel(Encoding.DELTA8, 9)] * 3]
    shapes = itertools.product((1, 2, 3, 5, 7), (1, 2), (1, 2), (-128, 0), (1, 2, 4))
    for (kernel, stride, dilation, low, block), width in itertools.product(shapes, range(1, 18)):
        fields = dict.fromkeys(("stride_h", "stride_w"), stride)
        fields |= dict.fromkeys(("dilation_h", "dilation_w"), dilation) | {"activation_min": low}
        size = ImageSize(2, width * stride, width * stride, width, width)
        params = LayerParams(LayerKind.CONV, kernel, kernel, 8, 6, block_size=block, **fields)
        layers = [params]
        if block == 1:
            layers.append(dataclasses.replace(params, kind=LayerKind.DEPTHWISE, out_channels=8))
        for layer, stored in itertools.product(layers, segments):
            assert cycles.predict(layer, size, stored, core=core) > 0
    for inputs, block, stored in itertools.product((4, 8, 12), (1, 2, 4), segments):
        params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, inputs, 40, block_size=block)
        assert cycles.predict(params, ImageSize(3, 1, 1, 1, 1), stored, core=core) > 0
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 7, 5)
    assert cycles.predict(params, ImageSize(1, 1, 1, 1, 1), segments[0], core=core) > 0


def test_a_level_costs_more_than_those_below_and_none_above():
    stream = Stream.pack(random_layer(CONV, levels=3))
    predicted = cycles.predict_levels(stream, IMAGE)
    assert list(predicted) == sorted(set(predicted))
    for levels in (1, 2):
        cut = stream.strip(levels)
        assert cycles.predict_levels(cut, IMAGE) == predicted[:levels]


@pytest.mark.parametrize(
    ("kind", "shapes", "size"),
    [
        (LayerKind.CONV, ((2, 9, 8, 3), (2, 5, 4, 7)), ImageSize(2, 9, 8, 5, 4)),
        (LayerKind.CONV, ((2, 9, 3), (2, 4, 7)), ImageSize(2, 1, 9, 1, 4)),
        (LayerKind.FULLY_CONNECTED, ((4, 6), (4, 10)), ImageSize(4, 1, 1, 1, 1)),
        (LayerKind.FULLY_CONNECTED, ((2, 3, 6), (2, 3, 10)), ImageSize(6, 1, 1, 1, 1)),
    ],
)
def test_sizes_of_tensors(kind, shapes, size):
    assert ImageSize.of(kind, *shapes) == size


@pytest.mark.parametrize(
    ("share", "encoding"), [(1.0, Encoding.DENSE), (0.6, Encoding.DELTA8), (0.1, Encoding.DELTA8)]
)
def test_a_convolution_stores_deltas_where_they_are_faster_though_larger(share, encoding):
    nested = sparse_layer(CONV, share)
    stream = cycles.pack_fastest(nested, IMAGE)
    assert encodings(stream) == [encoding]
    assert np.array_equal(
        stream.weights.weights,
        np.where(nested.level_map == 0, nested.weights, 0),
    )
    if share == 0.6:
        assert encodings(Stream.pack(nested)) == [Encoding.DENSE]


@pytest.mark.parametrize(("dilation", "is_spread"), [(2, True), (8, True), (200, False)])
def test_a_dilated_layer_is_stored_with_gaps_where_the_tuned_kernel_is_faster(dilation, is_spread):
    params = LayerParams(LayerKind.CONV, 1, 3, 16, 16, dilation_w=dilation)
    nested = sparse_layer(params, 0.2)
    stream = cycles.pack_fastest(nested, ImageSize(1, 1, 128, 1, 128))
    assert stream.params.dilation_w == (1 if is_spread else dilation)
    assert stream.params.kernel_w == (2 * dilation + 1 if is_spread else 3)
    kept = nested.level_map == 0
    assert sum(level.nnz for level in stream.levels) == np.count_nonzero(nested.weights * kept)


def test_the_width_of_deltas_goes_by_size():
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 4096, 1)
    weights = np.zeros(params.filter_shape, np.int8)
    weights[..., 300::300] = 1
    nested = dataclasses.replace(random_layer(params, levels=1, profile="full"), weights=weights)
    size = ImageSize(1, 1, 1, 1, 1)
    stream = Stream.pack(nested, choose=cycles.fastest(params, size))
    assert encodings(stream) == [Encoding.DELTA16]


@pytest.mark.parametrize("block", [1, 2, 4])
def test_blocks_are_found_in_the_mask(block):
    params = dataclasses.replace(CONV, in_channels=32)
    nested = sparse_layer(params, 0.2, block=block)
    stream = cycles.pack_fastest(nested, IMAGE)
    assert stream.params.block_size == block


def test_blocks_must_divide_the_channels():
    params = dataclasses.replace(CONV, in_channels=6)
    stream = cycles.pack_fastest(sparse_layer(params, 0.3, block=2), IMAGE)
    assert stream.params.block_size == 2
    depthwise = LayerParams(LayerKind.DEPTHWISE, 3, 3, 16, 16)
    stream = cycles.pack_fastest(sparse_layer(depthwise, 0.7), IMAGE)
    assert stream.params.block_size == 1
    assert encodings(stream) == [Encoding.DENSE]


def test_all_levels_count_in_the_choice():
    nested = sparse_layer(dataclasses.replace(CONV, in_channels=32), 0.1, block=4, levels=2)
    later = np.random.default_rng(1).random(nested.level_map.shape) < 0.4
    nested = dataclasses.replace(
        nested, level_map=np.where((nested.level_map == 2) & later, 1, nested.level_map)
    )
    # Single weights of the second level outweigh the blocks of the first.
    stream = cycles.pack_fastest(nested, IMAGE)
    assert stream.params.block_size == 1
    assert isinstance(stream.weights, NestedWeights)
