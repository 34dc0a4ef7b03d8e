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

from nested_keras.format import constants
from nested_keras.format.layout import (
    DELTA_DTYPES,
    block_bytes,
    block_sections,
    unpack_counts,
)
from nested_keras.format.types import (
    Encoding,
    FormatError,
    LayerKind,
    LayerParams,
    StoredLevel,
    require_equal,
    require_range,
)

Buffer: TypeAlias = bytes | bytearray | memoryview


# The arrays of a level's block, read-only: "bias" (folded, as stored), "multiplier" and "shift".
# The encoding adds "values", or "counts" (unpacked) and "records" of a delta and values.
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
        blocks.append(_read_block(data, start, level=len(blocks), params=params))
        start += blocks[-1][0].bytes
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
    encoding = Encoding(int(header["encoding"]))
    entries = int(header["entries"])
    if encoding == Encoding.DENSE:
        require_equal(f"{what}: level of a DENSE block", level, expected=0)
        dense_entries = params.out_channels * params.blocks_per_channel
        require_equal(f"{what}: entries of a DENSE block", entries, expected=dense_entries)
    if encoding == Encoding.EMPTY:
        require_equal(f"{what}: entries of an EMPTY block", entries, expected=0)
    count_bits = int(header["count_bits"])
    if encoding in DELTA_DTYPES:
        require_range(
            f"{what}: count_bits", count_bits, low=1, high=constants.STREAM_MAX_COUNT_BITS
        )
    else:
        require_equal(f"{what}: count_bits without counts", count_bits, expected=0)
    sections = block_sections(params, encoding, entries=entries, count_bits=count_bits)
    size = block_bytes(encoding, sections)
    require_equal(f"{what}: block_bytes", int(header["block_bytes"]), expected=size)
    if size > left:
        raise FormatError(f"{what} must have {size} bytes: got {left}")
    raw = bytes(data[start : start + size])
    crc = zlib.crc32(raw[constants.LEVEL_HEADER_BYTES :], zlib.crc32(raw[:28]))
    _check_crc(what, crc, int(header["crc32"]))
    _check_reserved(what, header)
    ends = [section.end for section in sections]
    for end, following in zip(ends, [*(s.start for s in sections[1:]), size], strict=True):
        if any(raw[end:following]):
            padding = raw[end:following].hex()
            raise FormatError(f"{what}: padding at byte {start + end} must be zero: got {padding}")
    arrays = {
        section.name: np.frombuffer(raw, section.dtype, section.count, section.start)
        for section in sections
    }
    if encoding in DELTA_DTYPES:
        counts, spare = unpack_counts(arrays["counts"], count_bits, params.out_channels)
        require_equal(f"{what}: sum of the channels' counts", int(counts.sum()), expected=entries)
        require_equal(f"{what}: bits after the last count", int(spare.sum()), expected=0)
        arrays["counts"] = counts
    stored = StoredLevel(
        level=level,
        encoding=encoding,
        entries=entries,
        count_bits=count_bits,
        nnz=int(header["nnz"]),
        bytes=size,
    )
    return stored, arrays


def _check_crc(what: str, computed: int, stored: int) -> None:
    if computed != stored:
        raise FormatError(f"{what}: checksum must be {computed:#010x}: got {stored:#010x}")


def _check_reserved(what: str, header: np.void) -> None:
    for name in header.dtype.names or ():
        if name.startswith("reserved_") and any(header[name].tobytes()):
            raise FormatError(
                f"{what}: reserved bytes at {name.removeprefix('reserved_')} must be zero: "
                f"got {header[name].tobytes().hex()}"
            )
