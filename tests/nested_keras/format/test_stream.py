"""A stream that is packed, parsed or stripped holds the same things."""

import numpy as np
from hypothesis import given, settings

from nested_keras.format import Stream
from tests.nested_keras.format.streams import layers


def assert_same(one, other):
    assert one.data == other.data
    assert one.levels == other.levels
    assert one.params == other.params
    for name in ("weights", "level_map", "bias", "multiplier", "shift"):
        left, right = getattr(one.weights, name), getattr(other.weights, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@settings(max_examples=60)
@given(layers(max_levels=5))
def test_packing_gives_what_parsing_gives(nested):
    packed = Stream.pack(nested)
    assert_same(packed, Stream.parse(packed.data))


@settings(max_examples=60)
@given(layers(max_levels=5))
def test_a_stripped_stream_is_what_its_bytes_say(nested):
    packed = Stream.pack(nested)
    for levels in range(1, nested.levels + 1):
        stripped = packed.strip(levels)
        assert_same(stripped, Stream.parse(stripped.data))
        for level in range(levels):
            np.testing.assert_array_equal(stripped.kernel(level), packed.kernel(level))
            assert stripped.nnz(level) == np.count_nonzero(packed.kernel(level))
            assert len(packed.strip(level + 1).data) == packed.prefix_bytes(level)
