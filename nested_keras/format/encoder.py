"""Turn NestedWeights into a packed stream."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.format import coding, constants
from nested_keras.format.folding import fold_bias
from nested_keras.format.layout import (
    DELTA_DTYPES,
    block_bytes,
    block_sections,
    pack_counts,
    record_dtype,
)
from nested_keras.format.packed_tables import fit_tables, pack_tables
from nested_keras.format.types import (
    Chooser,
    Code,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    NestedWeights,
    StoredLevel,
    TableBits,
    Tables,
)
from nested_keras.typing import Int32Array, UInt8Array

# The counts of a fully connected layer are whole bytes, because the kernel reads a count as often
# as a weight. The other kernels unpack their counts once a call.
_LEAST_COUNT_BITS = {LayerKind.FULLY_CONNECTED: 8}


def smallest(options: Sequence[StoredLevel]) -> StoredLevel:
    """Returns the option with the fewest bytes of those that kernels read in place.

    That leaves out CODED weights and packed tables. Of equal options, the smallest encoding code.
    """
    return most_compact(in_place(options))


def most_compact(options: Sequence[StoredLevel]) -> StoredLevel:
    """Returns the option with the fewest bytes; of equal options, the smallest codes."""
    return min(options, key=lambda option: (option.bytes, option.encoding, option.tables))


def in_place(options: Sequence[StoredLevel]) -> list[StoredLevel]:
    """Returns the options without CODED weights and without packed tables."""
    return [o for o in options if o.encoding is not Encoding.CODED and o.table_bits is None]


def encode(
    nested: NestedWeights, *, choose: Chooser = smallest
) -> tuple[bytes, tuple[StoredLevel, ...]]:
    """Packs a layer; see `stream.Stream.pack`.

    A zero weight is not stored, whatever its level. A level that adds no weight is EMPTY. A level
    whose tables equal the stored tables of the level before stores none.

    Args:
        nested: The layer, which checked itself when made.
        choose: Called with the options of each level that has several. The options are all pairs
            of an encoding (DELTA8, DELTA16, CODED and, at level 0, DENSE) and a form of the tables
            (EXACT, and PACKED or SIGNED if the tables fit; or SAME alone).

    Returns:
        The stream, a multiple of 16 bytes long, and a description of each stored level.

    Raises:
        FormatError: If a level block does not fit into 2^32-1 bytes, or a folded bias into 32 bits.
    """
    folded_bias = fold_bias(nested)
    blocks: list[tuple[bytes, StoredLevel]] = []
    base = Tables.EXACT
    for level in range(nested.levels):
        is_same = level > 0 and all(
            np.array_equal(table[level], table[level - 1])
            for table in (
                folded_bias if base is Tables.EXACT else nested.bias,
                nested.multiplier,
                nested.shift,
            )
        )
        tables = (
            {Tables.SAME: _TableForm(None, {}, base >= Tables.PACKED)}
            if is_same
            else _tables(nested, level, folded_bias[level])
        )
        blocks.append(_encode_level(nested, level, tables=tables, choose=choose))
        if not is_same:
            base = blocks[-1][1].tables
    data = b"".join([_encode_header(nested.params, nested.levels), *(block for block, _ in blocks)])
    return data, tuple(stored for _, stored in blocks)


def _encode_header(params: LayerParams, levels: int) -> bytes:
    header = np.zeros((), dtype=constants.STREAM_HEADER)
    header["magic"] = constants.STREAM_MAGIC
    header["version"] = constants.STREAM_VERSION
    header["levels"] = levels
    for field in dataclasses.fields(params):
        header[field.name] = getattr(params, field.name)
    header["crc32"] = zlib.crc32(header.tobytes()[:-4])
    return header.tobytes()


def _tables(nested: NestedWeights, level: int, folded_bias: Int32Array) -> dict[Tables, _TableForm]:
    """Returns the forms that can hold the tables of a level."""
    multiplier, shift = nested.multiplier[level], nested.shift[level]
    forms = {
        Tables.EXACT: _TableForm(
            None, {"bias": folded_bias, "multiplier": multiplier, "shift": shift}, False
        )
    }
    if nested.params.kind is LayerKind.FULLY_CONNECTED:
        return forms
    bits = fit_tables(nested.bias[level], multiplier, shift)
    if bits is not None:
        packed = pack_tables(bits, nested.bias[level], multiplier, shift)
        forms[bits.form] = _TableForm(bits, {"tables": packed}, True)
    return forms


def _encode_level(
    nested: NestedWeights, level: int, *, tables: dict[Tables, _TableForm], choose: Chooser
) -> tuple[bytes, StoredLevel]:
    params = nested.params
    added = np.where(nested.level_map == level, nested.weights, np.int8(0))
    blocks = added.reshape(params.out_channels, params.blocks_per_channel, params.block_size)
    candidates = _candidates(params, blocks, level)
    options = []
    for weights, (form, table) in itertools.product(candidates.values(), tables.items()):
        stored = dataclasses.replace(
            weights.stored,
            tables=form,
            table_bits=table.bits,
            nnz=int(np.count_nonzero(added)),
            has_packed_tables=table.is_packed,
        )
        size = block_bytes(stored, block_sections(params, stored))
        options.append(dataclasses.replace(stored, bytes=size))
    choice = options[0] if len(options) == 1 else choose(options)
    if choice.bytes > np.iinfo(np.uint32).max:
        raise FormatError(f"level {level} must fit into 2^32-1 bytes: got {choice.bytes}")
    arrays = candidates[choice.encoding].arrays() | tables[choice.tables].arrays
    packed = bytearray(choice.bytes)
    for section in block_sections(params, choice):
        packed[section.start : section.end] = (
            arrays[section.name].astype(section.dtype, copy=False).tobytes()
        )
    header = _level_header(choice)
    header["crc32"] = zlib.crc32(
        packed[constants.LEVEL_HEADER_BYTES :], zlib.crc32(header.tobytes()[:-4])
    )
    packed[: constants.LEVEL_HEADER_BYTES] = header.tobytes()
    return bytes(packed), choice


def _level_header(stored: StoredLevel) -> npt.NDArray[Any]:
    """Returns the header of a level block, without its checksum."""
    header = np.zeros((), dtype=constants.LEVEL_HEADER)
    header["block_bytes"] = stored.bytes
    for name in ("entries", "level", "encoding", "count_bits", "tables", "nnz"):
        header[name] = getattr(stored, name)
    if stored.table_bits is not None:
        for name in ("multiplier_bits", "shift_bits", "bias_bits", "bias_fraction", "shift_base"):
            header[name] = getattr(stored.table_bits, name)
    if stored.code is not None:
        for name in ("last_gap", "first_magnitude", "last_magnitude"):
            header[name] = getattr(stored.code, name)
        header["code_words"] = stored.code.words
    return header


def _candidates(
    params: LayerParams, blocks: npt.NDArray[np.int8], level: int
) -> dict[Encoding, _Candidate]:
    """Returns every legal encoding of one level with the arrays that it stores.

    Args:
        params: The layer.
        blocks: int8 [O, positions, block_size], zero where the level adds nothing.
        level: The level.

    Returns:
        For each encoding its "values"; its "counts" and "records"; or its "counts", "lengths" and
        "codes".
    """
    channel, position = np.nonzero(blocks.any(axis=-1))
    if not channel.size:
        return {Encoding.EMPTY: _Candidate(StoredLevel(Encoding.EMPTY, 0, level), dict)}
    entries = _Entries(channel, position, blocks[channel, position], params)
    candidates = {encoding: _delta_candidate(entries, level, encoding) for encoding in DELTA_DTYPES}
    coded = _coded_candidate(entries, level)
    if coded is not None:
        candidates[Encoding.CODED] = coded
    if level == 0:
        stored = StoredLevel(Encoding.DENSE, params.out_channels * params.blocks_per_channel)
        candidates[Encoding.DENSE] = _Candidate(stored, lambda: {"values": blocks})
    return candidates


def _delta_candidate(entries: _Entries, level: int, encoding: Encoding) -> _Candidate:
    """Puts entries into records with deltas of one type, and fillers between them."""
    deltas, values, counts = entries.bridged(np.iinfo(DELTA_DTYPES[encoding]).max)
    records = np.zeros(deltas.size, dtype=record_dtype(encoding, values.shape[-1]))
    records["delta"], records["values"] = deltas, values
    bits = entries.count_bits(counts)
    stored = StoredLevel(encoding, deltas.size, level, count_bits=bits)
    arrays = {"counts": pack_counts(counts, bits), "records": records}
    return _Candidate(stored, lambda: arrays)


# Longest gaps of CODED blocks that `_coded_candidate` tries.
_LONGEST_GAPS = (7, 15, 23, 31, 47, 63, 95, 127, 191, constants.STREAM_MAX_GAP)


def _coded_candidate(entries: _Entries, level: int) -> _Candidate | None:
    """Puts entries into codes, and fillers between them; None where values do not fit a code.

    The longest gap is the one of `_LONGEST_GAPS` that makes the codes and their lengths smallest.
    """
    options = []
    for longest in _LONGEST_GAPS:
        coded = _Coded.of(entries, longest)
        if coded is not None:
            options.append(coded)
        if entries.deltas.max() <= longest:
            break
    if not options:
        return None
    best = min(options, key=lambda coded: coded.bytes)
    bits = entries.count_bits(best.counts)
    stored = StoredLevel(
        Encoding.CODED, best.gaps.size, level, count_bits=bits, code=best.parameters
    )
    return _Candidate(stored, lambda: best.arrays() | {"counts": pack_counts(best.counts, bits)})


@dataclass(frozen=True, eq=False)
class _Coded:
    """Entries with fillers, and the lengths of their codes."""

    gaps: npt.NDArray[np.int64]
    values: npt.NDArray[np.int8]
    counts: npt.NDArray[np.int64]
    gap_lengths: UInt8Array
    value_lengths: UInt8Array

    @classmethod
    def of(cls, entries: _Entries, longest: int) -> _Coded | None:
        deltas, values, counts = entries.bridged(longest)
        later = np.ones(deltas.size, np.int64)
        later[(np.cumsum(counts) - counts)[counts > 0]] = 0
        value_lengths = coding.value_lengths(values)
        if value_lengths is None:
            return None
        gaps = deltas - later
        return cls(gaps, values, counts, coding.gap_lengths(gaps), value_lengths)

    @property
    def gap_words(self) -> int:
        return coding.coded_words(self.gaps, self.gap_lengths)

    @property
    def parameters(self) -> Code:
        magnitudes = np.flatnonzero(self.value_lengths)
        values = np.abs(self.values.astype(np.int64)).ravel()
        return Code(
            last_gap=int(np.flatnonzero(self.gap_lengths)[-1]),
            first_magnitude=int(magnitudes[0]),
            last_magnitude=int(magnitudes[-1]),
            words=self.gap_words + coding.coded_words(values, self.value_lengths),
        )

    @property
    def bytes(self) -> int:
        return 4 * self.parameters.words + self.parameters.length_bytes

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        code = self.parameters
        magnitudes = self.value_lengths[code.first_magnitude : code.last_magnitude + 1]
        gaps = coding.PrefixCode.of_gaps(self.gap_lengths).encode(self.gaps)
        values = coding.PrefixCode.of_values(self.value_lengths).encode(
            # With -128 as the one of 128 that comes first.
            np.where(self.values == -128, 128, self.values.astype(np.int64)).ravel()
        )
        return {
            "gap_words": np.array([self.gap_words]),
            "lengths": coding.pack_lengths(
                np.concatenate([self.gap_lengths[: code.last_gap + 1], magnitudes])
            ),
            "codes": np.frombuffer(gaps + values, "<u4"),
        }


@dataclass(frozen=True, eq=False)
class _TableForm:
    """One way to store the tables of a level, and whether the tables are packed."""

    bits: TableBits | None
    arrays: dict[str, npt.NDArray[Any]]
    is_packed: bool


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One encoding of a level's weights; the tables are open."""

    stored: StoredLevel
    arrays: Callable[[], dict[str, npt.NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of a level without fillers, sorted by channel and position."""

    channel: npt.NDArray[np.intp]
    position: npt.NDArray[np.intp]
    values: npt.NDArray[np.int8]
    params: LayerParams

    @functools.cached_property
    def deltas(self) -> npt.NDArray[np.int64]:
        """Steps from the entry before, or from position 0."""
        first_of_channel = np.diff(self.channel, prepend=-1) != 0
        steps = np.diff(self.position, prepend=0)
        return np.where(first_of_channel, self.position, steps).astype(np.int64)

    def fillers(self, largest: int) -> npt.NDArray[np.int64]:
        """Fillers in front of each entry, if a delta is at most `largest`.

        A step g is stored as (g - 1) // largest fillers of delta `largest`, then a delta in
        1..largest (0 for g = 0).
        """
        return np.maximum(self.deltas - 1, 0) // largest

    def bridged(
        self, largest: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8], npt.NDArray[np.int64]]:
        """Returns deltas and values with the fillers, and the entries of each channel."""
        fillers = self.fillers(largest)
        slot = np.cumsum(fillers + 1) - 1
        entries = int(slot[-1]) + 1
        deltas = np.full(entries, largest, np.int64)
        deltas[slot] = self.deltas - fillers * largest
        values = np.zeros((entries, self.values.shape[-1]), np.int8)
        values[slot] = self.values
        counts = np.bincount(self.channel, weights=fillers + 1, minlength=self.params.out_channels)
        return deltas, values, counts.astype(np.int64)

    def count_bits(self, counts: npt.NDArray[np.int64]) -> int:
        """Returns the bits of the largest count."""
        return max(int(counts.max()).bit_length(), _LEAST_COUNT_BITS.get(self.params.kind, 1))
