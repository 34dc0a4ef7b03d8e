"""Weights in a file of their own, which the generated C opens at run time.

The generated text is the same for all trainings of a network: whatever training determines is in
the file, as arrays or as numbers. The file holds a digest of the text, so that the code refuses the
weights of another network. `tflm_ops/include/nk_weights.h` is the layout of the file.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import numpy.typing as npt

from nested_keras.codegen import ctext
from nested_keras.format.layout import align

MAGIC = b"NKW1"
_VERSION = 1
_ALIGNMENT = 16
_HEADER = struct.Struct("<4sIII32sI12x")
_CRC = slice(48, 52)
_TABLE_ROW = struct.Struct("<II")
# The first two arrays.
_INTEGERS, _REALS, _FIRST_FREE = 0, 1, 2


class ExternalConstants(ctext.Constants):
    """Constants whose C text looks them up in the opened file."""

    storage = "const"

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self._integers: list[int] = []
        self._reals: list[float] = []
        self._indices: dict[str, int] = {}

    def add(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """Adds an array, also where an equal one is there: other weights may differ there."""
        index = _FIRST_FREE + len(self.arrays)
        self.arrays.append(ctext.ConstArray(name, values))
        text = f"ARRAY({ctext.c_type(values.dtype.name)}, {index})"
        self._indices[text] = index
        return text

    def index_of(self, array: str) -> int:
        """The number of an array that `add` has returned."""
        return self._indices[array]

    def size_of(self, array: str) -> str:
        """C text of the bytes of an array that `add` has returned."""
        return f"ARRAY_SIZE({self._indices[array]})"

    def number(self, value: float) -> str:
        """C text of a number that training determines."""
        if isinstance(value, float):
            self._reals.append(value)
            return f"REAL({len(self._reals) - 1})"
        self._integers.append(value)
        return f"INTEGER({len(self._integers) - 1})"

    def all_arrays(self) -> list[npt.NDArray[np.generic]]:
        """The arrays of the file, in the order of its table."""
        numbers = [np.array(self._integers, np.int32), np.array(self._reals, np.float32)]
        return [*numbers, *(array.values for array in self.arrays)]

    def file(self, digest: bytes) -> bytes:
        """The contents of the file.

        Args:
            digest: sha256 of the generated text.
        """
        arrays = self.all_arrays()
        start = align(_HEADER.size + _TABLE_ROW.size * len(arrays), _ALIGNMENT)
        table, body = bytearray(), bytearray()
        places: dict[bytes, int] = {}  # equal arrays, such as those of a shared layer, lie once
        for array in arrays:
            content = array.astype(array.dtype.newbyteorder("<")).tobytes()
            if content not in places:
                places[content] = start + len(body)
                body += content.ljust(align(len(content), _ALIGNMENT), b"\0")
            table += _TABLE_ROW.pack(places[content], len(content))
        padding = bytes(start - _HEADER.size - len(table))
        size = start + len(body)
        head = _HEADER.pack(MAGIC, _VERSION, size, len(arrays), digest, 0)
        data = bytearray(head + table + padding + body)
        crc = zlib.crc32(data[_CRC.stop :], zlib.crc32(data[: _CRC.start]))
        data[_CRC] = struct.pack("<I", crc)
        return bytes(data)


def digest_of(*texts: str) -> bytes:
    """sha256 of generated texts."""
    return hashlib.sha256("\0".join(texts).encode("ascii")).digest()
