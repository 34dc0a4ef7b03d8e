"""The short form of a sum: exact for all pairs of operands, and the same in Python and C."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from nested_keras.cortex_m.short_sum import ShortSum, find_short_sum, short_factor
from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.tflite import operators
from nested_keras.tflite.operators.elementwise import Add, Sub
from tests.tflm_ops.library import Library, params_struct

VALUES = np.arange(-128, 128)
EVERY_PAIR = (np.repeat(VALUES, 256).astype(np.int8), np.tile(VALUES, 256).astype(np.int8))


def make(kind: type[Add | Sub], scales: tuple[float, float, float], seed: int) -> Add | Sub:
    """A sum of tensors of these scales, with random zero points and a random activation."""
    rng = np.random.default_rng(seed)
    common = 2 * max(scales[:2])
    input1, input2 = (quantize_multiplier(scale / common) for scale in scales[:2])
    output = quantize_multiplier(common / (scales[2] * 2**20))
    return kind(
        name="",
        inputs=(),
        outputs=(),
        left_shift=20,
        input1_offset=int(rng.integers(-127, 129)),
        input1_multiplier=input1[0],
        input1_shift=input1[1],
        input2_offset=int(rng.integers(-127, 129)),
        input2_multiplier=input2[0],
        input2_shift=input2[1],
        output_offset=int(rng.integers(-128, 128)),
        output_multiplier=output[0],
        output_shift=output[1],
        activation_min=int(rng.integers(-128, -100)),
        activation_max=127,
    )


def drawn(kind: type[Add | Sub], seed: int) -> Add | Sub:
    """A sum with scales as calibration gives them."""
    rng = np.random.default_rng(seed)
    first, second = np.exp(rng.uniform(-4, -1, 2))
    output = max(first, second) * rng.uniform(0.6, 2.5)
    return make(kind, (float(first), float(second), float(output)), seed)


def short_form(op: Add | Sub) -> ShortSum:
    struct = params_struct(op)
    return ShortSum(struct.short_factor1, struct.short_factor2, struct.short_constant)


@pytest.mark.parametrize("kind", [Add, Sub])
def test_nearly_every_sum_has_a_short_form_and_the_form_is_exact(
    nk: Library, kind: type[Add | Sub]
) -> None:
    found = 0
    for seed in range(40):
        op = drawn(kind, seed)
        found += short_form(op) != ShortSum()
        expected = operators.run_op(op, EVERY_PAIR, (65536,))
        np.testing.assert_array_equal(nk.run_op(op, EVERY_PAIR, (65536,)), expected, f"{seed=}")
    assert found >= 37


# The second scale is half of the output's, so that every other sum lies between two integers, and
# the last would need factors of 32 bits.
@pytest.mark.parametrize("scales", [(0.05, 0.03, 0.06), (0.3, 0.1, 0.001), (1e-30, 1.0, 1.0)])
def test_sums_without_a_short_form_are_exact_too(
    nk: Library, scales: tuple[float, float, float]
) -> None:
    op = make(Add, scales, 1)
    assert short_form(op) == ShortSum()
    expected = operators.run_op(op, EVERY_PAIR, (65536,))
    np.testing.assert_array_equal(nk.run_op(op, EVERY_PAIR, (65536,)), expected)


def test_python_and_c_find_the_same_form(nk: Library) -> None:
    cases = [drawn(Add, seed) for seed in range(20)]
    cases += [make(Add, scales, 2) for scales in ((0.05, 0.03, 0.06), (0.3, 0.1, 0.001))]
    cases += [make(Add, (0.1, 0.1, 0.1), 3), make(Add, (1e-30, 1.0, 1.0), 4)]
    for op in cases:
        params = params_struct(op)
        params.short_factor1 = params.short_factor2 = params.short_constant = 77
        nk.check(nk.c.nk_add_s8_shorten(ctypes.byref(params)))
        got = ShortSum(params.short_factor1, params.short_factor2, params.short_constant)
        assert got == short_form(op)


def test_shorten_refuses_null_and_parameters_out_of_range(nk: Library) -> None:
    assert nk.c.nk_status_name(nk.c.nk_add_s8_shorten(None)) == b"NK_ERROR_ARGUMENT"
    params = params_struct(drawn(Add, 0))
    params.left_shift = 23
    status = nk.c.nk_add_s8_shorten(ctypes.byref(params))
    assert nk.c.nk_status_name(status) == b"NK_ERROR_ARGUMENT"


def test_a_factor_out_of_range_is_none() -> None:
    assert short_factor(2**30, 2**30, -20) == 2**6
    assert short_factor(2**30, 2**30, 40) == short_factor(2**30, 2**30, -30) == 0
    assert short_factor(2**31 - 1, 2**31 - 1, 4) == 0


def test_factors_and_constants_that_leave_the_accumulator_are_refused() -> None:
    zeros, saturated = np.zeros((256, 256), np.int8), np.full((256, 256), 127, np.int8)
    assert find_short_sum(zeros, 1, 1) != ShortSum()
    assert find_short_sum(saturated, 1, 1) == ShortSum()  # the middle is above 2^30
    assert find_short_sum(zeros, 2**30, 2**30) == ShortSum()
    assert find_short_sum(zeros, 0, 1) == ShortSum()
