"""CODED blocks: gaps and values in bits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.format import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    Stream,
    coding,
    encode,
    in_place,
    most_compact,
)
from tests.nested_keras.format import plain_reader
from tests.nested_keras.format.streams import coded, layers, patch, random_layer
from tests.nested_keras.format.test_encoder import assert_same, normalised, one_level_row

BLOCK = 64


@given(layers(max_levels=4))
def test_round_trip(nested):
    stream = encode(nested, choose=coded)
    parsed = Stream.parse(stream)
    assert_same(parsed.weights, nested)
    assert encode(parsed.weights, choose=coded) == stream
    used = {row.encoding for row in parsed.levels}
    assert used <= {Encoding.CODED, Encoding.EMPTY}


@settings(max_examples=40)
@given(layers(max_levels=4))
def test_a_reader_written_from_the_document_reads_the_same(nested):
    read = plain_reader.read(encode(nested, choose=coded))
    weights, level_map = (
        array.reshape(nested.params.out_channels, -1) for array in normalised(nested)
    )
    assert read.weights == [
        [(value, level) if value else None for value, level in zip(*row, strict=True)]
        for row in zip(weights.tolist(), level_map.tolist(), strict=True)
    ]
    assert read.bias == nested.bias.tolist()


@given(layers(max_levels=4))
def test_the_most_compact_option_is_never_larger(nested):
    seen = []

    def choose(options):
        seen.append((min(o.bytes for o in options), min(o.bytes for o in in_place(options))))
        return most_compact(options)

    stream = Stream.pack(nested, choose=choose)
    assert len(stream.data) <= len(encode(nested))
    chosen = [row.bytes for row in stream.levels if row.encoding is not Encoding.EMPTY]
    assert chosen == [least for least, _ in seen]
    assert all(least <= fast for least, fast in seen)


def code_of(stream):
    (row,) = Stream.parse(stream).levels
    assert row.encoding is Encoding.CODED
    return row


def test_one_value_takes_its_sign_alone():
    stream = encode(one_level_row([(i, -5) for i in range(64)]), choose=coded)
    row = code_of(stream)
    assert (row.code.first_magnitude, row.code.last_magnitude) == (5, 5)
    # A gap of zero with k = 0 and a sign: 128 bits.
    assert (row.code.rice_bits, row.code.words) == (0, 4)
    assert Stream.parse(stream).weights.weights.sum() == -5 * 64


@pytest.mark.parametrize("value", [-128, 127, 1])
def test_extreme_values(value):
    nested = one_level_row([(0, value), (1, value), (2, -value if value > -128 else 127)])
    assert_same(Stream.parse(encode(nested, choose=coded)).weights, nested)


def test_every_value_has_a_code():
    values = [v for v in range(-128, 128) if v]
    nested = one_level_row([(3 * i, v) for i, v in enumerate(values)])
    stream = encode(nested, choose=coded)
    assert (code_of(stream).code.first_magnitude, code_of(stream).code.last_magnitude) == (1, 128)
    assert_same(Stream.parse(stream).weights, nested)


@pytest.mark.parametrize("gap", [0, 1, 15, 16, 31, 127, 239, 240, 254, 255, 256, 511, 4000])
@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_gaps_are_bridged(gap, block_size):
    for later in (0, 1, 2, 30):  # the many short gaps make k small
        last = 1024 // block_size * block_size
        positions = [p for p in (gap + step for step in range(later + 1)) if p * block_size < 4096]
        nested = one_level_row(
            [(p * block_size, 9) for p in positions] + [(last - 1, 3)], block_size=block_size
        )
        stream = Stream.parse(encode(nested, choose=coded))
        assert_same(stream.weights, nested)


def test_the_longest_codes():
    # Fibonacci-like counts ask for codes that are longer than eight bits.
    counts = [1, 1]
    while len(counts) < 14:
        counts.append(counts[-1] + counts[-2])
    values = np.repeat(np.arange(1, 15), counts).astype(np.int8)
    lengths = coding.code_lengths(values)
    assert lengths.max() == 9
    assert coding.is_complete(lengths)
    assert (np.diff(lengths[1:15].astype(int)) <= 0).all()


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=300))
def test_lengths_are_complete_and_near_the_entropy(values):
    lengths = coding.code_lengths(np.array(values, np.int8))
    assert coding.is_complete(lengths)
    counts = np.bincount(np.abs(values), minlength=129)
    assert ((lengths > 0) == (counts > 0)).all()
    share = counts[counts > 0] / len(values)
    entropy = -(share * np.log2(share)).sum()
    mean = (counts * lengths).sum() / len(values) - 1  # without the sign
    assert entropy - 1e-9 <= mean <= entropy + 1.1


def test_canonical_codes_are_consecutive():
    lengths = np.zeros(129, np.uint8)
    lengths[[0, 3, 128]] = (3, 2, 3)
    values, codes = coding.canonical_codes(lengths)
    assert values.tolist() == [3, -3, 0, 0, 128, -128]
    assert codes.tolist() == [0, 1, 4, 5, 6, 7]


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_the_largest_channel(block_size):
    inputs = 65535 // block_size * block_size
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, inputs, 1, block_size=block_size)
    for profile in ("sparse", "full"):
        nested = random_layer(params, levels=2, profile=profile)
        assert_same(Stream.parse(encode(nested, choose=coded)).weights, nested)


def row_stream():
    """One channel, k = 0 or more, magnitudes 5 and 6; the codes are one word."""
    values = [(0, 5), (1, -5), (2, 6), (9, 5)]
    stream = encode(one_level_row(values), choose=coded)
    row = code_of(stream)
    assert row.code.words == 1
    assert (row.code.first_magnitude, row.code.last_magnitude) == (5, 6)
    return stream


# One output: tables end at 108, one count from 108, lengths at 112, codes at 116.
LENGTHS, CODES = 112, 116


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (BLOCK + 21, "B", 8, r"rice_bits must be in 0\.\.7: got 8"),
        (BLOCK + 22, "B", 7, r"first_magnitude must be in 0\.\.6: got 7"),
        (BLOCK + 23, "B", 129, r"last_magnitude must be in 0\.\.128: got 129"),
        (BLOCK + 24, "<I", 1 << 27, r"code_words must be in 0\.\.134217727: got 134217728"),
        (BLOCK + 24, "<I", 3, "block_bytes must be 80: got 64"),
        (BLOCK + 10, "B", 0, r"count_bits must be in 1\.\.16: got 0"),
        (LENGTHS, "B", 0x12, r"code lengths must make a complete code: got \[2, 1\]"),
        (LENGTHS, "B", 0x00, r"code lengths must make a complete code: got \[\]"),
        (LENGTHS, "B", 0x0F, r"code lengths must make a complete code: got \[15\]"),
        (CODES, "<I", 0, "the gap of entry 0 must have at most 15 zeros in front: got more"),
        (CODES, "<I", 0xFFFFFFFF, "bits after the last code must be zero"),
    ],
)
def test_each_broken_rule_has_its_error(offset, layout, value, message):
    with pytest.raises(FormatError, match=f"level 0: {message}"):
        Stream.parse(patch(row_stream(), offset, layout, value))


def test_codes_of_too_many_words_are_refused():
    stream = row_stream()
    # The block has room for one more word in its padding, but not for the zeros behind it.
    longer = bytearray(stream + bytes(16))
    longer[BLOCK : BLOCK + 4] = (int.from_bytes(stream[BLOCK : BLOCK + 4], "little") + 16).to_bytes(
        4, "little"
    )
    with pytest.raises(FormatError, match="level 0: code_words must be 1: got 4"):
        Stream.parse(patch(bytes(longer), BLOCK + 24, "<I", 4))


def test_entries_that_do_not_fit_are_refused():
    values = [(i, 5) for i in range(64)]
    stream = bytearray(encode(one_level_row(values), choose=coded))
    entries = int.from_bytes(stream[BLOCK + 4 : BLOCK + 8], "little")
    counts = 108
    stream[counts] += 40
    with pytest.raises(FormatError, match="level 0: 104 entries must fit into 128 bits: got more"):
        Stream.parse(patch(bytes(stream), BLOCK + 4, "<I", entries + 40))


def test_decode_in_many_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    gaps = rng.integers(0, 100, 5000)
    values = rng.integers(-128, 128, (5000, 2)).astype(np.int8)
    lengths = coding.code_lengths(values)
    words = np.frombuffer(coding.encode(gaps, values, rice_bits=4, lengths=lengths), "<u4")
    results = []
    for chunk in (1 << 16, 8, 20):
        monkeypatch.setattr(coding, "_CHUNK_BYTES", chunk)
        results.append(coding.decode(words, 5000, block_size=2, rice_bits=4, lengths=lengths))
    for result in results:
        np.testing.assert_array_equal(result[0], gaps)
        np.testing.assert_array_equal(result[1], values)
        assert -(-result[2] // 32) == words.size


def test_lengths_pack_in_halves():
    for first, last in itertools.product((0, 3, 128), (128,)):
        lengths = np.zeros(129, np.uint8)
        lengths[first : last + 1] = np.arange(last - first + 1) % 10
        packed = coding.pack_lengths(lengths, first, last)
        unpacked, spare = coding.unpack_lengths(packed, first, last)
        np.testing.assert_array_equal(unpacked, lengths)
        assert spare == 0
