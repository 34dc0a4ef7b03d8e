"""Which channels the Cortex-M kernels requantise exactly, in more cycles than the short way.

docs/kernels.md derives the limits of the short requantisation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nested_keras.format import LayerKind, LayerParams, NestedWeights
from nested_keras.format.folding import fold_bias

# The same numbers as in nk_dsp_conv.h and nk_depthwise_s8_dsp.c.
_SHORT_SHIFTS = (1, 22)
_LARGEST_DEPTHWISE_BIAS = 1 << 29


def is_clamped(params: LayerParams) -> bool:
    """Returns whether the outputs end inside the range of int8, for which no short way exists."""
    return (params.activation_min, params.activation_max) != (-128, 127)


def exact_channels(nested: NestedWeights, *, has_depthwise_kernel: bool) -> tuple[int, ...]:
    """Counts the channels of each level that leave the range of the short requantisation.

    Args:
        nested: A convolution or depthwise convolution.
        has_depthwise_kernel: Whether nk_depthwise_s8_dsp() runs the layer.

    Returns:
        The number of channels by level, which is 0 for a fully connected layer.
    """
    if nested.params.kind is LayerKind.FULLY_CONNECTED:
        return (0,) * nested.levels
    low, high = _SHORT_SHIFTS
    bias = np.abs(fold_bias(nested).astype(np.int64))
    right = -nested.shift.astype(int)
    exact = (right < low) | (right > high)
    if has_depthwise_kernel:
        exact |= bias > _LARGEST_DEPTHWISE_BIAS
    else:
        exact |= (bias > _largest_bias(nested.params)) | (nested.multiplier < 0)
        exact &= _has_weights(nested)
    return tuple(int(count) for count in exact.sum(axis=1))


def _largest_bias(params: LayerParams) -> int:
    """Returns the largest bias for the short way: nk_dsp_largest_bias()."""
    if is_clamped(params):
        return -1
    return (1 << 30) - 1 - params.weights_per_channel * 128 * 128


def _has_weights(nested: NestedWeights) -> npt.NDArray[np.bool_]:
    """Returns whether a channel has weights at a level, bool [N, O]; the others are constants."""
    channels = nested.params.out_channels
    level_map = np.where(nested.weights != 0, nested.level_map, nested.levels)
    first = level_map.reshape(channels, -1).min(axis=1)
    levels: npt.NDArray[np.int64] = np.arange(nested.levels)[:, None]
    return np.asarray(first[None, :] <= levels)
