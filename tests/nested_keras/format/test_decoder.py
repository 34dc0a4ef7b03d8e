import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.format import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    Stream,
    Tables,
    encode,
    smallest,
)
from tests.nested_keras.format.streams import (
    block_ends,
    coded,
    layers,
    packed_layers,
    patch,
    random_layer,
)

# Block 0, two outputs: bias at 96, multiplier 104, shift 112, counts (bytes) 116, records from 120.
LEVEL_0 = 64
ROW = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 600, 2, input_offset=128)


def row_stream(*, levels=2, positions=((0, 3, 7, 9), (5, 590))):
    """A stream of ROW: channel c has weights c + 1 at positions[c], in alternating levels."""
    nested = random_layer(ROW, levels=levels, profile="zero")
    for channel, indices in enumerate(positions):
        for number, index in enumerate(indices):
            nested.weights[channel, 0, 0, index] = channel + 1
            nested.level_map[channel, 0, 0, index] = number % levels
    return encode(nested)


@pytest.fixture(scope="module")
def delta8():
    """One level: channel 0 at 0, 3, 7, 9; channel 1 at 5 and, after two fillers, at 590."""
    stream = row_stream(levels=1)
    assert stream[LEVEL_0 + 9] == Encoding.DELTA8
    assert list(stream[120:136:2]) == [0, 3, 4, 2, 5, 255, 255, 75]
    assert list(stream[121:136:2]) == [1, 1, 1, 1, 2, 0, 0, 2]
    return stream


@settings(max_examples=20)
@given(layers(max_levels=4).filter(lambda nested: nested.weights.size < 300))
def test_prefix_property(nested):
    stream = encode(nested)
    ends = block_ends(stream)
    assert ends[-1] == len(stream)
    for length in range(len(stream)):
        if length not in ends:
            with pytest.raises(FormatError):
                Stream.parse(stream[:length])
    for levels, end in enumerate(ends, start=1):
        assert Stream.parse(stream).strip(levels).data == stream[:end]
        assert len(Stream.parse(stream[:end]).levels) == levels


@given(st.one_of(layers(), packed_layers()), st.sampled_from([smallest, coded]))
def test_a_stripped_stream_holds_the_sparser_levels(nested, choose):
    stream = encode(nested, choose=choose)
    full = Stream.parse(stream).weights
    for levels in range(1, nested.levels + 1):
        cut = Stream.parse(stream).strip(levels).weights
        kept = full.level_map < levels
        np.testing.assert_array_equal(cut.weights, np.where(kept, full.weights, 0))
        np.testing.assert_array_equal(cut.level_map, np.where(kept, full.level_map, levels))
        for name in ("bias", "multiplier", "shift"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(full, name)[:levels])
        again = encode(cut, choose=choose)
        differing = [i for i in range(len(again)) if again[i] != stream[i]]
        assert set(differing) <= {7, 60, 61, 62, 63}
        assert again[7] == levels


@pytest.mark.parametrize("levels", [0, 3, -1])
def test_strip_to_a_number_of_levels_that_is_not_there(levels):
    with pytest.raises(FormatError, match=rf"levels must be in 1\.\.2: got {levels}"):
        Stream.parse(row_stream()).strip(levels)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        Stream.parse(row_stream()).strip(float(levels))


def test_levels_say_how_they_are_stored():
    data = row_stream()
    stream = Stream.parse(data)
    rows = stream.levels
    assert [stream.prefix_bytes(row.level) for row in rows] == block_ends(data)
    assert [64 + row.bytes for row in rows[:1]] == block_ends(data)[:1]
    assert [row.nnz for row in rows] == [3, 3]
    assert [stream.nnz(row.level) for row in rows] == [3, 6]
    assert [row.entries for row in rows] == [3, 5]  # level 1 bridges 590 with two fillers
    assert [row.level for row in rows] == [0, 1]


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_bytes_are_read(buffer):
    stream = row_stream()
    data = buffer(stream)
    assert encode(Stream.parse(data).weights) == stream
    assert Stream.parse(data).strip(1).data == stream[: block_ends(stream)[0]]
    assert Stream.parse(data).params == ROW


def test_decoded_arrays_may_be_written():
    decoded = Stream.parse(row_stream()).weights
    for name in ("weights", "level_map", "bias", "multiplier", "shift"):
        assert getattr(decoded, name).flags.writeable


def packed_stream(**changes):
    """Three levels of a convolution: CODED and SIGNED, EMPTY and SAME, CODED and SIGNED."""
    params = LayerParams(LayerKind.CONV, 1, 1, 12, 3, input_offset=128)
    nested = random_layer(params, levels=3, profile="mixed", seed=7)
    nested.level_map[nested.level_map == 1] = 3
    nested.bias[:] = [[3, -70, 0], [3, -70, 0], [9, 1, -1000]]
    nested.multiplier[:] = np.array([5 << 28, -(13 << 27), 1 << 30])
    nested.shift[:] = [[-7, -6, -9], [-7, -6, -9], [-7, -7, -7]]
    for name, value in changes.items():
        getattr(nested, name)[:] = value
    return encode(nested, choose=coded)


MUTATED = {
    "delta8": row_stream(),
    "delta16": row_stream(positions=((598, 599), ())),
    "dense": encode(
        random_layer(LayerParams(LayerKind.CONV, 3, 3, 2, 3), levels=2, profile="full")
    ),
    "empty": encode(
        random_layer(LayerParams(LayerKind.DEPTHWISE, 3, 3, 2, 2), levels=2, profile="zero")
    ),
    "coded": encode(
        random_layer(LayerParams(LayerKind.CONV, 1, 1, 4, 2, block_size=2), levels=2), choose=coded
    ),
    "packed": packed_stream(),
}


def test_mutated_streams_cover_every_encoding():
    rows = [row for stream in MUTATED.values() for row in Stream.parse(stream).levels]
    assert {row.encoding for row in rows} == set(Encoding)
    assert {row.tables for row in rows} >= {Tables.EXACT, Tables.SAME, Tables.SIGNED}


@pytest.mark.parametrize("name", MUTATED)
def test_every_single_byte_is_guarded(name):
    stream = MUTATED[name]
    for offset in range(len(stream)):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            mutated = bytearray(stream)
            mutated[offset] ^= flip
            with pytest.raises(FormatError):
                Stream.parse(mutated)


@given(layers(max_levels=4), st.data())
def test_any_single_byte_mutation_is_rejected(nested, data):
    mutated = bytearray(encode(nested))
    mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        Stream.parse(mutated)


@settings(max_examples=300)
@given(st.sampled_from(sorted(MUTATED)), st.data())
def test_a_mutation_with_right_checksums_decodes_or_is_refused(name, data):
    stream = MUTATED[name]
    for _ in range(data.draw(st.integers(1, 3))):
        stream = patch(
            stream, data.draw(st.integers(0, len(stream) - 1)), "B", data.draw(st.integers(0, 255))
        )
    try:
        decoded = Stream.parse(stream).weights
    except FormatError:
        return
    assert Stream.parse(encode(decoded)).weights.params == decoded.params


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (0, "4s", b"TFL3", r"magic must be b'NSC1': got b'TFL3'"),
        (4, "<H", 2, "version must be 1: got 2"),
        (6, "B", 3, r"kind must be in 0\.\.2: got 3"),
        (7, "B", 0, r"levels must be in 1\.\.16: got 0"),
        (7, "B", 17, r"levels must be in 1\.\.16: got 17"),
        (8, "B", 8, r"block_size must be one of \(1, 2, 4\): got 8"),
        (15, "B", 1, "header: reserved bytes at 15 must be zero: got 01"),
        (26, "<H", 1, "header: reserved bytes at 26 must be zero: got 0100"),
        (59, "B", 9, "header: reserved bytes at 44 must be zero: got 0{30}09"),
        (9, "B", 0, r"stride_h must be in 1\.\.255: got 0"),
        (28, "<i", 129, r"input_offset must be in -127\.\.128: got 129"),
        (36, "<i", -(2**31), r"activation_min must be in -128\.\.127: got -2147483648"),
        (LEVEL_0, "<I", 96, "level 0: block_bytes must be 80: got 96"),
        (LEVEL_0, "<I", 2**32 - 1, "level 0: block_bytes must be 80: got 4294967295"),
        (LEVEL_0 + 4, "<I", 2**32 - 1, "level 0: block_bytes must be 8589934656: got 80"),
        (LEVEL_0 + 8, "B", 1, "level 0: level must be 0: got 1"),
        (LEVEL_0 + 9, "B", 5, r"level 0: encoding must be in 0\.\.4: got 5"),
        (LEVEL_0 + 9, "B", 4, r"level 0: padding at byte 125 must be zero: got 010201"),
        (LEVEL_0 + 9, "B", 0, "level 0: entries of an EMPTY block must be 0: got 8"),
        (LEVEL_0 + 9, "B", 1, "level 0: entries of a DENSE block must be 1200: got 8"),
        (LEVEL_0 + 10, "B", 0, r"level 0: count_bits must be in 1\.\.16: got 0"),
        (LEVEL_0 + 10, "B", 17, r"level 0: count_bits must be in 1\.\.16: got 17"),
        (LEVEL_0 + 11, "B", 4, r"level 0: tables must be in 0\.\.3: got 4"),
        (LEVEL_0 + 11, "B", 1, "level 0: tables must be stored: got SAME"),
        (
            LEVEL_0 + 11,
            "B",
            2,
            "level 0: tables of a fully connected layer must not be packed: got PACKED",
        ),
        (LEVEL_0 + 12, "<I", 5, "level 0: nnz must be 6: got 5"),
        (LEVEL_0 + 16, "B", 1, "level 0: multiplier_bits must be zero: got 01"),
        (LEVEL_0 + 24, "<I", 1, "level 0: code_words must be zero: got 01000000"),
        (
            96,
            "<i",
            -(2**31) + 511,
            r"level 0: bias of channel 0 must be in -2147483648\.\.2147483647: got -2147483649 "
            r"= folded bias -2147483137 - input_offset 128 \* sum of weights 4",
        ),
        (104, "<i", 1, "multiplier must be 0 or .*: got 1"),
        (112, "b", 31, r"shift must be in -31\.\.30: got 31"),
        (114, "B", 7, "level 0: padding at byte 114 must be zero: got 0700"),
        (136, "B", 1, "level 0: padding at byte 136 must be zero: got 0100000000000000"),
        (143, "B", 1, "level 0: padding at byte 136 must be zero: got 0000000000000001"),
        (116, "B", 5, "level 0: sum of the channels' counts must be 8: got 9"),
        (118, "B", 1, "level 0: padding at byte 118 must be zero: got 0100"),
        (124, "B", 0, "level 0: delta of entry 2 must be at least 1: got 0"),
        (128, "B", 15, r"level 0: largest block position must be in 0\.\.599: got 600"),
    ],
)
def test_each_broken_rule_has_its_error(delta8, offset, layout, value, message):
    broken = patch(delta8, offset, layout, value)
    with pytest.raises(FormatError, match=message):
        Stream.parse(broken)


def test_counts_that_only_move_entries_between_channels(delta8):
    # Channel 0 takes over an entry, for its position 14; channel 1 then starts with a filler.
    moved = Stream.parse(patch(delta8, 116, "BB", 5, 3)).weights
    assert moved.weights[0, 0, 0, 14] == 2
    assert moved.weights[1, 0, 0, 585] == 2
    # The first delta of a channel may be zero, and only that one.
    first = Stream.parse(patch(delta8, 128, "B", 0)).weights
    assert first.weights[1, 0, 0, 0] == 2


@pytest.mark.parametrize("bits", range(3, 17))
def test_counts_of_any_width_that_holds_them(delta8, bits):
    # Two counts of 4. Both 8 and 16 bits a channel leave the records at byte 120.
    packed = 4 | 4 << bits
    wide = patch(patch(delta8, 116, "<I", packed), LEVEL_0 + 10, "B", bits)
    np.testing.assert_array_equal(
        Stream.parse(wide).weights.weights, Stream.parse(delta8).weights.weights
    )
    if bits % 4:
        spoilt = patch(wide, 116, "<I", packed | 1 << 2 * bits)
        with pytest.raises(
            FormatError, match="level 0: bits after the last count must be 0: got 1"
        ):
            Stream.parse(spoilt)


@pytest.mark.parametrize("offset", [60, LEVEL_0 + 28, 96])
def test_checksums(delta8, offset):
    broken = bytearray(delta8)
    broken[offset] ^= 1
    what = "header" if offset == 60 else "level 0"
    with pytest.raises(FormatError, match=rf"{what}: checksum must be 0x\w{{8}}: got 0x\w{{8}}"):
        Stream.parse(broken)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "stream must have at least 64 bytes: got 0"),
        (63, "stream must have at least 64 bytes: got 63"),
        (64, r"stream must hold 1\.\.1 level blocks: got 0"),
        (80, "level 0 must have at least 32 bytes: got 16"),
        (128, "level 0 must have 80 bytes: got 64"),
    ],
)
def test_truncated(delta8, length, message):
    with pytest.raises(FormatError, match=message):
        Stream.parse(delta8[:length])


def test_more_blocks_than_levels_at_writing():
    stream = patch(row_stream(), 7, "B", 1)
    end = block_ends(stream)[0]
    with pytest.raises(
        FormatError, match=f"stream of 1 levels must end at byte {end}: got {len(stream)}"
    ):
        Stream.parse(stream)


def test_dense_above_level_0():
    stream = MUTATED["dense"]
    second = stream[64 : block_ends(stream)[0]]
    twice = patch(stream[: 64 + len(second)] + second, 64 + len(second) + 8, "B", 1)
    with pytest.raises(FormatError, match="level 1: level of a DENSE block must be 0: got 1"):
        Stream.parse(twice)


def test_a_weight_in_two_levels():
    stream = MUTATED["delta8"]
    first = stream[64 : block_ends(stream)[0]]
    twice = patch(stream[: 64 + len(first)] + first, 64 + len(first) + 8, "B", 1)
    with pytest.raises(
        FormatError, match="weight 0 of channel 0 must be in one level: got levels 0 and 1"
    ):
        Stream.parse(twice)


def test_foreign_bytes():
    with pytest.raises(FormatError, match="magic must be"):
        Stream.parse(struct.pack("<I4s", 28, b"TFL3") + bytes(120))
    with pytest.raises(FormatError, match=r"magic must be b'NSC1': got b'\\x00\\x00\\x00\\x00'"):
        Stream.parse(bytes(64))
