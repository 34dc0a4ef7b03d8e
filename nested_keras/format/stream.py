"""A packed stream, parsed once where the bytes enter."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nested_keras.format import constants
from nested_keras.format.decoder import check, unpack
from nested_keras.format.encoder import encode as encode_levels, smallest
from nested_keras.format.reader import Buffer
from nested_keras.format.types import (
    Chooser,
    LayerParams,
    NestedWeights,
    StoredLevel,
    require_range,
)
from nested_keras.typing import Int8Array


@dataclass(frozen=True, eq=False)
class Stream:
    """The packed weights of one layer, checked.

    Make one with `parse` from bytes, or with `pack` from weights.

    Attributes:
        data: The bytes of the stream; a multiple of 16 bytes.
        params: The layer.
        levels: A description of each stored level, level 0 first.
    """

    data: bytes = field(repr=False)
    params: LayerParams
    levels: tuple[StoredLevel, ...]
    _unpack: Callable[[], NestedWeights] = field(repr=False)

    @classmethod
    def parse(cls, data: Buffer) -> Stream:
        """Parses and checks a whole stream; the length of the stream bounds the memory.

        Args:
            data: The whole stream, or its prefix up to the end of a level block.

        Returns:
            The stream, with as many levels as there are blocks.

        Raises:
            FormatError: If the stream is damaged; the text says what was expected and what came.
        """
        checked = check(data)
        return cls(bytes(data), checked.params, checked.levels, functools.partial(unpack, checked))

    @classmethod
    def pack(cls, nested: NestedWeights, *, choose: Chooser = smallest) -> Stream:
        """Packs a layer.

        A zero weight is not stored, whatever its level. A level that adds no weight is EMPTY; for
        any other level `choose` picks an encoding.

        Args:
            nested: The layer, which checked itself when made.
            choose: Called for each level that adds weights with its options: DELTA8, DELTA16 and,
                at level 0, DENSE. By default the smallest block is made; `cortex_m.cycles.fastest`
                makes a chooser that goes by predicted cycles.

        Returns:
            The stream.

        Raises:
            FormatError: If a level block does not fit into 2^32-1 bytes, or a folded bias into 32
                bits.
        """
        data, levels = encode_levels(nested, choose=choose)
        return cls(data, nested.params, levels, functools.partial(_canonical, nested))

    @functools.cached_property
    def weights(self) -> NestedWeights:
        """The weights and tables; a weight is zero exactly where its level is N.

        Raises:
            FormatError: If the header asks for more weights than the length of the stream
                justifies.
        """
        return self._unpack()

    def kernel(self, level: int) -> Int8Array:
        """Returns the filter of one level: int8 [O, kernel_h, kernel_w, I], zero where pruned."""
        return np.where(self.weights.level_map <= level, self.weights.weights, np.int8(0))

    def nnz(self, level: int) -> int:
        """Returns the number of nonzero weights that a level uses."""
        return sum(stored.nnz for stored in self.levels[: level + 1])

    def prefix_bytes(self, level: int) -> int:
        """Returns the length of the prefix that a level reads: header and blocks 0..level."""
        blocks = sum(stored.bytes for stored in self.levels[: level + 1])
        return constants.STREAM_HEADER_BYTES + blocks

    def strip(self, levels: int) -> Stream:
        """Returns the stream of the `levels` sparsest levels.

        Raises:
            FormatError: If the stream holds fewer levels, or `levels` is not positive.
            TypeError: If `levels` is not an integer.
        """
        levels = operator.index(levels)
        require_range("levels", levels, low=1, high=len(self.levels))
        return Stream(
            data=self.data[: self.prefix_bytes(levels - 1)],
            params=self.params,
            levels=self.levels[:levels],
            _unpack=lambda: _cut(self.weights, levels),
        )


def encode(nested: NestedWeights, *, choose: Chooser = smallest) -> bytes:
    """Packs a layer and returns the bytes; see `Stream.pack`."""
    return Stream.pack(nested, choose=choose).data


def _canonical(nested: NestedWeights) -> NestedWeights:
    """Returns the layer as a reader finds it: zeros exactly where no level uses a weight."""
    stored = (nested.level_map < nested.levels) & (nested.weights != 0)
    return dataclasses.replace(
        nested,
        weights=np.where(stored, nested.weights, np.int8(0)),
        level_map=np.where(stored, nested.level_map, np.uint8(nested.levels)),
    )


def _cut(nested: NestedWeights, levels: int) -> NestedWeights:
    """Returns the `levels` sparsest levels of a layer."""
    kept = nested.level_map < levels
    return dataclasses.replace(
        nested,
        weights=np.where(kept, nested.weights, np.int8(0)),
        level_map=np.where(kept, nested.level_map, np.uint8(levels)),
        bias=nested.bias[:levels],
        multiplier=nested.multiplier[:levels],
        shift=nested.shift[:levels],
    )
