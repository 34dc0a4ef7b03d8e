"""Choose how each level of each layer is stored: fewer bytes, or fewer predicted cycles.

A stream that `cycles.pack_fastest` made has records and EXACT tables. Two kinds of steps make it
smaller: packed tables for all levels of a layer, and CODED weights for one level. A step saves
bytes and costs the cycles of unpacking.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nested_keras.cortex_m.cycles import ImageSize, fastest, predict
from nested_keras.format import (
    Chooser,
    Encoding,
    LayerKind,
    NestedWeights,
    StoredLevel,
    Stream,
    in_place,
    most_compact,
    round_tables,
)
from nested_keras.format.constants import BLOCK_SIZES

MULTIPLIER_BITS = 9
"""Bits of a packed multiplier below its leading one."""

BIAS_FRACTION = 3
"""Bits of a packed bias below a step of the output."""


# CODED weights must save this share of a block, or the weights stay as kernels read them in place:
# the codes of a dense depthwise filter save a few percent, and cost more than the filter.
_WORTH = 0.1


def _compact(options: Sequence[StoredLevel]) -> StoredLevel:
    plain = most_compact([o for o in options if o.encoding is not Encoding.CODED])
    smallest = most_compact(options)
    return smallest if smallest.bytes <= (1 - _WORTH) * plain.bytes else plain


def pack_smallest(stream: Stream) -> Stream:
    """Packs a stream anew into few bytes, with rounded tables."""
    nested = _rounded(stream.weights)
    filter_channels = stream.params.filter_shape[-1]
    return min(
        (
            Stream.pack(_with_block_size(nested, block_size), choose=_compact)
            for block_size in BLOCK_SIZES
            if filter_channels % block_size == 0
        ),
        key=lambda packed: len(packed.data),
    )


def pack_within(streams: Sequence[tuple[Stream, ImageSize]], limit: int) -> list[Stream]:
    """Packs streams anew into at most so many bytes, for the fewest predicted cycles.

    The steps that save most bytes for each predicted cycle, summed over all levels, come first,
    until the streams fit. Where all steps are not enough, every stream becomes the smallest one.

    Args:
        streams: The streams of a model, and the sizes of their inputs and outputs.
        limit: Bytes of all streams together.

    Returns:
        Streams in the same order. They need more than `limit` bytes where `pack_smallest` does.
    """
    layers = [_Layer(stream, size) for stream, size in streams]
    steps = [step for layer in layers for step in layer.steps()]
    total = sum(len(layer.stream.data) for layer in layers)
    for step in sorted(steps, key=lambda step: step.cycles / step.saved):
        if total <= limit:
            break
        before = len(step.layer.stream.data)
        step.take()
        total += len(step.layer.stream.data) - before
    packed = [layer.stream for layer in layers]
    return packed if total <= limit else [pack_smallest(stream) for stream, _ in streams]


@dataclass(frozen=True, eq=False)
class _Step:
    """A change of a layer.

    Attributes:
        layer: The layer.
        saved: Bytes that the step saves, about.
        cycles: Cycles that the step costs in all levels together.
        take: Makes the change.
    """

    layer: _Layer
    saved: int
    cycles: float
    take: Callable[[], None]


class _Layer:
    """A layer whose storage changes step by step."""

    def __init__(self, stream: Stream, size: ImageSize) -> None:
        self.stream = stream
        self._fast = stream
        self._size = size
        self._nested = stream.weights
        self._coded: set[int] = set()
        self._packs_tables = False

    def steps(self) -> list[_Step]:
        """Returns the steps that save bytes, each alone."""
        steps = []
        for level in range(len(self._fast.levels)):
            changed = self._pack({level}, packs_tables=False)
            steps.append(self._step(changed, functools.partial(self._coded.add, level)))
        changed = self._pack(set(), packs_tables=True)
        steps.append(self._step(changed, self._pack_tables))
        return [step for step in steps if step.saved > 0]

    def _pack_tables(self) -> None:
        self._packs_tables = True

    def _step(self, changed: Stream, change: Callable[[], object]) -> _Step:
        def take() -> None:
            change()
            self.stream = self._pack(self._coded, packs_tables=self._packs_tables)

        saved = len(self._fast.data) - len(changed.data)
        return _Step(self, saved, self._cycles(changed) - self._cycles(self._fast), take)

    def _cycles(self, stream: Stream) -> float:
        ends = range(1, len(stream.levels) + 1)
        return sum(predict(stream.params, self._size, stream.levels[:end]) for end in ends)

    def _pack(self, coded: set[int], *, packs_tables: bool) -> Stream:
        nested = _rounded(self._nested) if packs_tables else self._nested
        return Stream.pack(nested, choose=self._chooser(coded, packs_tables=packs_tables))

    def _chooser(self, coded: set[int], *, packs_tables: bool) -> Chooser:
        fast = fastest(self._fast.params, self._size)

        def choose(options: Sequence[StoredLevel]) -> StoredLevel:
            level = options[0].level
            wanted = Encoding.CODED
            if level not in coded:
                encodings = {o.encoding for o in options}
                plain = in_place(options)
                wanted = fast(plain).encoding if len(encodings) > 1 else options[0].encoding
            same = [o for o in options if o.encoding is wanted] or list(options)
            return most_compact(same if packs_tables else _with_exact_tables(same))

        return choose


def _with_exact_tables(options: Sequence[StoredLevel]) -> list[StoredLevel]:
    """Returns the options whose tables kernels read in place."""
    return [option for option in options if not option.has_packed_tables]


def _rounded(nested: NestedWeights) -> NestedWeights:
    if nested.params.kind is LayerKind.FULLY_CONNECTED:
        return nested  # its tables are not packed
    return round_tables(nested, multiplier_bits=MULTIPLIER_BITS, bias_fraction=BIAS_FRACTION)


def _with_block_size(nested: NestedWeights, block_size: int) -> NestedWeights:
    params = dataclasses.replace(nested.params, block_size=block_size)
    return dataclasses.replace(nested, params=params)
