"""Streams in fewer bytes: packed tables and CODED weights, by bytes and predicted cycles."""

import numpy as np
import pytest

from nested_keras.cortex_m import cycles, stream_bytes, unpack_cycles
from nested_keras.cortex_m.cycles import ImageSize
from nested_keras.format import Encoding, LayerKind, LayerParams, Stream
from tests.nested_keras.format.streams import random_layer
from tests.tflm_ops.cases import realistic

SIZE = ImageSize(1, 8, 8, 8, 8)


def layer(seed, *, kind=LayerKind.CONV, channels=(32, 24), kept=0.3):
    """The fastest stream of three levels that keep a third, two thirds and all of some weights."""
    inputs, outputs = channels
    params = LayerParams(kind, 1, 1, inputs, outputs, input_offset=128)
    nested = realistic(random_layer(params, levels=3, profile="mixed", seed=seed), seed=seed)
    rng = np.random.default_rng(seed)
    nested.weights[:] = np.clip(rng.normal(0, 30, nested.weights.shape), -127, 127)
    nested.level_map[:] = rng.integers(0, 3, nested.weights.shape)
    nested.level_map[rng.random(nested.weights.shape) > kept] = 3
    size = SIZE if kind is LayerKind.CONV else ImageSize(1, 1, 1, 1, 1)
    return cycles.pack_fastest(nested, size), size


def test_the_smallest_stream_keeps_the_weights_and_rounds_the_tables():
    fast, _ = layer(0, channels=(64, 64))
    small = stream_bytes.pack_smallest(fast)
    assert len(small.data) < 0.7 * len(fast.data)
    assert {level.encoding for level in small.levels} == {Encoding.CODED}
    assert all(level.has_packed_tables for level in small.levels)
    before, after = fast.weights, Stream.parse(small.data).weights
    np.testing.assert_array_equal(after.weights, before.weights)
    np.testing.assert_array_equal(after.level_map, before.level_map)
    moved = np.abs(after.multiplier / before.multiplier - 1)
    assert 0 < moved.max() <= 2.0 ** -(stream_bytes.MULTIPLIER_BITS + 1)


def test_a_fully_connected_layer_keeps_its_tables():
    fast, _ = layer(1, kind=LayerKind.FULLY_CONNECTED, channels=(300, 40))
    small = stream_bytes.pack_smallest(fast)
    assert len(small.data) < len(fast.data)
    for name in ("bias", "multiplier", "shift"):
        np.testing.assert_array_equal(
            getattr(small.weights, name), getattr(fast.weights, name), name
        )


def test_codes_that_save_little_are_not_worth_their_cycles():
    params = LayerParams(LayerKind.DEPTHWISE, 3, 3, 64, 64)
    nested = realistic(random_layer(params, levels=1, profile="full"), seed=0)
    small = stream_bytes.pack_smallest(Stream.pack(nested))
    assert small.levels[0].encoding is Encoding.DENSE
    assert small.levels[0].has_packed_tables


@pytest.fixture(scope="module")
def model():
    return [
        layer(2),
        layer(3, channels=(64, 64)),
        layer(4, kind=LayerKind.FULLY_CONNECTED, channels=(200, 10)),
    ]


def bytes_of(streams):
    return sum(len(stream.data) for stream in streams)


def cycles_of(streams, model):
    return sum(
        sum(cycles.predict_levels(stream, size))
        for stream, (_, size) in zip(streams, model, strict=True)
    )


def test_bytes_fit_the_limit_and_cycles_grow_as_it_falls(model):
    fast = [stream for stream, _ in model]
    least = bytes_of(stream_bytes.pack_smallest(stream) for stream in fast)
    most = bytes_of(fast)
    before = cycles_of(fast, model)
    for limit in np.linspace(most, least, 7).astype(int):
        packed = stream_bytes.pack_within(model, int(limit))
        assert bytes_of(packed) <= limit
        assert cycles_of(packed, model) >= before - 1e-6
        before = cycles_of(packed, model)
    assert before > cycles_of(fast, model)


def test_streams_that_fit_stay_as_they_are(model):
    packed = stream_bytes.pack_within(model, bytes_of(stream for stream, _ in model))
    assert [stream.data for stream in packed] == [stream.data for stream, _ in model]


def test_a_limit_that_cannot_be_met_gives_the_smallest_streams(model):
    packed = stream_bytes.pack_within(model, 16)
    assert [s.data for s in packed] == [stream_bytes.pack_smallest(s).data for s, _ in model]


def test_unpacking_costs_what_is_packed():
    fast, _ = layer(5)
    small = stream_bytes.pack_smallest(fast)
    assert unpack_cycles.unpack_cycles(fast.params, fast.levels) == 0
    one, two = (unpack_cycles.unpack_cycles(small.params, small.levels[:n]) for n in (1, 2))
    assert 0 < one < two
