"""CODED blocks: gaps and values in bits."""

import dataclasses

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
    # Without CODED only where a level has every magnitude.
    used = {row.encoding for row in parsed.levels if row.nnz < 128}
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
    code = code_of(stream).code
    # One bit for each gap of zero, whose code must have a neighbour, and one for each sign.
    assert dataclasses.astuple(code) == (1, 5, 5, 4)
    assert Stream.parse(stream).weights.weights.sum() == -5 * 64


@pytest.mark.parametrize("value", [-128, 127, 1])
def test_extreme_values(value):
    nested = one_level_row([(0, value), (1, value), (2, -value if value > -128 else 127)])
    assert_same(Stream.parse(encode(nested, choose=coded)).weights, nested)


def test_every_value_but_zero_has_a_code():
    values = [v for v in range(-128, 128) if v]
    nested = one_level_row([(3 * i, v) for i, v in enumerate(values)])
    code = code_of(encode(nested, choose=coded)).code
    assert (code.first_magnitude, code.last_magnitude) == (1, 128)
    assert_same(Stream.parse(encode(nested, choose=coded)).weights, nested)


def test_all_magnitudes_and_zero_are_more_than_there_are_codes():
    values = [v for v in range(-128, 128) if v]
    nested = one_level_row([(2 * i, v) for i, v in enumerate(values)], block_size=2)
    seen = []

    def choose(options):
        seen.extend(option.encoding for option in options)
        return options[0]

    encode(nested, choose=choose)
    assert seen == [Encoding.DELTA8, Encoding.DELTA16, Encoding.DENSE]


@pytest.mark.parametrize("gap", [0, 1, 7, 8, 15, 16, 127, 253, 254, 255, 256, 511, 4000])
@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_gaps_are_bridged(gap, block_size):
    for later in (0, 1, 2, 30):  # the many short gaps make fillers pay
        last = 1024 // block_size * block_size
        positions = [p for p in (gap + step for step in range(later + 1)) if p * block_size < 4096]
        nested = one_level_row(
            [(p * block_size, 9) for p in positions] + [(last - 1, 3)], block_size=block_size
        )
        stream = Stream.parse(encode(nested, choose=coded))
        assert_same(stream.weights, nested)


def test_the_longest_codes():
    # Counts like Fibonacci's numbers ask for codes that are longer than eight bits.
    counts = [1, 1]
    while len(counts) < 14:
        counts.append(counts[-1] + counts[-2])
    symbols = np.repeat(np.arange(14), counts)
    for lengths in (
        coding.gap_lengths(symbols),
        coding.value_lengths((symbols + 1).astype(np.int8)),
    ):
        assert lengths.max() == 8
        assert (np.diff(lengths[lengths > 0].astype(int)) <= 0).all()
    assert coding.PrefixCode.of_gaps(coding.gap_lengths(symbols)).is_complete


@given(st.lists(st.integers(0, 254), min_size=1, max_size=300))
def test_lengths_of_gaps_are_complete_and_near_the_entropy(symbols):
    lengths = coding.gap_lengths(np.array(symbols))
    assert coding.PrefixCode.of_gaps(lengths).is_complete
    counts = np.bincount(symbols, minlength=lengths.size)
    assert (lengths[counts > 0] > 0).all()
    share = counts[counts > 0] / len(symbols)
    entropy = -(share * np.log2(share)).sum()
    mean = (counts * lengths[: counts.size]).sum() / len(symbols)
    assert entropy - 1e-9 <= mean <= entropy + 1.2


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=300))
def test_codes_of_values_decode(values):
    lengths = coding.value_lengths(np.array(values, np.int8))
    code = coding.PrefixCode.of_values(lengths)
    assert code.is_complete
    symbols = np.where(np.array(values) == -128, 128, values)
    words = np.frombuffer(code.encode(symbols), "<u4")
    decoded, end = code.decode(words, len(values))
    assert decoded.astype(np.int8).tolist() == values
    assert -(-end // 32) == words.size == coding.coded_words(np.abs(symbols), lengths)


def test_canonical_codes_are_consecutive():
    lengths = np.zeros(129, np.uint8)
    lengths[[0, 3, 128]] = (3, 2, 3)
    code = coding.PrefixCode.of_values(lengths)
    assert code.symbols.tolist() == [3, -3, 0, 0, 128, -128]
    # 00, 01, 100, 110, 111 and 100 for the zero.
    (word,) = np.frombuffer(code.encode(np.array([3, -3, 0, 128, -128])), "<u4")
    assert f"{word:032b}".startswith("0001100110111")


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_the_largest_channel(block_size):
    inputs = 65535 // block_size * block_size
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, inputs, 1, block_size=block_size)
    for profile in ("sparse", "full"):
        nested = random_layer(params, levels=2, profile=profile)
        assert_same(Stream.parse(encode(nested, choose=coded)).weights, nested)


def row_stream():
    """One channel: gaps 0 and 6, magnitudes 5 and 6; a word of gaps and a word of values."""
    stream = encode(one_level_row([(0, 5), (1, -5), (2, 6), (9, 5)]), choose=coded)
    assert dataclasses.astuple(code_of(stream).code) == (6, 5, 6, 2)
    return stream


# One output: tables end at byte 108, counts at 112; gap_words, 9 lengths from 116, codes.
GAP_WORDS, LENGTHS, CODES = 112, 116, 124


def test_the_row_lies_where_the_tests_patch_it():
    stream = row_stream()
    assert (
        stream[GAP_WORDS : CODES + 8].hex(" ", 4) == "01000000 01000021 02000000 00000010 00000018"
    )


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (BLOCK + 21, "B", 255, r"last_gap must be in 0\.\.254: got 255"),
        (BLOCK + 22, "B", 7, r"first_magnitude must be in 0\.\.6: got 7"),
        (BLOCK + 23, "B", 129, r"last_magnitude must be in 0\.\.128: got 129"),
        (BLOCK + 24, "<I", 1 << 27, r"code_words must be in 0\.\.134217727: got 134217728"),
        (BLOCK + 24, "<I", 7, "block_bytes must be 96: got 80"),
        (BLOCK + 10, "B", 0, r"count_bits must be in 1\.\.16: got 0"),
        (GAP_WORDS, "<I", 3, r"gap_words must be in 0\.\.2: got 3"),
        (GAP_WORDS, "<I", 2, "gaps: words of codes must be 1: got 2"),
        (GAP_WORDS, "<I", 0, "gaps: 4 symbols must fit into 0 bits: got more"),
        (LENGTHS, "B", 2, r"gaps must have a complete code: got lengths \[1, 2\]"),
        (LENGTHS, "B", 0, r"gaps must have a complete code: got lengths \[1\]"),
        (LENGTHS + 4, "B", 0x01, r"values must have a complete code: got lengths \[1, 1, 2, 2\]"),
        (LENGTHS + 4, "B", 0x0F, r"values must have a complete code: got lengths \[2, 2, 15, 15\]"),
        (LENGTHS + 3, "B", 0x29, r"gaps must have a complete code: got lengths \[1, 9\]"),
        (CODES, "<I", 0x10000001, "gaps: bits after the last code must be zero"),
        (CODES + 4, "<I", 0x18000001, "values: bits after the last code must be zero"),
        (CODES + 12, "B", 1, "padding at byte 132 must be zero: got 0000000001.*"),
    ],
)
def test_each_broken_rule_has_its_error(offset, layout, value, message):
    with pytest.raises(FormatError, match=f"level 0: {message}"):
        Stream.parse(patch(row_stream(), offset, layout, value))


def test_entries_that_do_not_fit_are_refused():
    values = [(i, 5) for i in range(64)]
    stream = bytearray(encode(one_level_row(values), choose=coded))
    entries = int.from_bytes(stream[BLOCK + 4 : BLOCK + 8], "little")
    stream[108] += 40  # the count
    with pytest.raises(FormatError, match="level 0: gaps: 104 symbols must fit into 64 bits"):
        Stream.parse(patch(bytes(stream), BLOCK + 4, "<I", entries + 40))


def test_decode_in_many_chunks(monkeypatch):
    values = np.random.default_rng(0).integers(-127, 128, 5000)
    lengths = coding.value_lengths(values.astype(np.int8))
    code = coding.PrefixCode.of_values(lengths)
    words = np.frombuffer(code.encode(values), "<u4")
    for chunk in (1 << 16, 8, 20):
        monkeypatch.setattr(coding, "_CHUNK_BYTES", chunk)
        decoded, end = code.decode(words, 5000)
        np.testing.assert_array_equal(decoded, values)
        assert -(-end // 32) == words.size


@pytest.mark.parametrize("count", [1, 2, 9])
def test_lengths_pack_in_halves(count):
    lengths = (np.arange(count) % 9).astype(np.uint8)
    unpacked, spare = coding.unpack_lengths(coding.pack_lengths(lengths), count)
    np.testing.assert_array_equal(unpacked, lengths)
    assert spare == 0
