"""Predict the Cortex-M7 cycles of unpacking CODED levels and packed tables before a layer runs.

nk_stream_parts.c unpacks them once a call, channels after channels. The cycles are modelled
(benchmarks/cycle_model.md): the loop of nk_code_fours.S, and the C code around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.format import LayerParams, StoredLevel

# One entry of a CODED level, of single weights and of blocks; benchmarks/README.md has the listing.
_ENTRY = 8.25
_BLOCK_ENTRY, _BLOCK_WEIGHT = 24.0, 14.0
# A channel of a CODED level, and the two tables of its codes.
_CODED_CHANNEL, _CODE_TABLES = 58.0, 4500.0
# Packed tables of a channel, and the weights that are summed up for its folded bias.
_TABLES_CHANNEL, _SUM = 95.0, 1.5


def unpack_cycles(params: LayerParams, levels: Sequence[StoredLevel]) -> float:
    """Returns the predicted cycles of unpacking in one call; 0 where nothing is packed.

    Args:
        params: The layer.
        levels: The stored levels up to the level that runs.
    """
    block_size, channels = params.block_size, params.out_channels
    entry = _ENTRY if block_size == 1 else _BLOCK_ENTRY + block_size * _BLOCK_WEIGHT
    cycles = 0.0
    for level in levels:
        if level.code is not None:
            cycles += level.entries * entry + channels * _CODED_CHANNEL + _CODE_TABLES
    if levels and levels[-1].has_packed_tables:
        cycles += channels * _TABLES_CHANNEL
        cycles += _SUM * sum(level.entries for level in levels) * block_size
    return cycles
