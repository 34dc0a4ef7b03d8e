"""Which channels leave the short requantisation, and what the exact one costs."""

import dataclasses

import numpy as np
import pytest

from nested_keras.bench import bench_firmware
from nested_keras.bench.layer_cases import Layer, level_cases
from nested_keras.cortex_m.requantization import exact_channels
from nested_keras.format import LayerKind, LayerParams, NestedWeights, Stream
from nested_keras.tflite import operators

CONV = LayerParams(LayerKind.CONV, 1, 1, 4, 2)
DEPTHWISE = LayerParams(LayerKind.DEPTHWISE, 3, 3, 2, 2)


def layer(params, *, bias=0, multiplier=1 << 30, shift=-3):
    """Two channels of ones, of which the second has the given tables, and the first usual ones."""
    tables = ((0, bias), (1 << 30, multiplier), (-3, shift))
    types = (np.int32, np.int32, np.int8)
    return NestedWeights(
        params,
        np.ones(params.filter_shape, np.int8),
        np.zeros(params.filter_shape, np.uint8),
        *(np.array([values], dtype) for values, dtype in zip(tables, types, strict=True)),
    )


@pytest.mark.parametrize(
    ("tables", "in_tiles", "in_depthwise_kernel"),
    [
        ({}, 0, 0),
        ({"shift": 0}, 1, 1),
        ({"shift": -1}, 0, 0),
        ({"shift": -22}, 0, 0),
        ({"shift": -23}, 1, 1),
        ({"multiplier": -(1 << 30)}, 1, 0),
        ({"bias": 1 << 29}, 0, 0),
        ({"bias": (1 << 29) + 1}, 0, 1),
        ({"bias": -(1 << 30) + 2 + 4 * 128 * 128}, 0, 1),
        ({"bias": (1 << 30) - 4 * 128 * 128}, 1, 1),
    ],
)
def test_a_channel_out_of_range_counts(tables, in_tiles, in_depthwise_kernel):
    conv, depthwise = layer(CONV, **tables), layer(DEPTHWISE, **tables)
    assert exact_channels(conv, has_depthwise_kernel=False) == (in_tiles,)
    assert exact_channels(depthwise, has_depthwise_kernel=True) == (in_depthwise_kernel,)


def test_the_bias_counts_as_the_stream_holds_it():
    shifted = dataclasses.replace(DEPTHWISE, input_offset=1)
    nested = layer(shifted, bias=(1 << 29) - 8)  # and nine weights of one
    assert exact_channels(nested, has_depthwise_kernel=True) == (1,)


def test_clamped_outputs_have_no_short_way_and_constants_need_none():
    clamped = layer(dataclasses.replace(CONV, activation_max=100))
    assert exact_channels(clamped, has_depthwise_kernel=False) == (2,)
    level_map = clamped.level_map.copy()
    level_map[0] = 1
    without = dataclasses.replace(clamped, level_map=level_map)
    assert exact_channels(without, has_depthwise_kernel=False) == (1,)
    connected = layer(LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 4, 2), shift=3)
    assert exact_channels(connected, has_depthwise_kernel=False) == (0,)


def enlarged(case):
    """The case with every second channel out of the range."""
    shift = case.stream.weights.shift.copy()
    shift[:, ::2] += 10
    stream = Stream.pack(dataclasses.replace(case.stream.weights, shift=shift))
    dense = operators.dense_op(stream, case.level)
    y = operators.run_op(dense, [case.x], case.layer.output_shape)
    return dataclasses.replace(case, stream=stream, dense=dense, y=y)


@pytest.mark.arm
def test_the_cycles_of_the_exact_requantisation_are_predicted(tmp_path):
    layers = [
        Layer("pointwise", LayerKind.CONV, 8, 32, 32, 1, sparsities=(0.8,)),
        Layer("3x3", LayerKind.CONV, 8, 16, 16, 3, sparsities=(0.8,)),
        Layer("depthwise", LayerKind.DEPTHWISE, 12, 16, 16, 3, sparsities=(0.0,)),
    ]
    usual = [level_cases(each, 1)[0] for each in layers]
    cases = [*usual, *map(enlarged, usual)]
    measured = bench_firmware.measure(bench_firmware.own_library(tmp_path), cases, tmp_path)
    counted = [each.profile.cycles for each in measured]
    predicted = [case.predicted_cycles for case in cases]
    np.testing.assert_allclose(predicted, counted, rtol=0.1)
    assert all(counted[i + len(layers)] > 1.1 * counted[i] for i in range(len(layers)))
