"""Fold the input's offset into the bias, as the stream stores the bias.

For the weights w that a level uses, the sum of w * (x + input_offset) is the sum of w * x plus
input_offset times the sum of w. The second term does not depend on the input, so the stored bias
holds it: see "Folded bias" in docs/nested_format.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.format.types import FormatError, LayerParams, NestedWeights
from nested_keras.typing import Int8Array, Int32Array, UInt8Array

INT32 = np.iinfo(np.int32)


def fold_bias(nested: NestedWeights) -> Int32Array:
    """Returns the bias to store, int32 [N, O]: bias + input_offset * (sum of channel's weights).

    The sum of level l is over the weights that levels 0..l use, so the sum stays right when the
    stream is cut after level l.

    Raises:
        FormatError: If a folded bias does not fit into 32 bits.
    """
    sums = _weight_sums(nested.weights, nested.level_map, levels=nested.levels)
    return check_folded(nested.bias, params=nested.params, sums=sums)


def check_folded(
    bias: Int32Array, *, params: LayerParams, sums: npt.NDArray[np.int64]
) -> Int32Array:
    """Folds a bias, int32 [N, O]; see `fold_bias`.

    Args:
        bias: The bias, int32 [N, O].
        params: The layer.
        sums: Sum of the weights that each level uses of each channel, [N, O].

    Raises:
        FormatError: If a folded bias does not fit into 32 bits.
    """
    offset = params.input_offset
    folded = bias + offset * sums
    if (wrong := _outside_int32(folded)) is not None:
        raise FormatError(
            f"level {wrong[0]}: folded bias of channel {wrong[1]} must be in "
            f"{INT32.min}..{INT32.max}: got {folded[wrong]} = bias {bias[wrong]} "
            f"+ input_offset {offset} * sum of weights {sums[wrong]}"
        )
    return folded.astype(np.int32)


def unfold_bias(
    stored: Int32Array, *, params: LayerParams, sums: npt.NDArray[np.int64]
) -> Int32Array:
    """Inverts `fold_bias`: returns the bias, int32 [N, O].

    Args:
        stored: Folded bias, int32 [N, O].
        params: The layer.
        sums: Sum of the weights that each level uses of each channel, [N, O].

    Raises:
        FormatError: If a bias does not fit into 32 bits.
    """
    offset = params.input_offset
    bias = stored - offset * sums
    if (wrong := _outside_int32(bias)) is not None:
        raise FormatError(
            f"level {wrong[0]}: bias of channel {wrong[1]} must be in "
            f"{INT32.min}..{INT32.max}: got {bias[wrong]} = folded bias {stored[wrong]} "
            f"- input_offset {offset} * sum of weights {sums[wrong]}"
        )
    return bias.astype(np.int32)


def _weight_sums(
    weights: Int8Array, level_map: UInt8Array, *, levels: int
) -> npt.NDArray[np.int64]:
    """Sums the weights that each level uses of each channel, [N, O]; at most 2^23 in size."""
    inner = tuple(range(1, weights.ndim))
    return np.stack(
        [
            weights.sum(axis=inner, where=level_map <= level, dtype=np.int64)
            for level in range(levels)
        ]
    )


def _outside_int32(values: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """Finds level and channel of the first value, [N, O], that 32 bits do not hold."""
    outside = np.argwhere((values < INT32.min) | (values > INT32.max))
    return (int(outside[0, 0]), int(outside[0, 1])) if outside.size else None
