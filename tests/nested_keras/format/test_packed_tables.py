"""Tables: packed in bits, or the same as those of the level before."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from nested_keras.format import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    Stream,
    Tables,
    encode,
    most_compact,
    round_tables,
    smallest,
)
from nested_keras.format.packed_tables import fit_tables, pack_tables, unpack_tables
from tests.nested_keras.format import plain_reader
from tests.nested_keras.format.streams import coded, packed_layers, patch, random_layer
from tests.nested_keras.format.test_encoder import assert_same

CONV = LayerParams(LayerKind.CONV, 1, 1, 4, 3, input_offset=128)
BLOCK = 64


def layer(params=CONV, *, levels=1, **tables):
    """A layer without weights, with the same tables at each level."""
    nested = random_layer(params, levels=levels, profile="zero")
    for name, values in tables.items():
        getattr(nested, name)[:] = values
    return nested


PLAIN = {"bias": [3, -70, 0], "multiplier": [5 << 28, 13 << 27, 1 << 30], "shift": [-7, -6, -9]}


@given(packed_layers())
def test_round_trip_keeps_every_number(nested):
    for choose in (most_compact, coded):
        stream = encode(nested, choose=choose)
        assert_same(Stream.parse(stream).weights, nested)
        assert encode(Stream.parse(stream).weights, choose=choose) == stream


@settings(max_examples=40)
@given(packed_layers())
def test_a_reader_written_from_the_document_reads_the_same(nested):
    read = plain_reader.read(encode(nested, choose=coded))
    assert read.bias == nested.bias.tolist()
    for level, (_, multiplier, shift) in enumerate(read.tables):
        assert multiplier == nested.multiplier[level].tolist()
        assert shift == nested.shift[level].tolist()


def test_fields_take_the_bits_that_they_need():
    tables = [np.array(PLAIN[name], dtype) for name, dtype in
              (("bias", np.int32), ("multiplier", np.int32), ("shift", np.int8))]  # fmt: skip
    bits = fit_tables(*tables)
    # 13 << 27 is 1.625 * 2^30: three bits. 3 is odd, so f is the 7 bits of its shift.
    assert dataclasses.astuple(bits) == (0, 3, 2, 8, 7, -9)
    assert bits.form is Tables.PACKED
    packed = pack_tables(bits, *tables)
    assert packed.size == bits.bytes(3) == 5
    for got, want in zip(unpack_tables(packed, bits, 3)[:3], tables, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_negative_multiplier_takes_a_sign():
    nested = layer(**(PLAIN | {"multiplier": [5 << 28, -(13 << 27), 1 << 30]}))
    (row,) = Stream.pack(nested, choose=most_compact).levels
    assert (row.tables, row.table_bits.sign_bits) == (Tables.SIGNED, 1)


def test_channels_without_any_field():
    nested = layer(bias=0, multiplier=1 << 30, shift=-5)
    stream = Stream.pack(nested, choose=most_compact)
    assert (stream.levels[0].table_bits.channel_bits, stream.levels[0].bytes) == (0, 48)
    assert_same(Stream.parse(stream.data).weights, nested)


@pytest.mark.parametrize(
    "changes",
    [
        {"multiplier": [0, 1 << 30, 1 << 30]},  # has no packed form
        {"multiplier": [(1 << 31) - 1, 1 << 30, 1 << 30]},  # 30 bits, and 8 of the bias
    ],
)
def test_tables_that_do_not_pack_stay_exact(changes):
    (row,) = Stream.pack(layer(**(PLAIN | changes)), choose=most_compact).levels
    assert row.tables is Tables.EXACT


def test_a_fully_connected_layer_keeps_exact_tables():
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 4, 3)
    (row,) = Stream.pack(layer(params, **PLAIN), choose=most_compact).levels
    assert row.tables is Tables.EXACT


@pytest.mark.parametrize("choose", [smallest, most_compact])
def test_a_level_that_changes_nothing_costs_its_header(choose):
    stream = Stream.pack(layer(levels=4, **PLAIN), choose=choose)
    assert [row.tables for row in stream.levels[1:]] == [Tables.SAME] * 3
    assert [row.bytes for row in stream.levels[1:]] == [32] * 3
    assert_same(Stream.parse(stream.data).weights, layer(levels=4, **PLAIN))


def test_same_tables_are_the_same_stored_numbers():
    nested = layer(levels=2, **PLAIN)
    nested.weights[0, 0, 0, 0] = 7
    nested.level_map[0, 0, 0, 0] = 1
    # Level 1 adds a weight: its folded bias differs, and its bias does not.
    assert Stream.pack(nested).levels[1].tables is Tables.EXACT
    stream = Stream.pack(nested, choose=coded)
    assert stream.levels[1].tables is Tables.SAME
    assert_same(Stream.parse(stream.data).weights, nested)
    folded = dataclasses.replace(nested, bias=nested.bias.copy())
    folded.bias[1, 0] -= 128 * 7
    assert Stream.pack(folded).levels[1].tables is Tables.SAME
    assert_same(Stream.parse(encode(folded)).weights, folded)


def test_rounding_moves_the_tables_by_the_bits_that_it_drops():
    nested = random_layer(dataclasses.replace(CONV, out_channels=500), levels=2, seed=3)
    nested.multiplier[0, :2] = (0, (1 << 31) - 1)
    rounded = round_tables(nested, multiplier_bits=9, bias_fraction=3)
    kept = nested.multiplier != 0
    error = np.abs(rounded.multiplier[kept].astype(float) / nested.multiplier[kept] - 1)
    assert error.max() <= 2.0**-10
    assert (rounded.multiplier[kept] % (1 << 21) == 0).all()
    np.testing.assert_array_equal(rounded.shift[kept], nested.shift[kept])
    step = 2.0 ** -nested.shift.astype(float)
    moved = np.abs(rounded.bias[kept].astype(float) - nested.bias[kept])
    assert (moved <= np.maximum(step[kept] / 16, 0)).all()
    assert set(rounded.shift[~kept]) == {-31}
    assert round_tables(rounded, multiplier_bits=9, bias_fraction=3).bias.tolist() == (
        rounded.bias.tolist()
    )


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (16, 31, r"multiplier_bits must be in 0\.\.30: got 31"),
        (17, 7, r"shift_bits must be in 0\.\.6: got 7"),
        (18, 33, r"bias_bits must be in 0\.\.32: got 33"),
        (19, 32, r"bias_fraction must be in 0\.\.31: got 32"),
        (20, 31, r"shift_base must be in -31\.\.30: got 31"),
        (18, 29, r"channel_bits must be in 0\.\.32: got 34"),
        (20, 30, "shift must be at most 30: got 33"),
        (21, 1, "last_gap must be zero: got 01"),
    ],
)
def test_each_broken_rule_has_its_error(offset, value, message):
    stream = encode(layer(**PLAIN), choose=most_compact)
    (row,) = Stream.parse(stream).levels
    assert (row.encoding, row.tables) == (Encoding.EMPTY, Tables.PACKED)
    with pytest.raises(FormatError, match=f"level 0: {message}"):
        Stream.parse(patch(stream, BLOCK + offset, "b" if offset == 20 else "B", value))


def test_bits_behind_the_tables_are_zero():
    stream = encode(layer(**PLAIN), choose=most_compact)  # 39 bits
    with pytest.raises(FormatError, match="level 0: bits after the last table must be 0: got 1"):
        Stream.parse(patch(stream, BLOCK + 32 + 4, "B", stream[BLOCK + 32 + 4] | 0x80))


def test_a_bias_beyond_32_bits():
    bias = [1 << 20, 0, 0]
    stream = encode(layer(**(PLAIN | {"bias": bias, "shift": [-31, 0, 0]})), choose=most_compact)
    (row,) = Stream.parse(stream).levels
    assert row.table_bits.bias_fraction == 11
    with pytest.raises(FormatError, match="level 0: bias must fit into 32 bits: got 2147483648"):
        Stream.parse(patch(stream, BLOCK + 19, "B", 0))


def test_a_folded_bias_beyond_32_bits():
    nested = layer(bias=(1 << 31) - (1 << 7), multiplier=1 << 30, shift=-7)
    nested.weights[:] = -1
    nested.level_map[:] = 0

    def choose(options):
        return next(o for o in options if (o.encoding, o.tables) == (Encoding.DENSE, Tables.PACKED))

    stream = encode(nested, choose=choose)
    assert_same(Stream.parse(stream).weights, nested)
    values = stream.rindex(b"\xff" * 12)
    with pytest.raises(FormatError, match="level 0: folded bias of channel 1 must be in"):
        Stream.parse(patch(stream, values + 4, "4b", 1, 1, 1, 1))
