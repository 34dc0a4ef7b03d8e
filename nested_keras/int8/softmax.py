"""int8 softmax in gemmlowp fixed point, as TFLite's reference kernel computes it.

A `Q m.n` number is an int32 `raw` with value raw / 2**n and m = 31 - n integer bits. The product of
Qa and Qb numbers is `saturating_rounding_doubling_high_mul`, with a + b integer bits.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nested_keras.int8.fixed_point import (
    INT32_MAX,
    Int64Array,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    saturating_shift_left,
)

_DIFF_INTEGER_BITS = 5  # x - max(x), scaled, is Q5.26
_SUM_INTEGER_BITS = 12  # the sum of exponentials is Q12.19

# exp(-2**k) in Q0.31 for k = -2..4: one factor per bit of the Q5.26 argument from 1/4 upwards.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8), Q0.31
_ONE_THIRD = 715827883  # Q0.31
_48_OVER_17 = 1515870810  # Q2.29
_MINUS_32_OVER_17 = -1010580540  # Q2.29


def softmax_parameters(beta: float, input_scale: float) -> tuple[int, int, int]:
    """Returns the parameters of the kernel for one input scale.

    Args:
        beta: TFLite's softmax temperature factor, 1.0 for a Keras softmax.
        input_scale: Scale of the int8 input.

    Returns:
        `(input_multiplier, input_left_shift, diff_min)`: differences x - max(x) below diff_min
        count as exp = 0.

    Raises:
        ValueError: If beta * input_scale is too small for Q5.26 (at most 2**-26).
    """
    real = min(beta * input_scale * 2 ** (31 - _DIFF_INTEGER_BITS), 2.0**31 - 1.0)
    if real <= 1.0:
        raise ValueError(f"softmax needs beta * scale above 2**-26: got {beta * input_scale}")
    mantissa, shift = math.frexp(real)
    if shift > 30:  # the cap of `real` lies above the limit of the general function
        multiplier = min(math.floor(mantissa * 2**31 + 0.5), INT32_MAX)
    else:
        multiplier, shift = quantize_multiplier(real)
    radius = math.floor((2**_DIFF_INTEGER_BITS - 1) * 2 ** (31 - _DIFF_INTEGER_BITS) / 2**shift)
    return multiplier, shift, -radius


def softmax(
    x: npt.NDArray[np.int8], *, input_multiplier: int, input_left_shift: int, diff_min: int
) -> npt.NDArray[np.int8]:
    """Computes softmax over the last axis; the output has scale 1/256 and zero point -128.

    Args:
        x: int8, shape [..., classes].
        input_multiplier: Q31 factor that takes a difference to Q5.26.
        input_left_shift: Left shift that goes before the multiplier, 0..31.
        diff_min: Smallest difference whose exponential is not taken as zero.

    Returns:
        int8, shape of `x`.
    """
    diff = x.astype(np.int64) - x.max(axis=-1, keepdims=True)
    used = diff >= diff_min
    scaled = saturating_rounding_doubling_high_mul(
        np.where(used, diff, 0) << input_left_shift, input_multiplier
    )
    exps = _exp_of_negative(scaled)
    terms = np.where(used, rounding_divide_by_pot(exps, _SUM_INTEGER_BITS), 0)
    total = terms.sum(axis=-1, keepdims=True)
    # total lies in [2**19, 2**31): normalise it to [1, 2) as 1 + fraction in Q0.31.
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)  # bit length, exact below 2**53
    headroom = 32 - bits
    fraction = (total << headroom) - 2**31
    product = saturating_rounding_doubling_high_mul(_one_over_one_plus(fraction), exps)
    exponent = _SUM_INTEGER_BITS - headroom + 31 - 8
    y = rounding_divide_by_pot(product, exponent) - 128
    return np.where(used, np.clip(y, -128, 127), -128).astype(np.int8)


def _exp_of_negative(a: Int64Array) -> Int64Array:
    """Returns exp(a) for a Q5.26 argument a <= 0, as Q0.31."""
    quarter = 1 << 24
    # a = -remainder + fraction, fraction in [-1/4, 0): Taylor on the fraction, then one factor
    # exp(-2**k) for each bit of the remainder.
    fraction = (a & (quarter - 1)) - quarter
    remainder = fraction - a
    result = _exp_of_fraction(saturating_shift_left(fraction, _DIFF_INTEGER_BITS))
    for k, factor in enumerate(_EXP_OF_POWERS):
        bit = remainder & (quarter << k)
        result = np.where(bit != 0, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_of_fraction(a: Int64Array) -> Int64Array:
    """Returns exp(a) for Q0.31 a in [-1/4, 0): Taylor polynomial of degree 4 around -1/8."""
    mul = saturating_rounding_doubling_high_mul
    x = a + (1 << 28)
    x2 = mul(x, x)
    x3 = mul(x2, x)
    x4 = mul(x2, x2)
    cubic = mul(rounding_divide_by_pot(x4, 2) + x3, _ONE_THIRD)
    tail = rounding_divide_by_pot(cubic + x2, 1)
    return _EXP_MINUS_EIGHTH + mul(_EXP_MINUS_EIGHTH, x + tail)


def _one_over_one_plus(a: Int64Array) -> Int64Array:
    """Returns 1 / (1 + a) for Q0.31 a in [0, 1), as Q0.31: three Newton-Raphson steps."""
    mul = saturating_rounding_doubling_high_mul
    half_denominator = (a + INT32_MAX + 1) >> 1  # (a + 1) / 2 rounded half up, both terms >= 0
    x = _48_OVER_17 + mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - mul(half_denominator, x)
        x = x + saturating_shift_left(mul(x, error), 2)
    return saturating_shift_left(x, 1)
