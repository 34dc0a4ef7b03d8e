"""Measure the bits of a stored weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nested_keras import format as nested_format
from nested_keras.bench.layer_cases import LAYERS, SPARSITIES, Layer, make_case
from nested_keras.format import Encoding, StoredLevel

BLOCK_SIZES = (1, 2, 4)
_DELTA_BYTES = {Encoding.DELTA8: 1, Encoding.DELTA16: 2}


@dataclass(frozen=True)
class StorageRow:
    """Streams of one sparsity and block shape.

    Attributes:
        layer: Name of the layer, or "all".
        sparsity: Share of zero blocks, 0..1.
        block_shape: "1x1", "1x2" or "1x4".
        nonzeros: Stored weights, without zeros.
        bits_per_nonzero: Bits of deltas, weights, fillers and the counts of all channels. The
            tables of bias, multiplier and shift do not count, because every layer has them.
    """

    layer: str
    sparsity: float
    block_shape: str
    nonzeros: int
    bits_per_nonzero: float


def rows() -> tuple[StorageRow, ...]:
    """The sparse layers of the kernel table one by one, then all layers together."""
    layers = [
        layer
        for layer in LAYERS
        if layer.sparsities == SPARSITIES and not layer.is_nested and not layer.is_plain
    ]
    made = []
    for block_size in BLOCK_SIZES:
        for sparsity in SPARSITIES[1:]:
            sizes = [_stored(layer, sparsity, block_size) for layer in layers]
            names = [layer.name for layer in layers]
            total = (sum(nonzeros for nonzeros, _ in sizes), sum(stored for _, stored in sizes))
            for name, (nonzeros, stored) in zip([*names, "all"], [*sizes, total], strict=True):
                bits = round(8 * stored / nonzeros, 3)
                made.append(StorageRow(name, sparsity, f"1x{block_size}", nonzeros, bits))
    return tuple(made)


def _stored(layer: Layer, sparsity: float, block_size: int) -> tuple[int, int]:
    """Nonzero weights, and bytes of counts and records when stored as deltas."""

    def deltas(options: Sequence[StoredLevel]) -> StoredLevel:
        return nested_format.smallest([o for o in options if o.encoding in _DELTA_BYTES])

    case = make_case(layer, sparsity, block_size, choose=deltas)
    assert case.stream is not None
    (level,) = case.stream.levels
    record = _DELTA_BYTES[level.encoding] + block_size
    counts = -(-layer.out_channels * level.count_bits // 8)
    return level.nnz, level.entries * record + counts
