"""The bits of a CODED block: Rice codes of the gaps, a canonical prefix code of the values.

docs/nested_format.md, "CODED", is normative. The code of a value is the code of its magnitude and
a sign: value and -value have codes of one length, which are neighbours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.format import constants
from nested_keras.format.types import FormatError
from nested_keras.typing import Int8Array, UInt8Array

_WORD_BITS = 32
# Bits that are decoded at a time, at every place; bounds the memory of `decode`.
_CHUNK_BYTES = 1 << 16

UInt32Array = npt.NDArray[np.uint32]
IntArray = npt.NDArray[np.int64]


# The largest gap that an entry can hold, by the low bits of the Rice code.
LARGEST_GAPS = tuple(
    min(255, ((constants.STREAM_MAX_GAP_QUOTIENT + 1) << bits) - 1)
    for bits in range(constants.STREAM_MAX_RICE_BITS + 1)
)


def code_lengths(values: Int8Array) -> UInt8Array:
    """Returns the best lengths of the codes of magnitudes 0..128, uint8 [129]; 0 without a code.

    The lengths include the sign. The package-merge algorithm finds the best lengths of at most
    eight bits of the magnitudes; equal counts are taken in the order of the magnitudes.
    """
    counts = np.bincount(np.abs(values.astype(np.int64)).ravel(), minlength=129)
    leaves = sorted((int(count), [magnitude]) for magnitude, count in enumerate(counts) if count)
    lengths = np.zeros(129, np.uint8)
    if len(leaves) == 1:
        lengths[leaves[0][1]] = 1
        return lengths
    packages: list[tuple[int, list[int]]] = []
    for _ in range(constants.STREAM_MAX_VALUE_BITS - 1):
        merged = sorted([*leaves, *packages], key=lambda item: item[0])
        packages = [
            (first[0] + second[0], first[1] + second[1])
            for first, second in zip(merged[::2], merged[1::2], strict=False)
        ]
    for _, magnitudes in packages[: len(leaves) - 1]:
        np.add.at(lengths, magnitudes, 1)
    return np.where(lengths > 0, lengths + 1, 0).astype(np.uint8)


def canonical_codes(lengths: UInt8Array) -> tuple[npt.NDArray[np.int16], IntArray]:
    """Returns the coded values in the order of their codes, and the code of each.

    Shorter codes come first; of one length, smaller magnitudes; of one magnitude, the value before
    -value. -128 has both codes of its magnitude, as 0 has.
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    sizes = np.repeat(lengths[order].astype(np.int64), 2)
    # As fractions of 1: each code is the sum of the shares of the codes before.
    shares = (1 << constants.STREAM_MAX_VALUE_BITS) >> sizes
    codes = (np.cumsum(shares) - shares) >> (constants.STREAM_MAX_VALUE_BITS - sizes)
    values = np.stack([order, -order], axis=1).reshape(-1)
    return values.astype(np.int16), codes


def is_complete(lengths: UInt8Array) -> bool:
    """Returns whether every sequence of bits begins with exactly one code."""
    used = lengths[lengths > 0].astype(np.int64)
    whole = 1 << constants.STREAM_MAX_VALUE_BITS
    return bool((used <= constants.STREAM_MAX_VALUE_BITS).all()) and (
        int((2 * whole >> used).sum()) == whole
    )


def pack_lengths(lengths: UInt8Array, first: int, last: int) -> UInt8Array:
    """Packs the lengths of magnitudes first..last, four bits each, the low half of a byte first."""
    halves = np.append(lengths[first : last + 1], np.uint8(0))[: (last - first + 2) // 2 * 2]
    return (halves[::2] | halves[1::2] << 4).astype(np.uint8)


def unpack_lengths(packed: UInt8Array, first: int, last: int) -> tuple[UInt8Array, int]:
    """Inverts `pack_lengths`: returns the lengths, uint8 [129], and the half that is left."""
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    lengths = np.zeros(129, np.uint8)
    count = last - first + 1
    lengths[first : last + 1] = halves[:count]
    return lengths, int(halves[count:].sum())


def best_rice_bits(deltas: IntArray, fillers_of: IntArray) -> int:
    """Returns the low bits of a Rice code that make the gaps shortest.

    Args:
        deltas: Steps from entry to entry, without fillers.
        fillers_of: For each count of low bits, the fillers that bridge the long gaps.
    """
    gaps = np.maximum(deltas - 1, 0)
    sizes = [
        gaps.size * (bits + 1) + int(np.minimum(gaps >> bits, 16).sum()) + int(fillers) * 24
        for bits, fillers in enumerate(fillers_of)
    ]
    return int(np.argmin(sizes))


def encode(gaps: IntArray, values: Int8Array, *, rice_bits: int, lengths: UInt8Array) -> bytes:
    """Packs entries into words: the gap of an entry, then its values.

    Args:
        gaps: [entries], each at most LARGEST_GAPS[rice_bits].
        values: int8 [entries, block_size].
        rice_bits: Low bits of a gap.
        lengths: Lengths of the codes by magnitude, from `code_lengths`.

    Returns:
        Whole little-endian words; the highest bit of a word comes first.
    """
    coded, codes = canonical_codes(lengths)
    code_of = np.zeros(256, np.int64)
    # A magnitude of 128 is written by its second code; 0 by its first.
    for value, code in zip(coded.tolist(), codes.tolist(), strict=True):
        if value != 128 and not (value == 0 and code & 1):
            code_of[value & 255] = code
    magnitudes = np.abs(values.astype(np.int64))
    fields = np.concatenate(
        [
            ((1 << rice_bits) | (gaps & ((1 << rice_bits) - 1)))[:, np.newaxis],
            code_of[values.view(np.uint8)],
        ],
        axis=1,
    ).reshape(-1)
    sizes = np.concatenate(
        [((gaps >> rice_bits) + 1 + rice_bits)[:, np.newaxis], lengths[magnitudes]], axis=1
    ).reshape(-1)
    return _pack_fields(fields, sizes.astype(np.int64))


def coded_words(gaps: IntArray, values: Int8Array, *, rice_bits: int, lengths: UInt8Array) -> int:
    """Returns the number of words that `encode` makes."""
    bits = gaps.size * (1 + rice_bits) + int((gaps >> rice_bits).sum())
    counts = np.bincount(np.abs(values.astype(np.int64)).ravel(), minlength=129)
    return -(-(bits + int(counts @ lengths.astype(np.int64))) // _WORD_BITS)


def _pack_fields(fields: IntArray, sizes: IntArray) -> bytes:
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    bits = np.zeros(-(-total // _WORD_BITS) * _WORD_BITS, np.uint8)
    for back in range(int(sizes.max())):
        chosen = sizes > back
        bits[ends[chosen] - 1 - back] = fields[chosen] >> back & 1
    return np.packbits(bits).view(">u4").astype("<u4").tobytes()


def decode(
    words: UInt32Array, entries: int, *, block_size: int, rice_bits: int, lengths: UInt8Array
) -> tuple[IntArray, Int8Array, int]:
    """Inverts `encode`.

    Args:
        words: The words.
        entries: Entries to decode.
        block_size: Values of an entry.
        rice_bits: Low bits of a gap.
        lengths: Lengths of the codes by magnitude; a complete code.

    Returns:
        The gaps, the values [entries, block_size] and the number of bits that the entries take.

    Raises:
        FormatError: If the entries do not fit into the words, or a gap is too long.
    """
    raw = words.astype(">u4").tobytes()
    gap_of, gap_size = [], []
    value_of, value_size = [], []
    table_value, table_size = _value_table(lengths)
    for start in range(0, len(raw), _CHUNK_BYTES):
        window = _windows(raw, start)
        quotient = _WORD_BITS - np.frexp(window.astype(np.float64))[1].astype(np.int64)
        after = window << np.minimum(quotient + 1, 31).astype(np.uint32)
        low = (after.astype(np.uint64) << np.uint64(rice_bits)) >> np.uint64(_WORD_BITS)
        gap_of.append((quotient << rice_bits) + low.astype(np.int64))
        legal = quotient <= constants.STREAM_MAX_GAP_QUOTIENT
        gap_size.append(np.where(legal, quotient + 1 + rice_bits, 0))
        index = window >> np.uint32(_WORD_BITS - constants.STREAM_MAX_VALUE_BITS)
        value_of.append(table_value[index])
        value_size.append(table_size[index])
    places = _walk(np.concatenate(gap_size), np.concatenate(value_size), entries, block_size)
    at = places[:-1].reshape(entries, 1 + block_size)
    return (
        np.concatenate(gap_of)[at[:, 0]],
        np.concatenate(value_of)[at[:, 1:]],
        int(places[-1]),
    )


def _windows(raw: bytes, start: int) -> UInt32Array:
    """Returns the 32 bits from each bit of a chunk on; zeros follow the last byte."""
    chunk = np.frombuffer(raw[start : start + _CHUNK_BYTES + 4].ljust(4, b"\0"), np.uint8)
    size = min(_CHUNK_BYTES, len(raw) - start)
    padded = np.concatenate([chunk, np.zeros(4, np.uint8)]).astype(np.uint64)
    five = np.zeros(size, np.uint64)
    for index in range(5):
        five = five << np.uint64(8) | padded[index : index + size]
    shifts = np.arange(8, 0, -1, dtype=np.uint64)
    return (five[:, np.newaxis] >> shifts).astype(np.uint32).reshape(-1)


def _value_table(lengths: UInt8Array) -> tuple[Int8Array, npt.NDArray[np.int64]]:
    """Returns value and length of the code that the next nine bits begin with, [512] each."""
    coded, _ = canonical_codes(lengths)
    sizes = lengths[np.abs(coded)].astype(np.int64)
    repeats = (1 << constants.STREAM_MAX_VALUE_BITS) >> sizes
    return np.repeat(coded, repeats).astype(np.int8), np.repeat(sizes, repeats)


def _walk(gap_size: IntArray, value_size: IntArray, entries: int, block_size: int) -> IntArray:
    """Returns the first bit of each gap and value in their order, and the end."""
    gaps, values = gap_size.tolist(), value_size.tolist()
    places = []
    place = 0
    try:
        for entry in range(entries):
            places.append(place)
            step = gaps[place]
            if step == 0:
                raise FormatError(
                    f"the gap of entry {entry} must have at most "
                    f"{constants.STREAM_MAX_GAP_QUOTIENT} zeros in front: got more"
                )
            place += step
            for _ in range(block_size):
                places.append(place)
                place += values[place]
    except IndexError:
        place = len(gaps) + 1
    if place > len(gaps):
        raise FormatError(f"{entries} entries must fit into {len(gaps)} bits: got more")
    return np.array([*places, place], np.int64)
