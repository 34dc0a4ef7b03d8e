"""Per-level requantisation tables (NumPy only).

A linear node at level l computes, in real numbers, y = g_l (W_l x) + b_l per output channel. The
twin is converted with the filter c W, c near g of the densest level, so the file holds int8 weights
w_q and a scale s_w per channel with c W ~ s_w w_q. With input scale s_x and output scale s_y,

    y / s_y = M_l (acc_l + bias_l)    acc_l = sum of w_q (x_q - z_x) over the level's weights
    M_l     = s_x s_w r_l / s_y       r_l   = g_l / c, of any sign
    bias_l  = round(b_l / (s_x s_w r_l))

so that the filter of every level is the same int8 set and only (bias, multiplier, shift) change.

Guard. |bias_l| has to stay below 2^30, because |acc + bias| then stays below 2^31 as long as |acc|
does not exceed 2^30, which holds for up to 2^30 / (127 * 255) = 33155 weights per channel. A gain
too small for the bias to fit (|r_l| < |b_l| / (2^30 s_x s_w)) is raised to the smallest gain that
fits. The output then is off by at most |acc| s_x s_w |r_raised - r_l| <= |b_l| |acc| / 2^30: for a
3x3x64 filter less than 1.8 % of the channel's bias at full scale of every input, usually far less.
A gain of exactly zero counts as positive.

A channel whose int8 weights are all zero at a level is its bias alone, with any gain. The BatchNorm
of a channel that never varies has a huge gain, and steps of s_x s_w r_l would be as coarse as the
output's own. So r_l is 1 there, and the bias has the steps of the densest level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Linear
from nested_keras.format import LayerKind
from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.typing import FloatArray

# A little below 2^30, because scales are rounded to float32 after the guard.
_MAX_BIAS = 2**30 - 2**10
# The converter limits biases to 2^30 - 1 and coarsens the filter's scale for that. The twin's own
# guard is stricter by more than any rounding, so that the converter never coarsens a scale.
_MAX_TWIN_BIAS = 2**29
# The converter coarsens the scale of channels whose largest weight is below 5e-7.
_MIN_TWIN_WEIGHT = 2e-6
# Gains that are zero or smaller still are raised, because the scale of a filter is a float32.
_MIN_WEIGHT = 2e-18
# How far apart the factors of equal nodes are: far more than float32 rounds.
_APART = 2.0**-10


@dataclass(frozen=True, eq=False)
class LevelTables:
    """The numbers that requantise a layer at each of N levels and O output channels.

    Attributes:
        bias: int32 [N, O].
        multiplier: int32 [N, O], Q31, of any sign.
        shift: int8 [N, O], -31..30, positive = left.
        filter_scale: float32 [N, O], positive: scale of the filter at that level, s_w |r_l|.
        sign: int8 [N, O], 1 or -1: sign of r_l.
    """

    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int8]
    filter_scale: npt.NDArray[np.float32]
    sign: npt.NDArray[np.int8]


def twin_gain(node: Linear, *, input_scale: float) -> FloatArray:
    """The factors c of the filter for the converter: the densest level's gains, guarded.

    Args:
        node: The node.
        input_scale: Scale of the node's input, s_x.

    Returns:
        float64 [O], not zero where the channel has weights. A factor differs from the densest
        level's gain only where that gain is too small. Two limits hold: the largest weight times
        the factor is at least 2e-18, and the bias stays within 2^29 steps.
    """
    gain = node.gain[-1]
    largest = np.abs(node.masked_filter(node.levels - 1)).max(axis=(1, 2, 3))
    has_weights = largest > 0
    divisor = np.where(has_weights, largest, 1.0)
    for_bias = np.abs(node.bias[-1]) * 127 / (_MAX_TWIN_BIAS * input_scale)
    least = np.where(has_weights, np.maximum(_MIN_WEIGHT, for_bias) / divisor, 0.0)
    return np.where(gain < 0, -1.0, 1.0) * np.maximum(np.abs(gain), least)


def lifts(nodes: Iterable[Linear], gains: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """How much larger the converter gets each filter, so that it rounds small weights as others.

    A small gain comes with large inputs, such as the 2^-23 of samples of 24 bits.

    Args:
        nodes: The linear nodes.
        gains: `twin_gain` of each node, by name.

    Returns:
        By name of node, powers of two [O]; 1 where the largest weight is large enough.
    """
    found = {}
    for node in nodes:
        weights = node.masked_filter(node.levels - 1) * gains[node.name].reshape(-1, 1, 1, 1)
        largest = np.abs(weights).max(axis=(1, 2, 3))
        small = (largest > 0) & (largest < _MIN_TWIN_WEIGHT)
        size = np.where(small, largest, _MIN_TWIN_WEIGHT)
        found[node.name] = 2.0 ** np.ceil(np.log2(_MIN_TWIN_WEIGHT / size))
    return found


def twin_gains(
    nodes: Iterable[Linear],
    scale: Callable[[str], float],
    source: Callable[[str], str] = lambda name: name,
) -> dict[str, FloatArray]:
    """Returns `twin_gain` of each node, in which equal nodes differ a little.

    The converter merges two equal operators on one tensor, and the equal filters of a convolution
    and a depthwise convolution. A factor of its own gives each node a filter scale of its own, and
    leaves the int8 weights as they are.

    Args:
        nodes: The linear nodes.
        scale: Gives the scale of a node's output, by name.
        source: Gives the name of the node whose values a node has, reshaped. The converter merges
            equal reshapes too.
    """
    gains = {}
    alike: Counter[tuple[Any, ...]] = Counter()
    # Whether a filter, in TFLite's order, was met first in a depthwise convolution.
    depthwise_first: dict[tuple[Any, ...], bool] = {}
    for node in nodes:
        gain = twin_gain(node, input_scale=scale(node.inputs[0]))
        weights = node.masked_filter(node.levels - 1) * gain.reshape(-1, 1, 1, 1)
        depthwise = node.kind is LayerKind.DEPTHWISE
        stored = weights.astype(np.float32).transpose((3, 1, 2, 0) if depthwise else (0, 1, 2, 3))
        filter_ = (stored.shape, stored.tobytes())
        same = (source(node.inputs[0]), node.kind, filter_)
        below = depthwise_first.setdefault(filter_, depthwise) is not depthwise
        gains[node.name] = gain * (1 + _APART * (-1 - alike[same] if below else alike[same]))
        alike[same] += 1
    return gains


def quantize_levels(
    node: Linear,
    *,
    twin_gain: FloatArray,
    input_scale: float,
    filter_scale: npt.NDArray[np.float32],
    output_scale: float,
    dense_bias: npt.NDArray[np.int32],
) -> LevelTables:
    """Computes the tables of all levels.

    The densest level gets the converter's own bias and scales, so that it equals the dense model.

    Args:
        node: The node.
        twin_gain: c, float64 [O].
        input_scale: s_x, the file's float32 value.
        filter_scale: s_w, the file's float32 values [O].
        output_scale: s_y, the file's float32 value.
        dense_bias: int32 [O], the converter's bias.

    Raises:
        ExportError: The converted file has a bias of 2^30 or more, or a multiplier does not fit.
    """
    if np.abs(dense_bias.astype(np.int64)).max() >= 2**30:
        raise ExportError(
            f"layer {node.name!r}: biases must be below 2^30 in magnitude: "
            f"got {int(np.abs(dense_bias.astype(np.int64)).max())}"
        )
    step = input_scale * filter_scale.astype(np.float64)
    ratio = np.divide(node.gain, twin_gain, out=np.zeros_like(node.gain), where=twin_gain != 0)
    ratio = np.where(_without_weights(node, twin_gain, filter_scale), 1.0, ratio)
    sign = np.where(ratio < 0, -1, 1).astype(np.int8)
    magnitude = np.maximum(np.abs(ratio), np.abs(node.bias) / (_MAX_BIAS * step))
    # The float32 scale in the file of one level's dense model, so that the dense model and this
    # table compute the multiplier from the same numbers. Zero is no valid scale; the smallest float
    # gives a multiplier of zero as well.
    scale = np.maximum(magnitude * filter_scale, np.finfo(np.float32).tiny).astype(np.float32)
    bias = np.rint(node.bias / (input_scale * scale.astype(np.float64))) * sign
    scale[-1], sign[-1], bias[-1] = filter_scale, 1, dense_bias
    product = input_scale * scale.astype(np.float64)
    if node.kind is LayerKind.FULLY_CONNECTED and scale.shape[1] == 1:
        # TFLite takes one scale for a scale per tensor and multiplies in float32.
        product = (np.float32(input_scale) * scale).astype(np.float64)
    real = product / output_scale
    pairs = [_multiplier(node, float(value)) for value in real.ravel()]
    multiplier, shift = np.array(pairs, np.int64).reshape(*real.shape, 2).transpose(2, 0, 1)
    return LevelTables(
        bias=bias.astype(np.int32),
        multiplier=(multiplier * sign).astype(np.int32),
        shift=shift.astype(np.int8),
        filter_scale=scale,
        sign=sign,
    )


def _without_weights(
    node: Linear, twin_gain: FloatArray, filter_scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Says for each level and channel whether all int8 weights in use are zero: bool [N, O]."""
    sizes = np.abs(node.filter) * np.abs(twin_gain).reshape(-1, 1, 1, 1)
    # A little below a half, which the converter may round to one.
    zero = sizes <= 0.4999 * filter_scale.reshape(-1, 1, 1, 1)
    return np.stack(
        [np.all(zero | (node.level_map > level), axis=(1, 2, 3)) for level in range(node.levels)]
    )


def _multiplier(node: Linear, real: float) -> tuple[int, int]:
    try:
        return quantize_multiplier(real)
    except ValueError as error:
        raise ExportError(f"layer {node.name!r}: {error}") from error
