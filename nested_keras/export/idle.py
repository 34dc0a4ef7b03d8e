"""Weights that cannot change any output.

BatchNorm almost switches a channel off where gamma is near zero, or where the variance in training
was near zero. The int8 weights of such a channel, quantised per channel, look like other weights,
but the multiplier is so small that the output is equal for every input. MobileNets have many such
channels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.format import LayerKind, NestedWeights
from nested_keras.int8.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    multiply_by_quantized_multiplier,
    multiply_with_single_rounding,
)
from nested_keras.typing import Value


def drop_idle(layer: NestedWeights) -> NestedWeights:
    """Takes weights out of the levels at which they cannot change an output.

    Every output of every level stays as it is, bit for bit.

    Args:
        layer: A layer's weights and tables.

    Returns:
        The layer with a level map that begins with the first level at which a weight has an effect.
    """
    channels = layer.params.out_channels
    first_use = layer.level_map.reshape(channels, -1)
    level_map = np.full_like(first_use, layer.levels)
    for level in reversed(range(layer.levels)):
        busy = ~_constant_channels(layer, level)
        level_map = np.where(busy[:, None] & (first_use <= level), np.uint8(level), level_map)
    return dataclasses.replace(layer, level_map=level_map.reshape(layer.level_map.shape))


def _constant_channels(layer: NestedWeights, level: int) -> npt.NDArray[np.bool_]:
    """Returns for each channel whether all inputs give the same output, bool [O].

    The sum of a channel lies between the sums of the two most extreme inputs. The output either
    never decreases or never increases with the sum. So equal outputs at both ends mean equal
    outputs for all sums between.
    """
    p = layer.params
    used = np.where(layer.level_map <= level, layer.weights, 0).reshape(p.out_channels, -1)
    products = np.multiply.outer(
        (p.input_offset - 128, p.input_offset + 127), used.astype(np.int64)
    )
    ends = np.stack([products.min(axis=0).sum(axis=1), products.max(axis=0).sum(axis=1)])
    ends += layer.bias[level]
    outputs = _requantize(layer, level, ends) + p.output_offset
    low, high = np.clip(outputs, p.activation_min, p.activation_max)
    # Where 32 bits overflow, or a shift to the left may, the output does not follow the sum.
    numbers = np.concatenate([ends, outputs])
    fits = ((numbers >= INT32_MIN) & (numbers <= INT32_MAX)).all(axis=0)
    return np.asarray((low == high) & fits & (layer.shift[level] <= 0))


def _requantize(layer: NestedWeights, level: int, sums: Value) -> Any:
    connected = layer.params.kind is LayerKind.FULLY_CONNECTED
    multiply = multiply_with_single_rounding if connected else multiply_by_quantized_multiplier
    return multiply(sums, layer.multiplier[level], layer.shift[level])
