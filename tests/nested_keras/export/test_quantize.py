import dataclasses

import numpy as np
import pytest

from nested_keras.export.export_errors import ExportError
from nested_keras.export.quantize import quantize_levels, twin_gain, twin_gains
from nested_keras.format import LayerKind
from nested_keras.int8.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tests.nested_keras.export.linear_nodes import linear

pytestmark = pytest.mark.slow

SX, SY = float(np.float32(0.02)), float(np.float32(0.05))


def convert(node, c):
    """What the converter makes of the twin: int8 weights, scales, biases."""
    filter_ = node.masked_filter(node.levels - 1) * c.reshape(-1, 1, 1, 1)
    scale = (np.abs(filter_).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    weights = np.rint(filter_ / scale.reshape(-1, 1, 1, 1)).astype(np.int64)
    bias = np.rint(node.bias[-1] / (SX * scale.astype(np.float64))).astype(np.int32)
    return weights, scale, bias


def tables_of(node):
    c = twin_gain(node, input_scale=SX)
    weights, scale, bias = convert(node, c)
    tables = quantize_levels(
        node,
        twin_gain=c,
        input_scale=SX,
        filter_scale=scale,
        output_scale=SY,
        dense_bias=bias,
    )
    return tables, weights, scale, bias


def outputs(node, tables, weights, x):
    """Integer outputs of every level, [N, samples, O], without offset and clamp."""
    acc = x @ weights[:, 0, 0, :].T
    return np.stack(
        [
            multiply_by_quantized_multiplier(
                acc + tables.bias[level], tables.multiplier[level], tables.shift[level]
            )
            for level in range(node.levels)
        ]
    )


def real_outputs(node, x):
    products = (x * SX) @ node.filter[:, 0, 0, :].T
    return products * node.gain[:, np.newaxis] + node.bias[:, np.newaxis]


def test_densest_level_is_the_converters():
    node = linear(gain=[[0.5, 2.0], [1.5, -0.25]], bias=[[1.0, 0.1], [0.3, -2.0]])
    tables, _, scale, bias = tables_of(node)
    np.testing.assert_array_equal(tables.bias[-1], bias)
    np.testing.assert_array_equal(tables.filter_scale[-1], scale)
    np.testing.assert_array_equal(tables.sign[-1], [1, 1])
    for channel in range(2):
        expected = quantize_multiplier(SX * float(scale[channel]) / SY)
        assert (tables.multiplier[-1, channel], tables.shift[-1, channel]) == expected


def test_all_levels_compute_the_real_function():
    rng = np.random.default_rng(3)
    gain = rng.uniform(0.2, 2, (3, 8)) * np.where(rng.random((3, 8)) < 0.5, -1, 1)
    node = linear(gain=gain, bias=rng.normal(0, 1, (3, 8)), inputs=16)
    tables, weights, _, _ = tables_of(node)
    assert (tables.multiplier < 0).any()
    x = rng.integers(-255, 256, (200, 16))
    real = real_outputs(node, x) / SY
    # Half a step of each of 16 weights, half a step of the bias, one rounding of the output.
    half_weight = 0.5 / 127 * np.abs(x * SX).sum(axis=1)[:, np.newaxis] * np.abs(gain).max() / SY
    assert np.all(np.abs(outputs(node, tables, weights, x) - real) <= half_weight + 1.0)


def test_single_output_of_a_dense_layer_multiplies_scales_in_float32():
    node = linear(gain=[[1.0], [1.0]], bias=[[0.5], [0.5]], kind=LayerKind.FULLY_CONNECTED)
    tables, _, scale, _ = tables_of(node)
    product = float(np.float32(SX) * scale[0])
    assert product != SX * float(scale[0])
    expected = quantize_multiplier(product / SY)
    assert (tables.multiplier[-1, 0], tables.shift[-1, 0]) == expected


@pytest.mark.parametrize("gain", [0.0, 1e-30, 1e-9, -1e-9])
def test_tiny_gains_keep_the_bias(gain):
    """The guard's bound: off by at most |b| |acc| / 2^30, plus two roundings."""
    node = linear(gain=[[gain], [1.0]], bias=[[2.0], [0.5]], inputs=64)
    tables, weights, _, _ = tables_of(node)
    assert abs(int(tables.bias[0, 0])) < 2**30
    x = np.random.default_rng(1).integers(-255, 256, (500, 64))
    real = real_outputs(node, x)[0] / SY
    largest = 255 * np.abs(weights).sum()
    bound = 2.0 / SY * largest / 2**30 + 1.0
    assert np.all(np.abs(outputs(node, tables, weights, x)[0] - real) <= bound)


@pytest.mark.parametrize("gain", [50.0, -4000.0])
@pytest.mark.parametrize("kept", [0.0, 0.001])
def test_a_channel_without_weights_keeps_its_bias(gain, kept):
    """BatchNorm divides by the deviation of a constant, which makes the gain huge.

    With a gain of -4000 the bias had steps of eleven of the output's. A weight that rounds to zero
    counts as none.
    """
    filter_ = np.array([[0.9, -0.7, kept]] * 2).reshape(2, 1, 1, 3)
    level_map = np.array([[1, 1, 0], [0, 1, 0]], np.uint8).reshape(2, 1, 1, 3)
    node = linear(
        gain=[[gain, 2.0], [1.0, 1.0]],
        bias=[[2.3, 0.4], [0.1, 0.2]],
        inputs=3,
        filter=filter_,
        level_map=level_map,
    )
    tables, weights, _, _ = tables_of(node)
    constant = multiply_by_quantized_multiplier(
        tables.bias[0, :1].astype(np.int64), tables.multiplier[0, :1], tables.shift[0, :1]
    )
    assert weights[0, 0, 0, 2] == 0
    assert abs(constant[0] - 2.3 / SY) <= 0.51
    ratio = tables.filter_scale[0] / tables.filter_scale[1]
    np.testing.assert_allclose(ratio, [1.0, 2.0], rtol=1e-6)


def test_zero_gain_without_bias_is_zero():
    node = linear(gain=[[0.0], [1.0]], bias=[[0.0], [0.0]])
    tables, weights, _, _ = tables_of(node)
    assert tables.multiplier[0, 0] == 0
    assert tables.filter_scale[0, 0] > 0
    x = np.full((1, 4), 255)
    assert outputs(node, tables, weights, x)[0, 0, 0] == 0


@pytest.mark.parametrize("gain", [0.0, 1e-12, -1e-12])
def test_twin_gain_keeps_the_resolution_of_a_vanishing_densest_level(gain):
    """Levels below it still need the weights: the converter must not see zeros or noise."""
    node = linear(gain=[[1.3], [gain]], bias=[[0.2], [0.7]], inputs=9)
    c = twin_gain(node, input_scale=SX)
    assert np.sign(c[0]) == (-1 if gain < 0 else 1)
    weights, _, bias = convert(node, c)
    assert np.abs(weights).max() == 127
    assert abs(int(bias[0])) <= 2**29 * (1 + 1e-6)
    tables, _, _, _ = tables_of(node)
    x = np.random.default_rng(2).integers(-255, 256, (100, 9))
    real = real_outputs(node, x)[0] / SY
    half_weight = 0.5 / 127 * np.abs(x * SX).sum(axis=1)[:, np.newaxis] * 1.3 / SY
    assert np.all(np.abs(outputs(node, tables, weights, x)[0] - real) <= half_weight + 1.0)


def test_twin_gain_is_the_densest_level_s_where_that_is_sound():
    node = linear(gain=[[9.0, 9.0], [0.75, -1.5]], bias=[[0.0, 0.0], [3.0, -3.0]])
    np.testing.assert_array_equal(twin_gain(node, input_scale=SX), [0.75, -1.5])


def test_channels_without_weights_need_no_gain():
    node = linear(
        gain=[[1.0], [0.0]], bias=[[0.5], [0.25]], level_map=np.full((1, 1, 1, 4), 2, np.uint8)
    )
    np.testing.assert_array_equal(twin_gain(node, input_scale=SX), [0.0])


def test_equal_filters_of_a_convolution_and_a_depthwise_convolution_get_apart():
    """In TFLite's order: [O, H, W, I], and [1, H, W, C] for a depthwise convolution."""
    ones = np.ones((1, 1, 1, 3))
    conv = linear(gain=[[1.0]], bias=[[0.0]], filter=ones, inputs=3)
    wide = linear(
        gain=[[1.0] * 3],
        bias=[[0.0] * 3],
        filter=ones.reshape(3, 1, 1, 1),
        level_map=np.zeros((3, 1, 1, 1), np.uint8),
        kind=LayerKind.DEPTHWISE,
    )
    wide = dataclasses.replace(wide, name="wide", inputs=("other",))
    for nodes in ((conv, wide), (wide, conv)):
        first, second = twin_gains(nodes, lambda name: SX).values()
        assert (first == 1).all()
        assert len(set(second)) == 1
        assert 0.998 < second[0] < 1
    other = dataclasses.replace(conv, name="third", inputs=("third",))
    assert (twin_gains((conv, other), lambda name: SX)["third"] == 1).all()
    # Two reshapes of one tensor are one to the converter.
    assert (twin_gains((conv, other), lambda name: SX, lambda name: "x")["third"] != 1).all()


def test_refuses_a_bias_that_may_overflow():
    node = linear(gain=[[1.0]], bias=[[1.0]])
    with pytest.raises(ExportError, match=r"'layer': biases must be below 2\^30.*got 1073741824"):
        quantize_levels(
            node,
            twin_gain=np.ones(1),
            input_scale=SX,
            filter_scale=np.ones(1, np.float32),
            output_scale=SY,
            dense_bias=np.array([2**30], np.int32),
        )


def test_refuses_a_multiplier_out_of_range():
    node = linear(gain=[[1.0]], bias=[[1.0]])
    with pytest.raises(ExportError, match="'layer': a multiplier must be below 2"):
        quantize_levels(
            node,
            twin_gain=np.ones(1),
            input_scale=1e6,
            filter_scale=np.ones(1, np.float32),
            output_scale=1e-6,
            dense_bias=np.zeros(1, np.int32),
        )
