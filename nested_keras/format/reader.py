"""Read the structure of a packed stream: its header and the blocks of its levels.

This module checks the structure alone; `decoder.check` checks the weights.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.format import coding, constants
from nested_keras.format.layout import (
    block_bytes,
    block_sections,
    record_dtype,
    unpack_counts,
)
from nested_keras.format.packed_tables import unpack_tables
from nested_keras.format.types import (
    Code,
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    StoredLevel,
    TableBits,
    Tables,
    require_equal,
    require_range,
)

Buffer: TypeAlias = bytes | bytearray | memoryview


# The arrays of a level's block, read-only: "bias" (as stored: folded in EXACT tables), "multiplier"
# and "shift", unless the tables are the SAME as before. The encoding adds "values", or "counts"
# (unpacked) and "records" of a delta and values.
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]


def read(data: Buffer) -> tuple[LayerParams, list[tuple[StoredLevel, Arrays]]]:
    """Reads a stream and checks checksums, structure and that unused bytes are zero.

    Returns:
        The layer, and each stored level with its arrays; the weights are still packed.

    Raises:
        FormatError: If the stream is damaged; the text says what was expected and what came.
    """
    params, levels_at_writing = _read_header(data)
    blocks: list[tuple[StoredLevel, Arrays]] = []
    start = constants.STREAM_HEADER_BYTES
    while start < len(data):
        if len(blocks) == levels_at_writing:
            raise FormatError(
                f"stream of {levels_at_writing} levels must end at byte {start}: got {len(data)}"
            )
        stored, arrays = _read_block(data, start, level=len(blocks), params=params)
        is_packed = stored.table_bits is not None
        if stored.tables is Tables.SAME:
            is_packed = blocks[-1][0].has_packed_tables
        blocks.append((dataclasses.replace(stored, has_packed_tables=is_packed), arrays))
        start += stored.bytes
    if not blocks:
        raise FormatError(f"stream must hold 1..{levels_at_writing} level blocks: got 0")
    return params, blocks


def _read_header(data: Buffer) -> tuple[LayerParams, int]:
    """Reads the layer and the number of levels when the stream was written."""
    if len(data) < constants.STREAM_HEADER_BYTES:
        raise FormatError(
            f"stream must have at least {constants.STREAM_HEADER_BYTES} bytes: got {len(data)}"
        )
    header = np.frombuffer(data, dtype=constants.STREAM_HEADER, count=1)[0]
    raw = bytes(data[: constants.STREAM_HEADER_BYTES])
    require_equal("magic", raw[:4], expected=constants.STREAM_MAGIC)
    require_equal("version", int(header["version"]), expected=constants.STREAM_VERSION)
    _check_crc("header", zlib.crc32(raw[:-4]), int(header["crc32"]))
    _check_reserved("header", header)
    levels = int(header["levels"])
    require_range("levels", levels, low=1, high=constants.STREAM_MAX_LEVELS)
    require_range("kind", int(header["kind"]), low=0, high=max(LayerKind))
    names = [field.name for field in dataclasses.fields(LayerParams)]
    values = {name: int(header[name]) for name in names}
    return LayerParams(kind=LayerKind(values.pop("kind")), **values), levels


def _read_block(
    data: Buffer, start: int, *, level: int, params: LayerParams
) -> tuple[StoredLevel, Arrays]:
    what = f"level {level}"
    left = len(data) - start
    if left < constants.LEVEL_HEADER_BYTES:
        raise FormatError(
            f"{what} must have at least {constants.LEVEL_HEADER_BYTES} bytes: got {left}"
        )
    header = np.frombuffer(data, dtype=constants.LEVEL_HEADER, count=1, offset=start)[0]
    require_equal(f"{what}: level", int(header["level"]), expected=level)
    require_range(f"{what}: encoding", int(header["encoding"]), low=0, high=max(Encoding))
    stored = _read_stored(header, what, params=params)
    sections = block_sections(params, stored)
    size = block_bytes(stored, sections)
    require_equal(f"{what}: block_bytes", stored.bytes, expected=size)
    if size > left:
        raise FormatError(f"{what} must have {size} bytes: got {left}")
    raw = bytes(data[start : start + size])
    crc = zlib.crc32(raw[constants.LEVEL_HEADER_BYTES :], zlib.crc32(raw[:28]))
    _check_crc(what, crc, int(header["crc32"]))
    _check_reserved(what, header, unused=_unused(stored))
    ends = [constants.LEVEL_HEADER_BYTES, *(section.end for section in sections)]
    for end, following in zip(ends, [*(s.start for s in sections), size], strict=True):
        if any(raw[end:following]):
            padding = raw[end:following].hex()
            raise FormatError(f"{what}: padding at byte {start + end} must be zero: got {padding}")
    arrays = {
        section.name: np.frombuffer(raw, section.dtype, section.count, section.start)
        for section in sections
    }
    if stored.count_bits:
        counts, spare = unpack_counts(arrays["counts"], stored.count_bits, params.out_channels)
        require_equal(
            f"{what}: sum of the channels' counts", int(counts.sum()), expected=stored.entries
        )
        require_equal(f"{what}: bits after the last count", int(spare.sum()), expected=0)
        arrays["counts"] = counts
    if stored.code is not None:
        arrays["records"] = _decode(arrays, stored, stored.code, what=what, params=params)
    if stored.table_bits is not None:
        arrays |= _unpack_tables(arrays["tables"], stored.table_bits, what=what, params=params)
    return stored, arrays


def _read_stored(header: np.void, what: str, *, params: LayerParams) -> StoredLevel:
    """Reads the header of a block; what the header leaves open is checked later."""
    encoding, level = Encoding(int(header["encoding"])), int(header["level"])
    entries = int(header["entries"])
    if encoding == Encoding.DENSE:
        require_equal(f"{what}: level of a DENSE block", level, expected=0)
        dense_entries = params.out_channels * params.blocks_per_channel
        require_equal(f"{what}: entries of a DENSE block", entries, expected=dense_entries)
    if encoding == Encoding.EMPTY:
        require_equal(f"{what}: entries of an EMPTY block", entries, expected=0)
    count_bits = int(header["count_bits"])
    if encoding in (Encoding.EMPTY, Encoding.DENSE):
        require_equal(f"{what}: count_bits without counts", count_bits, expected=0)
    else:
        require_range(
            f"{what}: count_bits", count_bits, low=1, high=constants.STREAM_MAX_COUNT_BITS
        )
    require_range(f"{what}: tables", int(header["tables"]), low=0, high=max(Tables))
    tables = Tables(int(header["tables"]))
    if tables is Tables.SAME and level == 0:
        raise FormatError(f"{what}: tables must be stored: got SAME")
    if tables >= Tables.PACKED and params.kind is LayerKind.FULLY_CONNECTED:
        raise FormatError(
            f"{what}: tables of a fully connected layer must not be packed: got {tables.name}"
        )
    return StoredLevel(
        level=level,
        encoding=encoding,
        entries=entries,
        count_bits=count_bits,
        nnz=int(header["nnz"]),
        bytes=int(header["block_bytes"]),
        tables=tables,
        table_bits=_read_table_bits(header, what, tables),
        code=_read_code(header, what) if encoding is Encoding.CODED else None,
    )


_TABLE_FIELDS = ("multiplier_bits", "shift_bits", "bias_bits", "bias_fraction", "shift_base")
_CODE_FIELDS = ("last_gap", "first_magnitude", "last_magnitude", "code_words")


def _unused(stored: StoredLevel) -> tuple[str, ...]:
    """Names the fields of a block's header that must be zero."""
    return (() if stored.table_bits else _TABLE_FIELDS) + (() if stored.code else _CODE_FIELDS)


def _read_table_bits(header: np.void, what: str, tables: Tables) -> TableBits | None:
    if tables not in (Tables.PACKED, Tables.SIGNED):
        return None
    bits = TableBits(int(tables is Tables.SIGNED), *(int(header[name]) for name in _TABLE_FIELDS))
    for name, low, high in (
        ("multiplier_bits", 0, 30),
        ("shift_bits", 0, 6),
        ("bias_bits", 0, 32),
        ("bias_fraction", 0, 31),
        ("shift_base", constants.MIN_SHIFT, constants.MAX_SHIFT),
        ("channel_bits", 0, constants.STREAM_MAX_TABLE_BITS),
    ):
        require_range(f"{what}: {name}", getattr(bits, name), low=low, high=high)
    return bits


def _read_code(header: np.void, what: str) -> Code:
    code = Code(*(int(header[name]) for name in _CODE_FIELDS))
    require_range(f"{what}: last_gap", code.last_gap, low=0, high=constants.STREAM_MAX_GAP)
    require_range(f"{what}: last_magnitude", code.last_magnitude, low=0, high=128)
    require_range(f"{what}: first_magnitude", code.first_magnitude, low=0, high=code.last_magnitude)
    require_range(f"{what}: code_words", code.words, low=0, high=constants.STREAM_MAX_CODE_WORDS)
    return code


def _decode(
    arrays: Arrays, stored: StoredLevel, code: Code, *, what: str, params: LayerParams
) -> npt.NDArray[Any]:
    """Decodes a CODED block to the records of a DELTA8 block."""
    gap_words = int(arrays["gap_words"][0])
    require_range(f"{what}: gap_words", gap_words, low=0, high=code.words)
    lengths, spare = coding.unpack_lengths(arrays["lengths"], code.last_gap + 1 + code.magnitudes)
    require_equal(f"{what}: bits after the last code length", spare, expected=0)
    by_gap, by_value = np.split(lengths, [code.last_gap + 1])
    by_magnitude = np.concatenate([np.zeros(code.first_magnitude, np.uint8), by_value])
    gaps = _decode_symbols(
        f"{what}: gaps",
        coding.PrefixCode.of_gaps(by_gap),
        arrays["codes"][:gap_words],
        stored.entries,
    )
    values = _decode_symbols(
        f"{what}: values",
        coding.PrefixCode.of_values(by_magnitude),
        arrays["codes"][gap_words:],
        stored.entries * params.block_size,
    )
    counts = arrays["counts"]
    deltas = gaps + 1
    deltas[(np.cumsum(counts) - counts)[counts > 0]] -= 1
    records = np.zeros(stored.entries, record_dtype(Encoding.DELTA8, params.block_size))
    records["delta"] = deltas
    records["values"] = values.astype(np.int8).reshape(-1, params.block_size)
    return records


def _decode_symbols(
    what: str, code: coding.PrefixCode, words: npt.NDArray[np.uint32], count: int
) -> npt.NDArray[np.int64]:
    """Decodes symbols that must fill the words, but for zero bits in the last one."""
    if not code.is_complete:
        raise FormatError(f"{what} must have a complete code: got lengths {code.lengths.tolist()}")
    try:
        symbols, end = code.decode(words, count)
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from error
    require_equal(f"{what}: words of codes", words.size, expected=-(-end // 32))
    if end % 32 and int(words[-1]) & ((1 << (32 - end % 32)) - 1):
        raise FormatError(f"{what}: bits after the last code must be zero")
    return symbols


def _unpack_tables(
    packed: npt.NDArray[np.uint8], bits: TableBits, *, what: str, params: LayerParams
) -> Arrays:
    try:
        bias, multiplier, shift, left = unpack_tables(packed, bits, params.out_channels)
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from error
    require_equal(f"{what}: bits after the last table", int(left.sum()), expected=0)
    return {"bias": bias, "multiplier": multiplier, "shift": shift}


def _check_crc(what: str, computed: int, stored: int) -> None:
    if computed != stored:
        raise FormatError(f"{what}: checksum must be {computed:#010x}: got {stored:#010x}")


def _check_reserved(what: str, header: np.void, *, unused: tuple[str, ...] = ()) -> None:
    for name in header.dtype.names or ():
        if any(header[name].tobytes()):
            got = header[name].tobytes().hex()
            if name in unused:
                raise FormatError(f"{what}: {name} must be zero: got {got}")
            if name.startswith("reserved_"):
                raise FormatError(
                    f"{what}: reserved bytes at {name.removeprefix('reserved_')} must be zero: "
                    f"got {got}"
                )
