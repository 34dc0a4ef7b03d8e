"""Element-wise int8 functions as 256-entry tables, with the arithmetic of TFLite's kernels.

docs/quantization.md gives the formulas. Each function returns int8[256]: entry x + 128 is the
output for input x. Where TFLite computes in float32, so does this module, operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import (
    Int64Array,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
)

Float32Array: TypeAlias = npt.NDArray[np.float32]
Table: TypeAlias = npt.NDArray[np.int8]

_INPUTS: Int64Array = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True)
class Scales:
    """Per-tensor quantisation of an element-wise operator: scales are float32 values."""

    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int


def logistic(scales: Scales) -> Table:
    """Returns 1 / (1 + exp(-x)); TFLite wants output scale 1/256 and zero point -128."""

    def sigmoid(x: float) -> np.float32:
        exp = np.float32(math.exp(min(-x, 88.0)))  # float32 ends at exp(88.7)
        return np.float32(1) / (np.float32(1) + exp)

    return _transform(sigmoid, scales)


def tanh(scales: Scales) -> Table:
    """Returns the hyperbolic tangent."""
    return _transform(lambda x: np.float32(math.tanh(x)), scales)


def tabulate(function: Callable[[Float32Array], npt.ArrayLike], scales: Scales) -> Table:
    """Returns any function of each value alone, rounded once; a NaN becomes real zero.

    Args:
        function: Takes and returns float32 [256].
        scales: Quantisation of input and output.
    """
    real = np.float32(scales.input_scale) * (_INPUTS - scales.input_zero_point).astype(np.float32)
    steps = np.asarray(function(real), np.float64) / scales.output_scale
    return _saturate(round_half_away(np.nan_to_num(steps)) + scales.output_zero_point)


def _transform(function: Callable[[float], np.float32], scales: Scales) -> Table:
    """Dequantises, applies, quantises by the inverse scale, in float32: TFLite's LUTPopulate.

    `function` is evaluated in double and rounded to float32 once, like a correctly rounded expf.
    """
    inverse = np.float32(1) / np.float32(scales.output_scale)
    real = np.float32(scales.input_scale) * (_INPUTS - scales.input_zero_point).astype(np.float32)
    y = np.array([function(float(x)) for x in real], np.float32) * inverse
    return _saturate(round_half_away(y) + scales.output_zero_point)


def rescale(scales: Scales) -> Table:
    """Returns QUANTIZE between two int8 scales; the real multiplier is a quotient in double."""
    factor = scales.input_scale / scales.output_scale
    return _scaled(factor, scales)


def relu(scales: Scales, *, maximum: float = math.inf) -> Table:
    """Returns min(max(x, 0), maximum); the real multiplier is a quotient in float32."""
    factor = float(np.float32(scales.input_scale) / np.float32(scales.output_scale))
    y = _scaled(factor, scales)
    high = 127
    if math.isfinite(maximum):
        steps = int(round_half_away(np.float32(maximum) / np.float32(scales.output_scale)))
        high = min(high, scales.output_zero_point + steps)
    return np.clip(y, max(-128, scales.output_zero_point), high).astype(np.int8)


def leaky_relu(scales: Scales, *, alpha: float) -> Table:
    """Returns x for x >= 0, alpha * x below; both real multipliers are float32 expressions."""
    input_scale, output_scale = np.float32(scales.input_scale), np.float32(scales.output_scale)
    positive = _scaled(float(input_scale / output_scale), scales)
    slope = float(input_scale * np.float32(alpha) / output_scale)
    # The kernel multiplies by |slope| and negates the result, because a negative slope would round
    # differently.
    multiplier, shift = quantize_multiplier(abs(slope))
    scaled = multiply_by_quantized_multiplier(_INPUTS - scales.input_zero_point, multiplier, shift)
    negative = _saturate((scaled if slope >= 0 else -scaled) + scales.output_zero_point)
    return np.where(scales.input_zero_point <= _INPUTS, positive, negative)


def hard_swish(scales: Scales) -> Table:
    """Computes x * min(max(x + 3, 0), 6) / 6 in 16-bit fixed point.

    Raises:
        ValueError: If the output scale is below 1/128 of the input scale, which TFLite refuses.
    """
    high_resolution = np.float32(1 / 128) * np.float32(scales.input_scale)
    output_multiplier, output_shift = quantize_multiplier(
        float(high_resolution / np.float32(scales.output_scale))
    )
    if output_shift > 0:
        raise ValueError(
            f"hard_swish needs an output scale of at least 1/128 of the input scale "
            f"{scales.input_scale}: got {scales.output_scale}"
        )
    # 3.0 is 32768 steps of this scale.
    relu_multiplier, relu_shift = quantize_multiplier(
        float(high_resolution / np.float32(3 / 32768))
    )
    x = (_INPUTS - scales.input_zero_point) << 7
    preshift = _high_mul_16(x, _to_int16_multiplier(output_multiplier))
    # The relu-like factor in [-1, 1]. One left shift comes after the multiplication, so that
    # saturation acts on the result only.
    factor = x
    if relu_shift > 0:
        factor = _saturate_16(factor << (relu_shift - 1))
    factor = _high_mul_16(factor, _to_int16_multiplier(relu_multiplier))
    if relu_shift > 0:
        factor = _saturate_16(factor << 1)
    else:
        factor = rounding_divide_by_pot(factor, -relu_shift)
    factor = (factor + 2**15) >> 1
    product = factor * preshift
    # The truncation towards zero cancels the upward bias of the products before.
    y = np.sign(product) * (np.abs(product) >> 15)
    return _saturate(rounding_divide_by_pot(y, -output_shift) + scales.output_zero_point)


def _scaled(factor: float, scales: Scales) -> Table:
    multiplier, shift = quantize_multiplier(factor)
    y = multiply_by_quantized_multiplier(_INPUTS - scales.input_zero_point, multiplier, shift)
    return _saturate(y + scales.output_zero_point)


def _saturate(x: Int64Array) -> Table:
    return np.clip(x, -128, 127).astype(np.int8)


def _saturate_16(x: Int64Array) -> Int64Array:
    return np.clip(x, -(2**15), 2**15 - 1)


def _to_int16_multiplier(multiplier: int) -> int:
    """Turns Q31 into Q15, rounded and saturated."""
    return min((multiplier + 2**15) >> 16, 2**15 - 1)


def _high_mul_16(a: Int64Array, b: int) -> Int64Array:
    """Computes a * b / 2**15 rounded to nearest (halves up) for int16 operands, b >= 0."""
    return (a * b + 2**14) >> 15
