"""The standalone operators against the NumPy reference, and shapes that they refuse.

What every operator must refuse stands in test_every_operator.py.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.int8.softmax import softmax_parameters
from nested_keras.tflite import operators
from nested_keras.tflite.operators import elementwise
from tests.tflm_ops.library import StatusError

OP = {"name": "", "inputs": (0,), "outputs": (1,)}
CLAMPS = [(-128, 127), (-3, 90), (0, 0)]


def random_int8(shape, *, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def assert_equals_reference(nk, op, inputs, output_shape):
    expected = operators.run_op(op, inputs, output_shape)
    np.testing.assert_array_equal(nk.run_op(op, inputs, output_shape), expected)


def add_op(scale1, scale2, output_scale, *, zero_points=(3, -11, 20), clamp=(-128, 127)):
    """ADD as TFLite prepares it."""
    twice = 2 * max(scale1, scale2)
    multiplier1, shift1 = quantize_multiplier(scale1 / twice)
    multiplier2, shift2 = quantize_multiplier(scale2 / twice)
    multiplier, shift = quantize_multiplier(twice / (2**20 * output_scale))
    return operators.Add(
        **OP,
        left_shift=20,
        input1_offset=-zero_points[0],
        input1_multiplier=multiplier1,
        input1_shift=shift1,
        input2_offset=-zero_points[1],
        input2_multiplier=multiplier2,
        input2_shift=shift2,
        output_offset=zero_points[2],
        output_multiplier=multiplier,
        output_shift=shift,
        activation_min=clamp[0],
        activation_max=clamp[1],
    )


def mul_op(factor, *, zero_points=(3, -11, 20), clamp=(-128, 127)):
    multiplier, shift = quantize_multiplier(factor)
    return operators.Mul(
        **OP,
        input1_offset=-zero_points[0],
        input2_offset=-zero_points[1],
        output_offset=zero_points[2],
        output_multiplier=multiplier,
        output_shift=shift,
        activation_min=clamp[0],
        activation_max=clamp[1],
    )


BINARY = [
    add_op(0.1, 0.1, 0.15),
    add_op(0.001, 0.3, 0.3),
    add_op(0.3, 0.001, 0.01, clamp=(-3, 90)),
    add_op(0.1, 0.2, 0.3, zero_points=(127, -128, 127)),
    add_op(0.1, 0.2, 0.3, zero_points=(-128, 127, -128), clamp=(0, 0)),
    mul_op(0.004),
    mul_op(0.02, clamp=(-3, 90)),
    mul_op(1.7, zero_points=(127, -128, 127)),
    mul_op(0.0003, zero_points=(-128, 127, -128), clamp=(0, 0)),
]


SUB = elementwise.Sub(**vars(BINARY[1]))
PRELU = elementwise.Prelu(
    **OP,
    input_offset=11,
    alpha_offset=-3,
    output_offset=-20,
    positive_multiplier=1_800_000_000,
    positive_shift=1,
    negative_multiplier=1_100_000_000,
    negative_shift=-5,
)


@pytest.mark.parametrize("op", [*BINARY, SUB, PRELU])
def test_binary_on_all_pairs_of_values(nk, op):
    values = np.arange(-128, 128).astype(np.int8)
    a, b = (np.ascontiguousarray(m.reshape(1, 256, 256, 1)) for m in np.meshgrid(values, values))
    assert_equals_reference(nk, op, [a, b], a.shape)


SHAPES = [
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (5,)),
    ((1, 1, 1, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (1,)),
    ((2, 3, 4, 5), (2, 1, 1, 5)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
    ((7,), (7,)),
    ((3, 1), (1, 4)),
    ((1, 1, 1, 1), (1, 1, 1, 1)),
]


EXTREMA = [elementwise.Maximum(**OP), elementwise.Minimum(**OP)]
EACH_BINARY = [BINARY[1], SUB, BINARY[5], PRELU, *EXTREMA]
NAMES = ["add", "sub", "mul", "prelu", "maximum", "minimum"]


@pytest.mark.parametrize("op", EACH_BINARY, ids=NAMES)
@pytest.mark.parametrize(("shape1", "shape2"), SHAPES)
def test_binary_broadcasts(nk, op, shape1, shape2):
    a, b = random_int8(shape1, seed=1), random_int8(shape2, seed=2)
    assert_equals_reference(nk, op, [a, b], np.broadcast_shapes(shape1, shape2))


@pytest.mark.parametrize("op", EACH_BINARY, ids=NAMES)
def test_binary_refuses_shapes_that_do_not_broadcast(nk, op):
    a, b = random_int8((1, 2, 3, 4)), random_int8((1, 2, 2, 4))
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, [a, b], (1, 2, 3, 4))
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, [a, a], (1, 2, 1, 4))


POOLS = [
    # input, filter, stride, pad, output
    ((1, 4, 4, 3), (2, 2), (2, 2), (0, 0), (2, 2)),
    ((2, 5, 7, 3), (3, 3), (1, 1), (1, 1), (5, 7)),
    ((1, 5, 6, 2), (3, 2), (2, 3), (1, 0), (3, 2)),
    ((1, 8, 8, 5), (8, 8), (1, 1), (0, 0), (1, 1)),
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((1, 2, 2, 1), (5, 5), (1, 1), (2, 2), (2, 2)),
    ((1, 1, 9, 4), (1, 4), (1, 4), (0, 1), (1, 3)),
    # More pixels than an int16 lane can sum.
    ((1, 17, 16, 5), (17, 16), (1, 1), (0, 0), (1, 1)),
]
POOL_OPS = [operators.AveragePool2D, operators.MaxPool2D]


def pool_op(kind, size, stride, pad, clamp=(-128, 127)):
    return kind(
        **OP,
        filter_h=size[0],
        filter_w=size[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pad_top=pad[0],
        pad_left=pad[1],
        activation_min=clamp[0],
        activation_max=clamp[1],
    )


@pytest.mark.parametrize("kind", POOL_OPS)
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize(("shape", "size", "stride", "pad", "output"), POOLS)
def test_pools(nk, kind, clamp, shape, size, stride, pad, output):
    op = pool_op(kind, size, stride, pad, clamp)
    for seed in range(3):
        x = random_int8(shape, seed=seed)
        assert_equals_reference(nk, op, [x], (shape[0], *output, shape[3]))


@pytest.mark.parametrize("value", [-128, -127, -1, 0, 1, 127])
def test_average_rounds_halves_away_from_zero(nk, value):
    x = np.array([value, value, value, max(value - 2, -128)], np.int8).reshape(1, 2, 2, 1)
    op = pool_op(operators.AveragePool2D, (2, 2), (2, 2), (0, 0))
    assert_equals_reference(nk, op, [x], (1, 1, 1, 1))


@pytest.mark.parametrize("kind", POOL_OPS)
def test_pools_refuse_bad_windows(nk, kind):
    x = random_int8((1, 4, 4, 1))
    good = pool_op(kind, (2, 2), (2, 2), (0, 0))
    for field, value in itertools.product(
        ("filter_h", "filter_w", "stride_h", "stride_w"), (0, -1, 65536)
    ):
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.run_op(dataclasses.replace(good, **{field: value}), [x], (1, 2, 2, 1))
    for field, value in itertools.product(("pad_top", "pad_left"), (-1, 2)):
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.run_op(dataclasses.replace(good, **{field: value}), [x], (1, 2, 2, 1))
    for shape in ((1, 3, 2, 1), (1, 2, 3, 1), (2, 2, 2, 1), (1, 2, 2, 2)):
        with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
            nk.run_op(good, [x], shape)
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.run_op(pool_op(kind, (4096, 2048), (1, 1), (0, 0)), [x], (1, 4, 4, 1))


MEANS = [((2, 3, 5, 4), 0.1, 0.2), ((1, 1, 1, 1), 0.1, 0.1), ((1, 8, 8, 33), 0.02, 0.011)]


@pytest.mark.parametrize(("shape", "input_scale", "output_scale"), MEANS)
@pytest.mark.parametrize("zero_points", [(0, 0), (-128, 127), (127, -128)])
def test_mean(nk, shape, input_scale, output_scale, zero_points):
    multiplier, shift = quantize_multiplier(input_scale / output_scale / (shape[1] * shape[2]))
    op = operators.Mean(
        **OP,
        input_offset=-zero_points[0],
        output_offset=zero_points[1],
        multiplier=multiplier,
        shift=shift,
    )
    for seed in range(3):
        assert_equals_reference(nk, op, [random_int8(shape, seed=seed)], (shape[0], shape[3]))


PADS = [
    ((2, 3, 4, 5), ((0, 0), (1, 2), (3, 0), (0, 0))),
    ((2, 3, 4, 5), ((1, 0), (0, 1), (1, 1), (2, 3))),
    ((3, 4), ((0, 2), (1, 0))),
    ((7,), ((3, 4),)),
    ((1, 1, 1, 1), ((0, 0), (0, 0), (0, 0), (0, 0))),
]


@pytest.mark.parametrize(("shape", "paddings"), PADS)
def test_pad(nk, shape, paddings):
    output = tuple(
        before + size + after for size, (before, after) in zip(shape, paddings, strict=True)
    )
    op = operators.Pad(**OP, paddings=paddings, value=-7)
    assert_equals_reference(nk, op, [random_int8(shape)], output)
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, [random_int8(shape)], (*output[:-1], output[-1] + 1))


def test_pad_refuses_negative_paddings(nk):
    op = operators.Pad(**OP, paddings=((-1, 2),), value=0)
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.run_op(op, [random_int8((4,))], (5,))


CONCATENATIONS = [
    (3, [(2, 3, 4, 1), (2, 3, 4, 5), (2, 3, 4, 2)]),
    (2, [(2, 3, 4, 2), (2, 3, 1, 2)]),
    (1, [(2, 3, 4, 2), (2, 1, 4, 2)]),
    (0, [(2, 3, 4, 2), (1, 3, 4, 2)]),
    (1, [(3, 4), (3, 5), (3, 1)]),
    (0, [(6,), (1,)]),
    (3, [(2, 2, 2, 2)]),
]


@pytest.mark.parametrize(("axis", "shapes"), CONCATENATIONS)
def test_concatenation(nk, axis, shapes):
    op = operators.Concatenation(**OP, axis=axis)
    inputs = [random_int8(shape, seed=seed) for seed, shape in enumerate(shapes)]
    output = np.concatenate(inputs, axis=axis).shape
    assert_equals_reference(nk, op, inputs, output)
    wrong = tuple(size + (i == axis) for i, size in enumerate(output))
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, inputs, wrong)


@pytest.mark.parametrize("axis", [-1, 4])
def test_concatenation_refuses_an_unknown_axis(nk, axis):
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.run_op(
            operators.Concatenation(**OP, axis=axis), [random_int8((1, 1, 1, 2))], (1, 1, 1, 2)
        )


def softmax_op(beta, scale):
    multiplier, shift, diff_min = softmax_parameters(beta, scale)
    return operators.Softmax(
        **OP, input_multiplier=multiplier, input_left_shift=shift, diff_min=diff_min
    )


@pytest.mark.parametrize("scale", [1e-6, 0.001, 0.05, 0.1, 0.25, 1.0, 7.0])
@pytest.mark.parametrize("depth", [1, 2, 10, 257, 1000])
def test_softmax(nk, scale, depth):
    op = softmax_op(1.0, scale)
    x = random_int8((4, depth))
    x[1] = 5
    x[2] = np.sort(x[2])
    x[3, :] = -128
    x[3, -1] = 127
    assert_equals_reference(nk, op, [x], x.shape)


def test_softmax_on_all_differences(nk):
    x = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=1).astype(np.int8)
    for scale in np.geomspace(1e-3, 1.0, 40):
        assert_equals_reference(nk, softmax_op(1.0, float(scale)), [x], x.shape)


def test_softmax_refuses_bad_parameters(nk):
    op, x = softmax_op(1.0, 0.1), random_int8((1, 4))
    for field, value in [
        ("input_multiplier", -1),
        ("input_left_shift", -1),
        ("input_left_shift", 32),
        ("diff_min", 1),
        ("diff_min", -(2**31) // 2**op.input_left_shift - 1),
    ]:
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.run_op(dataclasses.replace(op, **{field: value}), [x], x.shape)
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, [random_int8((1, 8192))], (1, 8192))


def test_lookup(nk):
    table = random_int8(256, seed=9)
    x = np.arange(-128, 128).astype(np.int8).reshape(4, 64)
    assert_equals_reference(nk, operators.Lookup(**OP, table=table), [x], x.shape)


@pytest.mark.parametrize("scale", [0.0039, 0.1, 1.0, 3.7])
@pytest.mark.parametrize("zero_point", [-128, 0, 5, 127])
def test_quantize(nk, scale, zero_point):
    op = operators.Quantize(**OP, scale=scale, zero_point=zero_point)
    rng = np.random.default_rng(0)
    halves = (np.arange(-300, 300) + 0.5) * np.float32(scale)
    x = np.concatenate([halves, rng.normal(0, 100 * scale, 500), [0.0, -0.0, 1e30, -1e30]])
    x = np.append(x, [np.inf, -np.inf]).astype(np.float32)
    assert_equals_reference(nk, op, [x], x.shape)
    assert nk.run_op(op, [np.array([np.nan], np.float32)], (1,))[0] == zero_point


@pytest.mark.parametrize("scale", [0.0039, 0.1, 1.0, 3.7])
@pytest.mark.parametrize("zero_point", [-128, 0, 5, 127])
def test_dequantize(nk, scale, zero_point):
    op = operators.Dequantize(**OP, scale=scale, zero_point=zero_point)
    x = np.arange(-128, 128).astype(np.int8)
    assert_equals_reference(nk, op, [x], x.shape)


def test_status_names(nk):
    names = [nk.c.nk_status_name(status).decode() for status in range(11)]
    assert names == [
        "NK_OK",
        "NK_ERROR_ARGUMENT",
        "NK_ERROR_FOREIGN",
        "NK_ERROR_VERSION",
        "NK_ERROR_TRUNCATED",
        "NK_ERROR_CHECKSUM",
        "NK_ERROR_MALFORMED",
        "NK_ERROR_LEVEL",
        "NK_ERROR_SHAPE",
        "NK_ERROR_BUFFER",
        "unknown status",
    ]
