import dataclasses
import struct

import numpy as np
import pytest

from nested_keras.format import FormatError, LayerKind, LayerParams, Stream, encode
from tests.nested_keras.format import plain_reader
from tests.nested_keras.format.streams import block_ends, random_layer

INT32 = np.iinfo(np.int32)
ROW = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 3, 2, input_offset=-100)


def row(bias, *, params=ROW):
    """Two levels; channel 1 sums up to -100 at level 0 and to -90 at level 1, channel 0 to 0."""
    nested = random_layer(params, levels=2, profile="zero")
    nested.weights[1, 0, 0] = (-100, 10, 77)
    nested.level_map[:] = (0, 1, 2)
    return dataclasses.replace(nested, bias=np.array(bias, np.int32))


def stored_bias(stream):
    """The bias of each level as it lies in the stream."""
    starts = [64, *block_ends(stream)[:-1]]
    return [list(struct.unpack_from("<2i", stream, start + 32)) for start in starts]


def test_the_sum_over_levels_up_to_l_is_folded_in():
    nested = row([[5, 7], [-5, -7]])
    stream = encode(nested)
    assert stored_bias(stream) == [[5, 7 + 10000], [-5, -7 + 9000]]
    np.testing.assert_array_equal(Stream.parse(stream).weights.bias, nested.bias)


def test_weights_that_no_level_uses_are_not_folded_in():
    nested = row([[0, 0], [0, 0]])
    nested.weights[..., 2] = 127
    assert stored_bias(encode(nested)) == [[0, 10000], [0, 9000]]


def test_an_input_offset_of_zero_stores_the_bias_itself():
    nested = row([[5, 7], [-5, -7]], params=dataclasses.replace(ROW, input_offset=0))
    assert stored_bias(encode(nested)) == nested.bias.tolist()


@pytest.mark.parametrize("kind", [LayerKind.CONV, LayerKind.DEPTHWISE])
@pytest.mark.parametrize("input_offset", [-127, 0, 3, 128])
def test_padding_read_as_the_zero_point_gives_the_textbook_accumulator(kind, input_offset):
    """One image row of 5 places, kernel 1 x 3, one place of padding at both ends."""
    params = LayerParams(kind, 1, 3, 2, 2, pad_left=1, input_offset=input_offset)
    nested = random_layer(params, levels=3, seed=1)
    read = plain_reader.read(encode(nested))
    x = np.random.default_rng(0).integers(-128, 128, (5, 2)).tolist()
    per_place = params.filter_shape[-1]
    for level, (folded, _, _) in enumerate(read.tables):
        for channel, row_weights in enumerate(read.weights):
            kept = [(k, pair[0]) for k, pair in enumerate(row_weights) if pair and pair[1] <= level]
            for left in range(-1, 4):
                textbook, one_loop = int(nested.bias[level, channel]), folded[channel]
                for k, weight in kept:
                    column = left + k // per_place
                    inside = 0 <= column < 5
                    pixel = x[column] if inside else [-input_offset] * 2
                    value = pixel[channel if kind == LayerKind.DEPTHWISE else k % per_place]
                    textbook += weight * (value + input_offset) if inside else 0
                    one_loop += weight * value
                assert one_loop == textbook


def test_the_limits_of_32_bits_are_legal():
    nested = row([[INT32.min, INT32.max - 10000], [INT32.max, INT32.max - 9000]])
    stream = encode(nested)
    assert stored_bias(stream) == [[INT32.min, INT32.max], [INT32.max, INT32.max]]
    np.testing.assert_array_equal(Stream.parse(stream).weights.bias, nested.bias)


@pytest.mark.parametrize(
    ("input_offset", "bias", "message"),
    [
        (
            -100,
            INT32.max - 8999,
            r"level 1: folded bias of channel 1 must be in -2147483648\.\.2147483647: "
            r"got 2147483648 = bias 2147474648 \+ input_offset -100 \* sum of weights -90",
        ),
        (
            100,
            INT32.min + 8999,
            r"level 1: folded bias of channel 1 must be in -2147483648\.\.2147483647: "
            r"got -2147483649 = bias -2147474649 \+ input_offset 100 \* sum of weights -90",
        ),
    ],
)
def test_a_folded_bias_beyond_32_bits(input_offset, bias, message):
    params = dataclasses.replace(ROW, input_offset=input_offset)
    with pytest.raises(FormatError, match=message):
        encode(row([[0, 0], [0, bias]], params=params))


def test_the_largest_sum_of_weights():
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 65535, 1, input_offset=128)
    nested = random_layer(params, levels=1, profile="full")
    nested.weights[:] = -128
    nested.bias[:] = 1 << 30
    stream = encode(nested)
    assert struct.unpack_from("<i", stream, 96) == ((1 << 30) - 128 * 128 * 65535,)
    assert Stream.parse(stream).weights.bias == 1 << 30
