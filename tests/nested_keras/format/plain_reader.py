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
        block_bytes, entries, ordinal, encoding, bits = struct.unpack_from("<IIBBB", stream, start)
        assert ordinal == level
        cursor = _Cursor(stream, start + 32)
        tables.append(
            (cursor.take("i", outputs), cursor.take("i", outputs), cursor.take("b", outputs))
        )
        for channel, index, value in _weights(
            cursor,
            encoding,
            outputs=outputs,
            size=size,
            entries=entries,
            block_size=block_size,
            count_bits=bits,
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
        tables=tables,
        bias=[
            _unfolded(folded, level, weights, input_offset=offsets_and_clamps[0])
            for level, (folded, _, _) in enumerate(tables)
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


def _weights(cursor, encoding, *, outputs, size, entries, block_size, count_bits):
    """Yields (channel, index, value) of every stored value."""
    if encoding == 0:
        return
    if encoding == 1:
        values = cursor.take("b", outputs * size)
        for number, value in enumerate(values):
            yield number // size, number % size, value
        return
    packed = sum(
        byte << 8 * i for i, byte in enumerate(cursor.take("B", (outputs * count_bits + 7) // 8))
    )
    counts = [packed >> count_bits * channel & (1 << count_bits) - 1 for channel in range(outputs)]
    assert packed >> count_bits * outputs == 0
    assert sum(counts) == entries
    record = {2: "<B", 3: "<H"}[encoding] + f"{block_size}b"
    for channel in range(outputs):
        position = 0
        for _ in range(counts[channel]):
            delta, *values = cursor.take_packed(record)
            position += delta
            for lane, value in enumerate(values):
                yield channel, position * block_size + lane, value
