import math
from fractions import Fraction

import numpy as np
import pytest

from nested_keras.int8.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    multiply_by_quantized_multiplier,
    multiply_with_single_rounding,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    saturating_shift_left,
    wrap_int32,
)

EDGES = (0, 1, -1, 2**30, -(2**30), 2**30 - 1, INT32_MAX, INT32_MIN, 2**15, -(2**15), 3, -3)


def truncate(numerator: int, denominator: int) -> int:
    """C's integer division."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def high_mul(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul, statement by statement."""
    if a == b == INT32_MIN:
        return INT32_MAX
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    return truncate(a * b + nudge, 2**31)


def divide_by_pot(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT, statement by statement."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if (x & mask) > threshold else 0)


def int32_pairs(seed: int, count: int = 2000) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    random = rng.integers(INT32_MIN, INT32_MAX + 1, (count, 2)).tolist()
    small = rng.integers(-100, 101, (count, 2)).tolist()
    return [*map(tuple, random + small), *((a, b) for a in EDGES for b in EDGES)]


def test_high_mul_is_gemmlowps() -> None:
    pairs = int32_pairs(seed=1)
    a, b = np.array(pairs, np.int64).T
    expected = [high_mul(*pair) for pair in pairs]
    np.testing.assert_array_equal(saturating_rounding_doubling_high_mul(a, b), expected)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(2**15, 2**15, 1), (2**15, -(2**15), 0), (INT32_MIN, INT32_MIN, INT32_MAX), (3, 2**30, 2)],
)
def test_high_mul_rounds_halves_up_and_saturates(a: int, b: int, expected: int) -> None:
    assert int(saturating_rounding_doubling_high_mul(a, b)) == expected


def test_divide_by_pot_is_gemmlowps() -> None:
    values = [a for a, _ in int32_pairs(seed=2, count=200)]
    for exponent in range(32):
        expected = [divide_by_pot(x, exponent) for x in values]
        np.testing.assert_array_equal(rounding_divide_by_pot(np.array(values), exponent), expected)


@pytest.mark.parametrize(("x", "expected"), [(3, 2), (-3, -2), (1, 1), (-1, -1), (2, 1), (-5, -3)])
def test_divide_by_pot_rounds_halves_away_from_zero(x: int, expected: int) -> None:
    assert int(rounding_divide_by_pot(x, 1)) == expected


@pytest.mark.parametrize("shift", [-31, -17, -1, 0, 1, 30])
def test_multiplier_rounds_twice(shift: int) -> None:
    pairs = int32_pairs(seed=3, count=300)
    x, m = np.array(pairs, np.int64).T
    left, right = max(shift, 0), max(-shift, 0)
    expected = [divide_by_pot(high_mul(int(wrap_int32(a << left)), b), right) for a, b in pairs]
    np.testing.assert_array_equal(multiply_by_quantized_multiplier(x, m, shift), expected)


def test_multiplier_per_channel() -> None:
    acc = np.array([[100, 100, 100], [-100, -100, -100]])
    y = multiply_by_quantized_multiplier(
        acc, np.array([2**30, -(2**30), 2**30]), np.array([0, 0, 2])
    )
    np.testing.assert_array_equal(y, [[50, -50, 200], [-50, 50, -200]])


def test_negating_sum_and_multiplier_together_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    acc = rng.integers(-(2**24), 2**24, 5000)
    multiplier = rng.integers(2**30, 2**31, 5000)
    shift = rng.integers(-20, 3, 5000)
    for multiply in (multiply_by_quantized_multiplier, multiply_with_single_rounding):
        np.testing.assert_array_equal(
            multiply(acc, multiplier, shift), multiply(-acc, -multiplier, shift)
        )


def test_negating_the_sum_alone_may_change_the_magnitude() -> None:
    # Why a negative gain negates weights and multiplier, and not the result: halves go up.
    y = multiply_by_quantized_multiplier(np.array([1, -1]), 2**30, 0)
    np.testing.assert_array_equal(y, [1, 0])


@pytest.mark.parametrize("shift", [-31, -5, 0, 7, 30])
def test_single_rounding_is_the_rounded_real_product(shift: int) -> None:
    pairs = int32_pairs(seed=5, count=300)
    x, m = np.array(pairs, np.int64).T
    expected = []
    for a, b in pairs:
        exact = abs(Fraction(a * b) * Fraction(2) ** (shift - 31))
        expected.append(int(math.copysign(1, a * b)) * math.floor(exact + Fraction(1, 2)))
    np.testing.assert_array_equal(multiply_with_single_rounding(x, m, shift), expected)


def test_single_and_double_rounding_differ() -> None:
    # 3.4909: two roundings make 4 of it, one makes 3 (high half 111.7 -> 112, 112 / 32 = 3.5).
    multiplier, shift = 1874167570, -5
    assert int(multiply_by_quantized_multiplier(128, multiplier, shift)) == 4
    assert int(multiply_with_single_rounding(128, multiplier, shift)) == 3


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**32 + 5, -7, 0])
def test_wrap_is_twos_complement(value: int) -> None:
    expected = int(np.array([value], np.int64).astype(np.int32)[0])
    assert int(wrap_int32(value)) == expected


def test_shift_left_saturates() -> None:
    y = saturating_shift_left(np.array([2**20, -(2**20), 3]), 12)
    np.testing.assert_array_equal(y, [INT32_MAX, INT32_MIN, 3 << 12])


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (-0.5, (-(2**30), 0)),
        (0.75, (3 * 2**29, 0)),
        (1 - 2**-40, (2**30, 1)),  # the mantissa rounds up to 2**31
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
    ],
)
def test_quantize_multiplier(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


def test_quantize_multiplier_is_close() -> None:
    rng = np.random.default_rng(6)
    for real in np.exp(rng.uniform(-20, 20, 500)) * rng.choice([-1, 1], 500):
        multiplier, shift = quantize_multiplier(float(real))
        assert 2**30 <= abs(multiplier) < 2**31
        assert abs(multiplier * 2.0 ** (shift - 31) / real - 1) <= 2**-31


@pytest.mark.parametrize("real", [math.inf, math.nan])
def test_quantize_multiplier_refuses_what_is_not_finite(real: float) -> None:
    with pytest.raises(ValueError, match=f"must be finite: got {real}"):
        quantize_multiplier(real)


def test_quantize_multiplier_refuses_large_factors() -> None:
    with pytest.raises(ValueError, match=r"must be below 2\*\*30: got 2147483648"):
        quantize_multiplier(2.0**31)


def test_halves_round_away_from_zero():
    x = [-2.5, -0.5, -0.49, 0.0, 0.49, 0.5, 2.5, 1e30]
    assert round_half_away(x).tolist() == [-3, -1, 0, 0, 0, 1, 3, 2**31]
