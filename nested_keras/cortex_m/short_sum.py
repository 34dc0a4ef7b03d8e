"""Find the short form of a sum of two int8 tensors, like nk_add_s8_shorten().

The Cortex-M's kernel of ADD and SUB needs three instructions for each operand in place of TFLite's
three fixed-point products (docs/kernels.md). A pair of operands has 65536 values, so all of them
are compared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nested_keras.typing import Int8Array

# The same numbers as in tflm_ops/src/cortex_m/nk_short_sum.h.
_BITS = 20
_FACTOR_BITS = 8

_LARGEST = 2**30


class ShortSum(NamedTuple):
    """The numbers of the short form; three zeros stand for no short form.

    The sum is saturate((factor1 * a >> 8) + (factor2 * b >> 8) + constant >> 20).

    Attributes:
        short_factor1: Of the first operand.
        short_factor2: Of the second operand.
        short_constant: The constant.
    """

    short_factor1: int = 0
    short_factor2: int = 0
    short_constant: int = 0


def short_factor(multiplier: int, output_multiplier: int, shift: int) -> int:
    """Returns the factor of an operand, or 0 where the factor is out of range.

    Args:
        multiplier: Q31, of the operand.
        output_multiplier: Q31, of the sum.
        shift: All shifts to the left together.
    """
    right = 62 - shift - _BITS - _FACTOR_BITS
    if not 1 <= right <= 62:
        return 0
    factor = (multiplier * output_multiplier + (1 << (right - 1))) >> right
    return 0 if factor >= 2**31 else factor


def find_short_sum(sums: Int8Array, factor1: int, factor2: int) -> ShortSum:
    """Finds the constant for which the short form gives all sums.

    Args:
        sums: int8 [256, 256]: the exact sums without an activation, by both operands from -128 on.
        factor1: Of the first operand.
        factor2: Of the second operand, negative in a difference.

    Returns:
        The short form; zeros where no constant gives all sums.
    """
    if not factor1 or not factor2 or (abs(factor1) + abs(factor2)) // 2 >= _LARGEST:
        return ShortSum()
    values = np.arange(-128, 128, dtype=np.int64)
    parts = (factor1 * values >> _FACTOR_BITS)[:, None] + (factor2 * values >> _FACTOR_BITS)
    least = (sums.astype(np.int64) << _BITS) - parts
    # A saturated sum has one limit.
    low = int(least.max(where=sums > -128, initial=-(2**31)))
    high = int((least + 2**_BITS - 1).min(where=sums < 127, initial=2**31 - 1))
    constant = low + (high - low) // 2
    if low > high or abs(constant) > _LARGEST:
        return ShortSum()
    return ShortSum(factor1, factor2, constant)
