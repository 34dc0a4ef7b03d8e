"""Say which convolutions run as chains, and how often their parts run: nk_dsp_chain.c."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from nested_keras.format import Encoding, LayerKind, LayerParams, StoredLevel

# The same numbers as in tflm_ops/src/cortex_m/nk_dsp_chain.c.
_MOST_POSITIONS = 4096
_LARGE_DELTAS = 128
_LEAST_RUNS = 300
_TILE = 8
_MOST_MEAN = 24
_WORDS = 6
# Words of a list of loops, for a channel and for its entries: nk_dsp_list.c.
_LOOP_WORDS = 7
_LOOP_ENTRY_WORDS = 3
_MOST_WEIGHTS = 255


def may_take(params: LayerParams, levels: Sequence[StoredLevel]) -> bool:
    """Says whether the lowest of some levels can run as chains, whatever the number of its weights.

    Args:
        params: The layer.
        levels: Its levels.
    """
    stored = [level.encoding for level in levels if level.encoding is not Encoding.EMPTY]
    return (
        params.kind is LayerKind.CONV
        and params.block_size == 1
        and math.prod(params.filter_shape[1:]) <= _MOST_POSITIONS
        and stored[:1] == [Encoding.DELTA8]
    )


def may_pay(params: LayerParams, pixels: int) -> bool:
    """Says whether a layer of so many output pixels, batches included, can pay for a list."""
    return pixels // _TILE * params.out_channels >= _LEAST_RUNS


def takes(params: LayerParams, levels: Sequence[StoredLevel], tiles: int) -> bool:
    """Says whether tiles of the full width run the levels as chains.

    Args:
        params: The layer, all of whose channels have the short requantisation.
        levels: The levels that store weights, up to the level that runs.
        tiles: The tiles of the full width.

    Returns:
        Whether they do, with no more scratch than the layer needs and channels of like length.
    """
    weights, channels = sum(level.entries for level in levels), params.out_channels
    if (
        not may_take(params, levels)
        or weights > _MOST_WEIGHTS * channels
        or any(level.encoding is not Encoding.DELTA8 for level in levels)
        or tiles * channels < _LEAST_RUNS
    ):
        return False
    if len(levels) < 2:
        return weights <= _MOST_MEAN * channels
    room = 4 * (_LOOP_WORDS + _LOOP_ENTRY_WORDS * len(levels) - _WORDS) - 1
    return 2 * weights <= room * channels and weights <= (8 * tiles - 40) * channels


def features(
    params: LayerParams, levels: Sequence[StoredLevel], tiles: int, lists: int
) -> Counter[str]:
    """Counts the parts of chains; see `cycles.features`.

    Args:
        params: The layer.
        levels: The levels that store weights, up to the level that runs.
        tiles: The tiles of the full width.
        lists: How often the list is made.

    Returns:
        Counts by the names in cycles.json.
    """
    weights, channels = sum(level.entries for level in levels), params.out_channels
    counts = Counter({"chain.channel": tiles * channels, "chain.weight": tiles * weights})
    counts["chain.list"] = lists * channels
    if len(levels) > 1:
        counts["chain.joined"] = lists * channels * len(levels)
        if math.prod(params.filter_shape[1:]) > _LARGE_DELTAS:  # every second level in reverse
            counts["chain.joined.reversed"] = lists * weights
    return counts
