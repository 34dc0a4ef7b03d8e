"""A second reader, written from docs/nested_format.md alone: one field and one weight at a time."""

import struct
from types import SimpleNamespace


def read(stream):
    """Reads a valid stream into plain lists.

    Header fields as tuples, weights[O][K] of (value, level) or None, tables[level] of lists as they
    are stored, bias[level] with the input's offset taken out.
    """
    kind, written, block_size = struct.unpack_from("<BBB", stream, 6)
    strides_dilations_pads = struct.unpack_from("<6B", stream, 9)
    kernel_h, kernel_w, outputs, inputs, depth_multiplier = struct.unpack_from("<5H", stream, 16)
    offsets_and_clamps = struct.unpack_from("<4i", stream, 28)
    size = kernel_h * kernel_w * (1 if kind == 1 else inputs)
    weights = [[None] * size for _ in range(outputs)]
    tables, encodings, start, level = [], [], 64, 0
    while start < len(stream):
        block_bytes, entries, ordinal, encoding, bits, form = struct.unpack_from(
            "<IIBBBB", stream, start
        )
        assert ordinal == level
        cursor = _Cursor(stream, start + 32)
        if form == 0:
            table = (
                cursor.take("i", outputs),
                cursor.take("i", outputs),
                cursor.take("b", outputs),
            )
            tables.append((*table, True))
        elif form == 1:
            tables.append(tables[-1])
        else:
            tables.append((*_packed_tables(cursor, stream[start : start + 32], outputs), False))
        for channel, index, value in _weights(
            cursor,
            encoding,
            outputs=outputs,
            size=size,
            entries=entries,
            block_size=block_size,
            count_bits=bits,
            header=stream[start : start + 32],
        ):
            if value:
                assert weights[channel][index] is None
                weights[channel][index] = (value, level)
        encodings.append(encoding)
        start += block_bytes
        level += 1
    return SimpleNamespace(
        kind=kind,
        levels_at_writing=written,
        block_size=block_size,
        strides_dilations_pads=strides_dilations_pads,
        shape=(kernel_h, kernel_w, outputs, inputs, depth_multiplier),
        offsets_and_clamps=offsets_and_clamps,
        weights=weights,
        tables=[table[:3] for table in tables],
        bias=[
            _unfolded(bias, level, weights, input_offset=offsets_and_clamps[0]) if folded else bias
            for level, (bias, _, _, folded) in enumerate(tables)
        ],
        encodings=encodings,
    )


def _unfolded(folded, level, weights, *, input_offset):
    bias = list(folded)
    for channel, row in enumerate(weights):
        for pair in row:
            if pair and pair[1] <= level:
                bias[channel] -= input_offset * pair[0]
    return bias


class _Cursor:
    def __init__(self, stream, offset):
        self._stream = stream
        self._offset = offset

    def take(self, code, count):
        values = struct.unpack_from(f"<{count}{code}", self._stream, self._offset)
        self._offset += (struct.calcsize(f"<{count}{code}") + 3) // 4 * 4
        return list(values)

    def take_packed(self, layout):
        values = struct.unpack_from(layout, self._stream, self._offset)
        self._offset += struct.calcsize(layout)
        return values


def _bits(cursor, count, width):
    """Numbers of `width` bits, the lowest first."""
    packed = sum(byte << 8 * i for i, byte in enumerate(cursor.take("B", (count * width + 7) // 8)))
    numbers = [packed >> width * i & (1 << width) - 1 for i in range(count)]
    assert packed >> width * count == 0
    return numbers


def _packed_tables(cursor, header, outputs):
    mantissa_bits, step_bits, bias_bits, fraction, base = struct.unpack_from("<BBBBb", header, 16)
    sign_bits = header[11] - 2
    biases, multipliers, shifts = [], [], []
    for field in _bits(cursor, outputs, sign_bits + mantissa_bits + step_bits + bias_bits):
        sign = field & ((1 << sign_bits) - 1)
        field >>= sign_bits
        multiplier = 2**30 + (field & (1 << mantissa_bits) - 1) * 2 ** (30 - mantissa_bits)
        field >>= mantissa_bits
        shift = base + (field & (1 << step_bits) - 1)
        field >>= step_bits
        if bias_bits and field >> (bias_bits - 1):
            field -= 1 << bias_bits
        biases.append(field * 2 ** max(0, -shift - fraction))
        multipliers.append(-multiplier if sign else multiplier)
        shifts.append(shift)
    return biases, multipliers, shifts


def _codes(pairs):
    """The symbol of each code, from (length, order, symbol) of every symbol."""
    codes, share = {}, 0
    for bits, _, symbol in sorted(pairs):
        codes[f"{share >> (8 - bits):0{bits}b}"] = symbol
        share += 256 >> bits
    assert share == 256
    return codes


def _coded(cursor, header, counts, *, outputs, block_size):
    """Yields (channel, block position, values) of every entry."""
    last_gap, first, last, words = struct.unpack_from("<BBBI", header, 21)
    (gap_words,) = cursor.take("I", 1)
    lengths = _bits(cursor, last_gap + 1 + last - first + 1, 4)
    of_gaps = _codes((bits, gap, gap) for gap, bits in enumerate(lengths[: last_gap + 1]) if bits)
    of_values = _codes(
        (bits, (first + i, sign), -first - i if sign else first + i)
        for i, bits in enumerate(lengths[last_gap + 1 :])
        if bits
        for sign in (0, 1)
    )
    taken = cursor.take("I", words)
    gaps = _read_all(taken[:gap_words], of_gaps, sum(counts))
    values = _read_all(taken[gap_words:], of_values, sum(counts) * block_size)
    for channel in range(outputs):
        position = -1
        for _ in range(counts[channel]):
            position += gaps.pop(0) + 1
            block = [values.pop(0) for _ in range(block_size)]
            yield channel, position, [-128 if value == 128 else value for value in block]


def _read_all(words, codes, count):
    """`count` symbols; zeros fill the last word."""
    bits = "".join(f"{word:032b}" for word in words)
    symbols, place = [], 0
    for _ in range(count):
        end = place + 1
        while bits[place:end] not in codes:
            end += 1
        symbols.append(codes[bits[place:end]])
        place = end
    assert "1" not in bits[place:]
    assert len(bits) - place < 32
    return symbols


def _weights(cursor, encoding, *, outputs, size, entries, block_size, count_bits, header):
    """Yields (channel, index, value) of every stored value."""
    if encoding == 0:
        return
    if encoding == 1:
        values = cursor.take("b", outputs * size)
        for number, value in enumerate(values):
            yield number // size, number % size, value
        return
    counts = _bits(cursor, outputs, count_bits)
    assert sum(counts) == entries
    if encoding == 4:
        for channel, position, values in _coded(
            cursor, header, counts, outputs=outputs, block_size=block_size
        ):
            for lane, value in enumerate(values):
                yield channel, position * block_size + lane, value
        return
    record = {2: "<B", 3: "<H"}[encoding] + f"{block_size}b"
    for channel in range(outputs):
        position = 0
        for _ in range(counts[channel]):
            delta, *values = cursor.take_packed(record)
            position += delta
            for lane, value in enumerate(values):
                yield channel, position * block_size + lane, value
