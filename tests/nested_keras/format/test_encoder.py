import numpy as np
import pytest
from hypothesis import given, settings

from nested_keras.format import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    Stream,
    encode,
    encoder,
)
from tests.nested_keras.format import plain_reader
from tests.nested_keras.format.streams import PROFILES, layers, random_layer


def normalised(nested):
    """Weights and level map as a round trip leaves them."""
    kept = (nested.weights != 0) & (nested.level_map < nested.levels)
    return np.where(kept, nested.weights, 0), np.where(kept, nested.level_map, nested.levels)


def assert_same(decoded, nested):
    weights, level_map = normalised(nested)
    assert decoded.params == nested.params
    np.testing.assert_array_equal(decoded.weights, weights)
    np.testing.assert_array_equal(decoded.level_map, level_map)
    for name in ("bias", "multiplier", "shift"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(nested, name))


def one_level_row(values, *, block_size=1):
    """One output, one level, 4096 inputs; zero but for the given (index, value) pairs."""
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 4096, 1, block_size=block_size)
    weights = np.zeros(params.filter_shape, np.int8)
    for index, value in values:
        weights[0, 0, 0, index] = value
    return NestedWeights(
        params=params,
        weights=weights,
        level_map=np.zeros(params.filter_shape, np.uint8),
        bias=np.zeros((1, 1), np.int32),
        multiplier=np.zeros((1, 1), np.int32),
        shift=np.zeros((1, 1), np.int8),
    )


@given(layers())
def test_round_trip_keeps_all_but_unused_weights(nested):
    stream = encode(nested)
    assert len(stream) % 16 == 0
    decoded = Stream.parse(stream).weights
    assert_same(decoded, nested)
    assert encode(decoded) == stream
    assert Stream.parse(stream).params == nested.params


@pytest.mark.parametrize("levels", range(1, 17))
@pytest.mark.parametrize("profile", PROFILES)
def test_every_number_of_levels(levels, profile):
    params = LayerParams(LayerKind.CONV, 3, 3, 4, 3, block_size=2)
    nested = random_layer(params, levels=levels, profile=profile, seed=levels)
    assert_same(Stream.parse(encode(nested)).weights, nested)
    nnz = [int(np.count_nonzero(normalised(nested)[1] <= level)) for level in range(levels)]
    stream = Stream.parse(encode(nested))
    assert [stream.nnz(level) for level in range(levels)] == nnz


@settings(max_examples=60)
@given(layers(max_levels=5))
def test_a_reader_written_from_the_document_reads_the_same(nested):
    params = nested.params
    read = plain_reader.read(encode(nested))
    assert (read.kind, read.levels_at_writing, read.block_size) == (
        params.kind,
        nested.levels,
        params.block_size,
    )
    assert read.strides_dilations_pads == (
        params.stride_h,
        params.stride_w,
        params.dilation_h,
        params.dilation_w,
        params.pad_top,
        params.pad_left,
    )
    assert read.shape == (
        params.kernel_h,
        params.kernel_w,
        params.out_channels,
        params.in_channels,
        params.depth_multiplier,
    )
    assert read.offsets_and_clamps == (
        params.input_offset,
        params.output_offset,
        params.activation_min,
        params.activation_max,
    )
    weights, level_map = (array.reshape(params.out_channels, -1) for array in normalised(nested))
    expected = [
        [(value, level) if value else None for value, level in zip(*row, strict=True)]
        for row in zip(weights.tolist(), level_map.tolist(), strict=True)
    ]
    assert read.weights == expected
    assert read.bias == nested.bias.tolist()
    for level, (_, multiplier, shift) in enumerate(read.tables):
        assert multiplier == nested.multiplier[level].tolist()
        assert shift == nested.shift[level].tolist()


def legal_sizes(nested, level):
    """Size of a level's block in every legal encoding, counted entry by entry."""
    params = nested.params
    outputs, lanes = params.out_channels, params.block_size
    rows = np.where(nested.level_map == level, nested.weights, 0).reshape(outputs, -1, lanes)
    tables = 32 + 8 * outputs + (outputs + 3) // 4 * 4
    sizes = {}
    if not rows.any():
        sizes[Encoding.EMPTY] = tables
    if level == 0:
        sizes[Encoding.DENSE] = tables + rows.size + 4
    for encoding, largest, width in ((Encoding.DELTA8, 255, 1), (Encoding.DELTA16, 65535, 2)):
        counts = []
        for row in rows:
            position = entries = 0
            for target in np.flatnonzero(row.any(axis=1)):
                while target - position > largest:
                    position += largest
                    entries += 1
                position = target
                entries += 1
            counts.append(entries)
        bits = max(counts).bit_length()
        if params.kind == LayerKind.FULLY_CONNECTED:
            bits = max(bits, 8)
        words = (outputs * bits + 31) // 32
        sizes[encoding] = tables + 4 * words + sum(counts) * (width + lanes) + 4
    return {encoding: (size + 15) // 16 * 16 for encoding, size in sizes.items()}


@settings(max_examples=60)
@given(layers(max_levels=4))
def test_each_level_takes_its_smallest_encoding(nested):
    for row in Stream.parse(encode(nested)).levels:
        sizes = legal_sizes(nested, row.level)
        smallest = min(sizes, key=lambda encoding: (sizes[encoding], encoding))
        assert (row.encoding, row.bytes) == (smallest, sizes[smallest])


def test_all_encodings_in_place_are_chosen_where_they_pay():
    full = random_layer(LayerParams(LayerKind.CONV, 3, 3, 8, 8), levels=2, profile="full")
    assert [row.encoding for row in Stream.parse(encode(full)).levels] == [
        Encoding.DENSE,
        Encoding.EMPTY,
    ]
    near = one_level_row([(0, 1), (255, 2), (510, 3)])
    assert Stream.parse(encode(near)).levels[0].encoding == Encoding.DELTA8
    far = one_level_row([(index, 1) for index in range(300, 4096, 300)])
    assert Stream.parse(encode(far)).levels[0].encoding == Encoding.DELTA16


def test_dense_is_for_level_0_only():
    late = random_layer(LayerParams(LayerKind.CONV, 3, 3, 8, 8), levels=2, profile="late")
    assert [row.encoding for row in Stream.parse(encode(late)).levels] == [
        Encoding.EMPTY,
        Encoding.DELTA8,
    ]


@pytest.mark.parametrize("wanted", [Encoding.DENSE, Encoding.DELTA8, Encoding.DELTA16])
def test_a_chooser_picks_among_all_legal_encodings(wanted):
    nested = random_layer(LayerParams(LayerKind.CONV, 3, 3, 8, 8), levels=2)
    sizes = [legal_sizes(nested, level) for level in range(2)]
    seen = []

    def choose(options):
        coded = [option for option in options if option.encoding is Encoding.CODED]
        assert len(coded) == 1
        seen.append({o.encoding: o.bytes for o in options if o not in coded})
        return next((o for o in options if o.encoding == wanted), options[0])

    stream = encode(nested, choose=choose)
    assert seen == sizes
    first, second = Stream.parse(stream).levels
    assert (first.encoding, first.bytes) == (wanted, sizes[0][wanted])
    assert second.encoding == (Encoding.DELTA8 if wanted == Encoding.DENSE else wanted)
    assert_same(Stream.parse(stream).weights, Stream.parse(encode(nested)).weights)


def test_a_level_without_weights_is_no_choice():
    nested = random_layer(LayerParams(LayerKind.CONV, 3, 3, 8, 8), levels=2, profile="pruned")
    stream = encode(nested, choose=None)
    assert [row.encoding for row in Stream.parse(stream).levels] == [Encoding.EMPTY, Encoding.EMPTY]


@pytest.mark.parametrize(
    ("kind", "weights", "bits"),
    [
        (LayerKind.CONV, (1, 0, 1), 1),
        (LayerKind.CONV, (5, 2, 7), 3),
        (LayerKind.CONV, (8, 0, 0), 4),
        (LayerKind.CONV, (3, 511, 1), 9),
        (LayerKind.FULLY_CONNECTED, (5, 2, 7), 8),
        (LayerKind.FULLY_CONNECTED, (3, 255, 1), 8),
        (LayerKind.FULLY_CONNECTED, (3, 256, 1), 9),
    ],
)
def test_counts_take_the_bits_of_the_largest(kind, weights, bits):
    nested = random_layer(LayerParams(kind, 1, 1, 600, 3), levels=1, profile="zero")
    for channel, count in enumerate(weights):
        nested.weights[channel, ..., :count] = 1
        nested.level_map[channel, ..., :count] = 0
    stream = encode(nested)
    (row,) = Stream.parse(stream).levels
    assert (row.encoding, row.count_bits) == (Encoding.DELTA8, bits)
    # Three outputs: tables end at byte 60 of the block.
    packed = sum(count << bits * channel for channel, count in enumerate(weights))
    assert int.from_bytes(stream[64 + 60 : 64 + 60 + (3 * bits + 7) // 8], "little") == packed
    assert_same(Stream.parse(stream).weights, nested)


@pytest.mark.parametrize(
    ("gap", "deltas"),
    [
        (0, [0]),
        (1, [1]),
        (254, [254]),
        (255, [255]),
        (256, [255, 1]),
        (510, [255, 255]),
        (511, [255, 255, 1]),
        (1000, [255, 255, 255, 235]),
    ],
)
@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_gaps_over_255_are_bridged_by_fillers(gap, deltas, block_size):
    # Neighbours after the gap make one-byte deltas pay; the last lane of a block holds the weight.
    positions = [gap + step for step in range(20)]
    values = [(p * block_size + block_size - 1, 9) for p in positions]
    stream = encode(one_level_row(values, block_size=block_size))
    (row,) = Stream.parse(stream).levels
    assert (row.encoding, row.entries, row.nnz) == (Encoding.DELTA8, len(deltas) + 19, 20)
    start, length = 64 + 32 + 4 + 4 + 4 + 4, 1 + block_size
    records = [stream[start + e * length : start + (e + 1) * length] for e in range(row.entries)]
    zeros = bytes(block_size)
    assert records[: len(deltas) - 1] == [bytes([255]) + zeros] * (len(deltas) - 1)
    weight = zeros[1:] + bytes([9])
    assert records[len(deltas) - 1 :] == [bytes([d]) + weight for d in [deltas[-1]] + [1] * 19]
    Stream.parse(stream)


@pytest.mark.parametrize(
    ("encoding", "weights", "end", "block"),
    [
        # One output: tables end at byte 44 of the block, counts at byte 48.
        (Encoding.DELTA8, 6, 60, 64),
        (Encoding.DELTA8, 7, 62, 80),
        (Encoding.DELTA8, 8, 64, 80),
        (Encoding.DENSE, 16, 60, 64),
        (Encoding.DENSE, 17, 61, 80),
        (Encoding.DENSE, 20, 64, 80),
    ],
)
def test_four_zero_bytes_follow_the_last_weight(encoding, weights, end, block):
    inputs = weights if encoding == Encoding.DENSE else 4096
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, inputs, 1)
    nested = random_layer(params, levels=1, profile="zero")
    nested.weights[..., :weights] = -1
    nested.level_map[..., :weights] = 0
    stream = encode(nested)
    assert Stream.parse(stream).levels[0].encoding == encoding
    assert len(stream) == 64 + block
    assert stream[64 + end - 1] == 0xFF
    assert stream[64 + end :] == bytes(block - end)


def test_records_of_two_byte_deltas_are_not_aligned():
    stream = encode(one_level_row([(300, 5), (1067, -6), (1068, 7)]))
    assert Stream.parse(stream).levels[0].encoding == Encoding.DELTA16
    assert stream[112:125].hex(" ") == "2c 01 05 ff 02 fa 01 00 07 00 00 00 00"


def test_a_gap_at_the_start_of_a_later_channel_counts_from_position_0():
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 600, 3)
    weights = np.zeros(params.filter_shape, np.int8)
    weights[0, 0, 0, 599] = 1
    weights[2, 0, 0, 300] = 2
    nested = NestedWeights(
        params=params,
        weights=weights,
        level_map=np.zeros(params.filter_shape, np.uint8),
        bias=np.zeros((1, 3), np.int32),
        multiplier=np.zeros((1, 3), np.int32),
        shift=np.zeros((1, 3), np.int8),
    )
    assert_same(Stream.parse(encode(nested)).weights, nested)


def test_a_block_may_be_spread_over_levels():
    params = LayerParams(LayerKind.CONV, 1, 1, 4, 1, block_size=4)
    nested = NestedWeights(
        params=params,
        weights=np.array([[[[1, 2, 3, 4]]]], np.int8),
        level_map=np.array([[[[0, 1, 2, 1]]]], np.uint8),
        bias=np.zeros((2, 1), np.int32),
        multiplier=np.zeros((2, 1), np.int32),
        shift=np.zeros((2, 1), np.int8),
    )
    assert_same(Stream.parse(encode(nested)).weights, nested)
    assert [row.nnz for row in Stream.parse(encode(nested)).levels] == [1, 2]


def test_largest_channel():
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 65535, 1)
    for profile in ("sparse", "full", "late"):
        nested = random_layer(params, levels=2, profile=profile)
        assert_same(Stream.parse(encode(nested)).weights, nested)


def test_a_block_too_long_for_its_length_field(monkeypatch):
    # Such a layer has four billion weights: say that this one is as long.
    monkeypatch.setattr(encoder, "block_bytes", lambda encoding, sections: 1 << 32)
    with pytest.raises(FormatError, match=r"level 0 must fit into 2\^32-1 bytes: got 4294967296"):
        encode(one_level_row([(0, 1)]))
