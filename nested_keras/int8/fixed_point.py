"""Fixed-point arithmetic of TFLite's int8 rules, exact on NumPy integer arrays.

docs/quantization.md derives each function. All functions compute on int64 so that no intermediate
overflows, and wrap or saturate to 32 bits exactly where the C kernels do.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer] | int

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Writes a real factor as Q31 multiplier and power of two: real ~ multiplier * 2**(shift - 31).

    TFLite's QuantizeMultiplier: the mantissa is rounded half away from zero; factors below 2**-32
    become zero.

    Args:
        real: Any finite factor; a negative one gives a negative multiplier.

    Returns:
        `(multiplier, shift)`: |multiplier| in [2**30, 2**31 - 1] or 0; shift in -31..30, positive =
        left.

    Raises:
        ValueError: If `real` is not finite, or needs a shift above 30.
    """
    if not math.isfinite(real):
        raise ValueError(f"a multiplier must be finite: got {real}")
    mantissa, shift = math.frexp(abs(real))
    magnitude = math.floor(mantissa * 2**31 + 0.5)
    if magnitude == 2**31:
        magnitude //= 2
        shift += 1
    if magnitude == 0 or shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"a multiplier must be below 2**30: got {real}")
    return (magnitude if real > 0 else -magnitude), shift


def round_half_away(x: npt.ArrayLike) -> Int64Array:
    """Rounds real numbers to the nearest integers, halves away from zero, as C's round().

    Args:
        x: Any shape; no NaN. A number beyond +-2**31 counts as +-2**31.
    """
    wide = np.clip(np.asarray(x, np.float64), -(2.0**31), 2.0**31)
    return (np.sign(wide) * np.floor(np.abs(wide) + 0.5)).astype(np.int64)


def wrap_int32(x: Integers) -> Int64Array:
    """Reduces to the int32 range modulo 2**32, as two's complement hardware does."""
    wide = np.asarray(x, np.int64)
    return ((wide + 2**31) & 0xFFFFFFFF) - 2**31


def saturating_rounding_doubling_high_mul(a: Integers, b: Integers) -> Int64Array:
    """Returns a*b / 2**31, halves up: gemmlowp's SaturatingRoundingDoublingHighMul.

    Args:
        a: int32 values.
        b: int32 values, broadcast against `a`.

    Returns:
        int32 values; only (-2**31) * (-2**31) saturates, to 2**31 - 1.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    # gemmlowp truncates (product + nudge) / 2**31 with nudge = 2**30 for a product >= 0 and
    # 1 - 2**30 below: for either sign that is floor((product + 2**30) / 2**31).
    high: Int64Array = (product + 2**30) >> 31
    return np.minimum(high, INT32_MAX)


def rounding_divide_by_pot(x: Integers, exponent: Integers) -> Int64Array:
    """Divides by 2**exponent, rounding half away from zero: gemmlowp's RoundingDivideByPOT.

    Args:
        x: int32 values.
        exponent: 0..31, broadcast against `x`.
    """
    wide = np.asarray(x, np.int64)
    power = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << power) - 1
    threshold = (mask >> 1) + (wide < 0)
    quotient: Int64Array = (wide >> power) + ((wide & mask) > threshold)
    return quotient


def saturating_shift_left(x: Integers, amount: int) -> Int64Array:
    """Multiplies by 2**amount and clamps to the int32 range."""
    return np.clip(np.asarray(x, np.int64) << amount, INT32_MIN, INT32_MAX)


def multiply_by_quantized_multiplier(
    x: Integers, multiplier: Integers, shift: Integers
) -> Int64Array:
    """Computes x * multiplier * 2**(shift - 31) with TFLite's two roundings (MBQM).

    The left shift wraps modulo 2**32; TFLite's tables never make it overflow.

    Args:
        x: int32 values, shape [..., channels].
        multiplier: Q31, any sign, a scalar or one per channel.
        shift: -31..30, positive = left, a scalar or one per channel.

    Returns:
        int32 values as int64, broadcast shape.
    """
    power = np.asarray(shift, np.int64)
    shifted = wrap_int32(np.asarray(x, np.int64) << np.maximum(power, 0))
    high = saturating_rounding_doubling_high_mul(shifted, multiplier)
    return rounding_divide_by_pot(high, np.maximum(-power, 0))


def multiply_with_single_rounding(x: Integers, multiplier: Integers, shift: Integers) -> Int64Array:
    """Computes x * multiplier * 2**(shift - 31), rounded once, half away from zero.

    This is the rule of FULLY_CONNECTED: TFLite's reference kernel rounds the product with the real
    factor once, in double. The convolutions round twice.

    Args:
        x: int32 values (taken modulo 2**32), shape [..., channels].
        multiplier: Q31, any sign, a scalar or one per channel.
        shift: -31..30, positive = left, a scalar or one per channel.

    Returns:
        int64 values, broadcast shape; not limited to the int32 range.
    """
    product = wrap_int32(x) * np.asarray(multiplier, np.int64)
    total = 31 - np.asarray(shift, np.int64)
    half = np.int64(1) << (total - 1)
    magnitude: Int64Array = (np.abs(product) + half) >> total
    return np.sign(product) * magnitude
