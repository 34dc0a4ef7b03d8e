"""Lay out the parts of a level block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.format import constants
from nested_keras.format.types import Encoding, LayerParams, StoredLevel, Tables

DELTA_DTYPES: dict[Encoding, np.dtype[Any]] = {
    Encoding.DELTA8: np.dtype("u1"),
    Encoding.DELTA16: np.dtype("<u2"),
}


@dataclass(frozen=True)
class Section:
    """One array of a level block.

    Attributes:
        name: "bias", "multiplier", "shift" or "tables"; "counts" (packed), "records", "values",
            "gap_words", "lengths" (packed) or "codes".
        dtype: Element type, little-endian and without gaps.
        start: Offset from the start of the block, bytes.
        count: Number of elements.
    """

    name: str
    dtype: np.dtype[Any]
    start: int
    count: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the section."""
        return self.start + self.count * self.dtype.itemsize


def align(size: int, alignment: int) -> int:
    """Rounds size up to a multiple of alignment."""
    return -(-size // alignment) * alignment


def record_dtype(encoding: Encoding, block_size: int) -> np.dtype[Any]:
    """Returns the type of an entry of a DELTA8 or DELTA16 block: its delta, then its values."""
    return np.dtype([("delta", DELTA_DTYPES[encoding]), ("values", "i1", (block_size,))])


def pack_counts(counts: npt.NDArray[np.int64], count_bits: int) -> npt.NDArray[np.uint8]:
    """Packs counts, each below 2 ** count_bits, without gaps and the lowest bits first."""
    bits = counts[:, np.newaxis] >> np.arange(count_bits) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little")


def unpack_counts(
    packed: npt.NDArray[np.uint8], count_bits: int, channels: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Inverts `pack_counts`: returns the counts, int64 [channels], and the remaining bits."""
    bits = np.unpackbits(packed, bitorder="little")
    used, left = np.split(bits, [channels * count_bits])
    return used.reshape(channels, count_bits) @ (1 << np.arange(count_bits)), left


def block_sections(params: LayerParams, stored: StoredLevel) -> tuple[Section, ...]:
    """Lays out a level block; sections start 4-byte aligned.

    Args:
        params: The layer.
        stored: All about the block but its length.

    Returns:
        The sections in the order of their offsets.
    """
    channels = params.out_channels
    parts: list[tuple[str, np.dtype[Any], int]] = []
    if stored.tables == Tables.EXACT:
        parts += [
            ("bias", np.dtype("<i4"), channels),
            ("multiplier", np.dtype("<i4"), channels),
            ("shift", np.dtype("i1"), channels),
        ]
    elif stored.table_bits is not None:
        parts.append(("tables", np.dtype("u1"), stored.table_bits.bytes(channels)))
    if stored.count_bits:
        parts.append(("counts", np.dtype("u1"), align(channels * stored.count_bits, 8) // 8))
    if stored.encoding in DELTA_DTYPES:
        dtype = record_dtype(stored.encoding, params.block_size)
        parts.append(("records", dtype, stored.entries))
    elif stored.encoding == Encoding.DENSE:
        parts.append(("values", np.dtype("i1"), stored.entries * params.block_size))
    elif stored.code is not None:
        parts.append(("gap_words", np.dtype("<u4"), 1))
        parts.append(("lengths", np.dtype("u1"), stored.code.length_bytes))
        parts.append(("codes", np.dtype("<u4"), stored.code.words))
    sections: list[Section] = []
    start = constants.LEVEL_HEADER_BYTES
    for name, dtype, count in parts:
        section = Section(name=name, dtype=dtype, start=start, count=count)
        sections.append(section)
        start = align(section.end, constants.TABLE_ALIGNMENT)
    return tuple(sections)


def block_bytes(stored: StoredLevel, sections: tuple[Section, ...]) -> int:
    """Returns the length of the block of these sections, with read-ahead bytes and padding."""
    end = sections[-1].end if sections else constants.LEVEL_HEADER_BYTES
    if stored.encoding != Encoding.EMPTY or stored.table_bits is not None:
        end += constants.STREAM_READ_AHEAD_BYTES
    return align(end, constants.STREAM_ALIGNMENT)
