"""The bits of a CODED block: canonical prefix codes of gaps and of values.

docs/nested_format.md, "CODED", is normative. The code of a value is the code of its magnitude and
a sign: value and -value have codes of one length, which are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.format import constants
from nested_keras.format.types import FormatError
from nested_keras.typing import Int8Array, UInt8Array

_MAX_BITS = constants.STREAM_MAX_SYMBOL_BITS
_WORD_BITS = 32
# Bytes of codes that are decoded at a time, at every bit; bounds the memory of `decode`.
_CHUNK_BYTES = 1 << 16

UInt32Array = npt.NDArray[np.uint32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PrefixCode:
    """A complete canonical prefix code.

    Attributes:
        symbols: The symbols in the order of their codes.
        lengths: Bits of the code of each, 1..8; they never fall.
    """

    symbols: IntArray
    lengths: IntArray

    @classmethod
    def of_gaps(cls, lengths: UInt8Array) -> PrefixCode:
        """Returns the code of gaps whose lengths are given; 0 where a gap has no code."""
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        return cls(order, lengths[order].astype(np.int64))

    @classmethod
    def of_values(cls, lengths: UInt8Array) -> PrefixCode:
        """Returns the code of values, whose lengths are given by magnitude: + before -."""
        gaps = cls.of_gaps(lengths)
        signed = np.stack([gaps.symbols, -gaps.symbols], axis=1).reshape(-1)
        return cls(signed, np.repeat(gaps.lengths, 2))

    @property
    def is_complete(self) -> bool:
        """Whether every sequence of bits begins with exactly one code."""
        used = self.lengths
        return bool((used <= _MAX_BITS).all()) and int((1 << _MAX_BITS >> used).sum()) == (
            1 << _MAX_BITS
        )

    def encode(self, symbols: IntArray) -> bytes:
        """Packs symbols into whole little-endian words; the highest bit of a word comes first."""
        shares = 1 << _MAX_BITS >> self.lengths
        codes = (np.cumsum(shares) - shares) >> (_MAX_BITS - self.lengths)
        # The first code of a symbol counts: 0 and 128 have two.
        places = {symbol: i for i, symbol in reversed([*enumerate(self.symbols.tolist())])}
        low = int(self.symbols.min())
        place_of = np.zeros(int(self.symbols.max()) - low + 1, np.int64)
        place_of[np.array([*places]) - low] = [*places.values()]
        at = place_of[symbols - low]
        return _pack(codes[at], self.lengths[at])

    def decode(self, words: UInt32Array, count: int) -> tuple[IntArray, int]:
        """Inverts `encode`: returns `count` symbols and the number of bits that they take.

        Raises:
            FormatError: If the symbols do not fit into the words.
        """
        raw = words.astype(">u4").tobytes()
        repeats = 1 << _MAX_BITS >> self.lengths
        symbol_at = np.repeat(self.symbols, repeats)
        length_at = np.repeat(self.lengths, repeats)
        indices = [_windows(raw, start) for start in range(0, len(raw), _CHUNK_BYTES)]
        index = np.concatenate([*indices, np.zeros(0, np.uint8)])
        steps = length_at[index].tolist()
        places = []
        place = 0
        try:
            for _ in range(count):
                places.append(place)
                place += steps[place]
        except IndexError:
            place = len(steps) + 1
        if place > len(steps):
            raise FormatError(f"{count} symbols must fit into {len(steps)} bits: got more")
        return symbol_at[index[places]], place


def _pack(codes: IntArray, lengths: IntArray) -> bytes:
    ends = np.cumsum(lengths)
    bits = np.zeros(-(-int(ends[-1]) // _WORD_BITS) * _WORD_BITS, np.uint8)
    for back in range(int(lengths.max())):
        chosen = lengths > back
        bits[ends[chosen] - 1 - back] = codes[chosen] >> back & 1
    return np.packbits(bits).view(">u4").astype("<u4").tobytes()


def _windows(raw: bytes, start: int) -> UInt8Array:
    """Returns the 8 bits from each bit of a chunk on; zeros follow the last byte."""
    size = min(_CHUNK_BYTES, len(raw) - start)
    chunk = np.frombuffer(raw[start : start + size + 1].ljust(size + 1, b"\0"), np.uint8)
    pairs = chunk[:size].astype(np.uint16) << 8 | chunk[1:]
    shifts = np.arange(8, 0, -1, dtype=np.uint16)
    return (pairs[:, np.newaxis] >> shifts).astype(np.uint8).reshape(-1)


def gap_lengths(gaps: IntArray) -> UInt8Array:
    """Returns the best lengths of the codes of gaps 0..the largest, 0 without a code.

    Where all gaps are equal, a second gap gets a code too, because a code is complete.
    """
    counts = np.bincount(gaps, minlength=2)
    used = counts > 0
    if used.sum() == 1:
        used[0 if used[1:].any() else 1] = True
    return _best_lengths(counts, used, _MAX_BITS)


def value_lengths(values: Int8Array) -> UInt8Array | None:
    """Returns the best lengths of the codes of values by magnitude, uint8 [129].

    None where there are more magnitudes than codes: all of 0..128.
    """
    counts = np.bincount(np.abs(values.astype(np.int64)).ravel(), minlength=129)
    if counts.all():
        return None
    lengths = _best_lengths(counts, counts > 0, _MAX_BITS - 1)
    return np.where(counts > 0, lengths + 1, 0).astype(np.uint8)


def _best_lengths(counts: IntArray, used: npt.NDArray[np.bool_], limit: int) -> UInt8Array:
    """Finds the lengths, at most `limit`, that make the sum of counts * lengths smallest.

    That is the package-merge algorithm; equal counts are taken in the order of the symbols. One
    symbol alone has a length of 0.
    """
    leaves = sorted((int(counts[symbol]), [int(symbol)]) for symbol in np.flatnonzero(used))
    packages: list[tuple[int, list[int]]] = []
    for _ in range(limit):
        merged = sorted([*leaves, *packages], key=lambda item: item[0])
        packages = [
            (first[0] + second[0], first[1] + second[1])
            for first, second in zip(merged[::2], merged[1::2], strict=False)
        ]
    lengths = np.zeros(counts.size, np.uint8)
    for _, symbols in packages[: len(leaves) - 1]:
        np.add.at(lengths, symbols, 1)
    return lengths


def coded_words(symbols: IntArray, lengths: UInt8Array) -> int:
    """Returns the words of symbols >= 0, whose codes have these lengths."""
    counts = np.bincount(symbols, minlength=lengths.size)
    return -(-int(counts @ lengths.astype(np.int64)) // _WORD_BITS)


def pack_lengths(lengths: UInt8Array) -> UInt8Array:
    """Packs lengths, four bits each, the low half of a byte first."""
    halves = np.append(lengths, np.uint8(0))[: (lengths.size + 1) // 2 * 2]
    return (halves[::2] | halves[1::2] << 4).astype(np.uint8)


def unpack_lengths(packed: UInt8Array, count: int) -> tuple[UInt8Array, int]:
    """Inverts `pack_lengths`: returns the lengths and the half that is left."""
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(np.uint8)
    return halves[:count], int(halves[count:].sum())
