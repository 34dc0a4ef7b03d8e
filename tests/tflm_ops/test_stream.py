"""Opening and validating streams: each status, and agreement with nested_keras.format."""

import dataclasses
import struct

import numpy as np
import pytest

from nested_keras.format import FormatError, LayerKind, LayerParams, Stream, Tables, encode
from tests.nested_keras.format.streams import (
    block_ends,
    coded,
    encode_packed,
    patch,
    random_layer,
    reseal,
)
from tests.tflm_ops.cases import CASES, stream_and_input
from tests.tflm_ops.library import StatusError

CONV = LayerParams(LayerKind.CONV, 3, 3, 4, 5, block_size=2)
# Level 0 of a sparse row of two channels: header 64, folded bias 96, multiplier 104, shift 112,
# counts (bytes) 116, five records of two bytes 120, zeros 130.
ROW = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 300, 2)
BLOCK, BIAS, MULTIPLIER, SHIFT, COUNTS, RECORDS, RECORDS_END = 64, 96, 104, 112, 116, 120, 130


def conv_stream(levels=3):
    return encode(random_layer(CONV, levels=levels))


def row_stream(*, input_offset=0):
    """Two levels; in level 0 channel 0 has weights at 1, 5, 280 and channel 1 at 2, all 7."""
    params = dataclasses.replace(ROW, input_offset=input_offset)
    layer = random_layer(params, levels=2, profile="zero")
    for channel, position, level in ((0, 1, 0), (0, 5, 0), (0, 280, 0), (1, 2, 0), (1, 9, 1)):
        layer.weights[channel, 0, 0, position] = 7
        layer.level_map[channel, 0, 0, position] = level
    layer.multiplier[:] = 1 << 30
    layer.shift[:] = 0
    return encode(layer)


def open_status(nk, data):
    try:
        nk.open(data)
    except StatusError as error:
        return error.args[0]
    return "NK_OK"


def status(nk, data):
    try:
        nk.validate(data)
    except StatusError as error:
        return error.args[0]
    return "NK_OK"


@pytest.mark.parametrize("pack", [encode, encode_packed])
def test_valid_streams_are_accepted(nk, pack):
    for name, case in CASES.items():
        data, _, _ = stream_and_input(case, levels=3, profile="mixed", seed=0, pack=pack)
        assert status(nk, data) == "NK_OK", name


def test_sixteen_levels(nk):
    assert status(nk, conv_stream(levels=16)) == "NK_OK"


def test_every_cut(nk):
    data = conv_stream()
    ends = block_ends(data)
    for size in range(len(data)):
        expected = "NK_OK" if size in ends else "NK_ERROR_TRUNCATED"
        assert status(nk, data[:size]) == expected, size


def test_null_and_misaligned_data(nk):
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.open(conv_stream(), null=True)
    for offset in (1, 2, 3):
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.open(conv_stream(), offset=offset)
    assert nk.open(conv_stream(), offset=4) is not None
    assert nk.c.nk_stream_validate(None) == 1
    assert nk.c.nk_stream_open(None, 0, None) == 1


def test_foreign_data(nk):
    assert open_status(nk, b"TFL3" + bytes(124)) == "NK_ERROR_FOREIGN"
    assert open_status(nk, b"NSC") == "NK_ERROR_TRUNCATED"


@pytest.mark.parametrize("version", [0, 2, 256, 65535])
def test_other_versions(nk, version):
    assert open_status(nk, patch(conv_stream(), 4, "<H", version)) == "NK_ERROR_VERSION"


def test_every_flipped_bit_is_found(nk):
    data = conv_stream(levels=2)
    rng = np.random.default_rng(0)
    for _ in range(500):
        spoilt = bytearray(data)
        spoilt[rng.integers(len(data))] ^= 1 << rng.integers(8)
        assert status(nk, bytes(spoilt)) != "NK_OK"


HEADER_FIELDS = [
    ("kind", 6, "B", [3, 255]),
    ("levels", 7, "B", [0, 1, 2, 17]),  # there are three blocks
    ("block_size", 8, "B", [0, 3, 8]),
    ("stride_h", 9, "B", [0]),
    ("stride_w", 10, "B", [0]),
    ("dilation_h", 11, "B", [0]),
    ("dilation_w", 12, "B", [0]),
    ("reserved", 15, "B", [1]),
    ("kernel_h", 16, "<H", [0, 65535]),
    ("kernel_w", 18, "<H", [0, 65535]),
    ("out_channels", 20, "<H", [0, 4, 6, 65535]),
    ("in_channels", 22, "<H", [0, 3, 65535]),
    ("depth_multiplier", 24, "<H", [0, 2]),
    ("reserved", 26, "<H", [1]),
    ("input_offset", 28, "<i", [-128, 129, 2**31 - 1]),
    ("output_offset", 32, "<i", [-129, 128, -(2**31)]),
    ("activation_min", 36, "<i", [-129, 128]),
    ("activation_max", 40, "<i", [-129, 128]),
    ("reserved", 59, "B", [1]),
]


@pytest.mark.parametrize(("field", "offset", "layout", "values"), HEADER_FIELDS)
def test_header_fields_out_of_range(nk, field, offset, layout, values):
    for value in values:
        spoilt = patch(conv_stream(), offset, layout, value)
        assert status(nk, spoilt) == "NK_ERROR_MALFORMED", (field, value)


def test_fully_connected_layers_have_no_window(nk):
    for offset in (9, 10, 11, 12):
        assert status(nk, patch(row_stream(), offset, "B", 2)) == "NK_ERROR_MALFORMED"
    for offset in (13, 14):
        assert status(nk, patch(row_stream(), offset, "B", 1)) == "NK_ERROR_MALFORMED"


BLOCK_FIELDS = [
    ("block_bytes", 0, "<I", [0, 16, 2**32 - 16]),
    ("entries", 4, "<I", [0, 4, 6, 2**32 - 1]),  # one more than nnz: a filler bridges 5 .. 280
    ("level", 8, "B", [1, 255]),
    ("encoding", 9, "B", [0, 1, 3, 4, 255]),
    ("count_bits", 10, "B", [0, 1, 7, 9, 16, 17, 32, 255]),
    ("tables", 11, "B", [1, 2, 3, 4]),
    ("nnz", 12, "<I", [0, 3, 5, 2**32 - 1]),
    *(("unused", offset, "B", [1]) for offset in range(16, 28)),
]


@pytest.mark.parametrize(("field", "offset", "layout", "values"), BLOCK_FIELDS)
def test_block_fields_out_of_range(nk, field, offset, layout, values):
    for value in values:
        spoilt = patch(row_stream(), BLOCK + offset, layout, value)
        assert status(nk, spoilt) == "NK_ERROR_MALFORMED", (field, value)


TABLE_FIELDS = [
    ("multiplier below 2**30", MULTIPLIER, "<i", [1, -1, (1 << 30) - 1, -(2**31)]),
    ("shift", SHIFT, "b", [31, -32]),
    ("padding after shift", SHIFT + 2, "B", [1]),
    ("counts", COUNTS, "B", [3, 5, 255]),
    ("padding after counts", COUNTS + 2, "B", [1]),
    ("delta of zero", RECORDS + 2, "B", [0]),
    ("delta past the channel", RECORDS + 2, "B", [255]),
    ("zeros to read ahead", RECORDS_END, "B", [1]),
    ("padding", RECORDS_END + 4, "B", [1]),
]


@pytest.mark.parametrize(("what", "offset", "layout", "values"), TABLE_FIELDS)
def test_tables_out_of_range(nk, what, offset, layout, values):
    for value in values:
        spoilt = patch(row_stream(), offset, layout, value)
        assert status(nk, spoilt) == "NK_ERROR_MALFORMED", (what, value)


@pytest.mark.parametrize("bits", range(3, 17))
def test_counts_of_any_width_that_holds_them(nk, bits):
    # Channel 0 has four entries in level 0, a filler among them, and channel 1 one.
    packed = 4 | 1 << bits
    wide = patch(patch(row_stream(), COUNTS, "<I", packed), BLOCK + 10, "B", bits)
    assert status(nk, wide) == "NK_OK"
    spoilt = patch(wide, COUNTS, "<I", packed | (1 << 2 * bits & 0xFFFFFFFF))
    assert status(nk, spoilt) == ("NK_OK" if bits == 16 else "NK_ERROR_MALFORMED")


def test_zero_and_extreme_multipliers_are_accepted(nk):
    for value in (0, 1 << 30, -(1 << 30), 2**31 - 1, 1 - 2**31):
        assert status(nk, patch(row_stream(), MULTIPLIER, "<i", value)) == "NK_OK"


@pytest.mark.parametrize("input_offset", [-127, -1, 1, 128])
@pytest.mark.parametrize(("level", "channel", "total"), [(0, 0, 21), (0, 1, 7), (1, 1, 14)])
def test_bias_fits_into_32_bits_unfolded(nk, input_offset, level, channel, total):
    data = row_stream(input_offset=input_offset)
    block = [BLOCK, *block_ends(data)][level]
    folding = input_offset * total
    edge = -(2**31) + folding if folding > 0 else 2**31 - 1 + folding
    outwards = -1 if folding > 0 else 1
    for value, fits in ((edge - outwards, True), (edge, True), (edge + outwards, False)):
        stream = patch(data, block + (BIAS - BLOCK) + 4 * channel, "<i", value)
        assert status(nk, stream) == ("NK_OK" if fits else "NK_ERROR_MALFORMED"), value
        if fits:
            Stream.parse(stream)
        else:
            with pytest.raises(FormatError, match=f"level {level}: bias of channel {channel}"):
                Stream.parse(stream)


@pytest.mark.parametrize(("step", "fits"), [(-1, True), (-2, False), (1, False)])
def test_a_packed_bias_fits_into_32_bits(nk, step, fits):
    params = dataclasses.replace(CONV, out_channels=2)
    layer = random_layer(params, levels=1, profile="zero")
    layer.bias[:] = [[step * (1 << 20), -(1 << 20)]]
    layer.multiplier[:], layer.shift[:] = 1 << 30, -31
    data = encode(layer, choose=coded)
    (level,) = Stream.parse(data).levels
    assert (level.tables, level.table_bits.bias_fraction) == (Tables.PACKED, 11)
    # The unit of the bias becomes 2^31 where it was 2^20.
    stream = patch(data, BLOCK + 19, "B", 0)
    assert status(nk, stream) == ("NK_OK" if fits else "NK_ERROR_MALFORMED")
    if fits:
        assert Stream.parse(stream).weights.bias.tolist() == [[step << 31, -1 << 31]]
    else:
        with pytest.raises(FormatError, match="level 0: bias must fit into 32 bits"):
            Stream.parse(stream)


def test_a_block_too_short_to_read_ahead(nk):
    layer = random_layer(ROW, levels=1, profile="zero")
    layer.weights[0, 0, 0, :3] = 7
    layer.level_map[0, 0, 0, :3] = 0
    data = encode(layer)
    # The three records end at byte 62 of the block: two zeros up to 64 are too few.
    assert len(data) == BLOCK + 80
    cut = reseal(data[:BLOCK] + struct.pack("<I", 64) + data[BLOCK + 4 : BLOCK + 64])
    assert status(nk, cut) == "NK_ERROR_MALFORMED"
    with pytest.raises(FormatError, match="block_bytes must be 80: got 64"):
        Stream.parse(cut)


def test_wrong_checksums(nk):
    data = row_stream()
    for offset in (60, BLOCK + 28):
        spoilt = bytearray(data)
        struct.pack_into("<I", spoilt, offset, struct.unpack_from("<I", data, offset)[0] ^ 1)
        assert open_status(nk, bytes(spoilt)) == "NK_OK"
        assert status(nk, bytes(spoilt)) == "NK_ERROR_CHECKSUM"


def test_weight_in_two_levels(nk):
    data = row_stream()
    second = block_ends(data)[0]
    # Level 1 has one weight, at position 9 of channel 1; level 0 has that channel's at 2.
    moved = patch(data, second + RECORDS - BLOCK, "B", 2)
    assert status(nk, moved) == "NK_ERROR_MALFORMED"
    assert status(nk, patch(data, second + RECORDS - BLOCK, "B", 3)) == "NK_OK"


@pytest.mark.parametrize("pack", [encode, encode_packed])
@pytest.mark.parametrize(
    "name", ["3x3", "block 4 1x1", "depthwise", "row", "row long gaps block 4"]
)
def test_agrees_with_the_python_reader(nk, name, pack):
    accepted = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        profile = ("mixed", "sparse", "zero")[seed % 3]
        data, _, _ = stream_and_input(CASES[name], levels=3, profile=profile, seed=0, pack=pack)
        spoilt = bytearray(data)
        for _ in range(rng.integers(1, 3)):
            # Every second hit goes to a header: that is where the structure is.
            start = rng.choice([0, *block_ends(data)[:-1]])
            at = rng.integers(len(data)) if rng.integers(2) else start + rng.integers(64)
            spoilt[min(at, len(data) - 1)] = rng.choice([0, 1, 2, 255, rng.integers(256)])
        spoilt = reseal(bytes(spoilt))
        try:
            Stream.parse(spoilt)
            expected = True
        except FormatError:
            expected = False
        accepted += expected
        assert (status(nk, spoilt) == "NK_OK") == expected, f"{seed=}"
    assert 10 < accepted < 290
