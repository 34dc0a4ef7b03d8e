"""Weights that cannot change any output."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given

from nested_keras.export.idle import drop_idle
from nested_keras.format import LayerKind, LayerParams, NestedWeights, Stream
from nested_keras.tflite import operators
from tests.nested_keras.format import streams

pytestmark = pytest.mark.slow

HALF = 1 << 30  # the multiplier 0.5


def layer(*, weights, level_map, multiplier, shift, bias, **params):
    """A 1x1 convolution; the tables have a row per level and an entry per channel."""
    weights = np.array(weights, np.int8)
    channels, inputs = weights.shape
    return NestedWeights(
        params=LayerParams(
            kind=LayerKind.CONV,
            kernel_h=1,
            kernel_w=1,
            in_channels=inputs,
            out_channels=channels,
            **params,
        ),
        weights=weights.reshape(channels, 1, 1, inputs),
        level_map=np.array(level_map, np.uint8).reshape(channels, 1, 1, inputs),
        bias=np.array(bias, np.int32),
        multiplier=np.array(multiplier, np.int32),
        shift=np.array(shift, np.int8),
    )


def level_map_of(kept):
    return kept.level_map.reshape(kept.params.out_channels, -1).tolist()


def outputs(given_layer, level, x):
    op = operators.dense_op(Stream.pack(given_layer), level)
    return operators.run_op(op, [x], (len(x), 1, 1, given_layer.params.out_channels))


@given(streams.layers(max_levels=4))
def test_every_output_stays_as_it_is(random_layer):
    p = dataclasses.replace(
        random_layer.params,
        **dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1),
        pad_top=0,
        pad_left=0,
    )
    random_layer = dataclasses.replace(random_layer, params=p)
    kept = drop_idle(random_layer)
    assert np.all(kept.level_map >= random_layer.level_map)
    # Inputs that take each channel's sum to either end, and others.
    signs = np.where(random_layer.weights > 0, 127, -128).astype(np.int8)
    if p.kind is LayerKind.DEPTHWISE:
        signs = np.repeat(signs, p.in_channels, axis=3)
    rng = np.random.default_rng(0)
    x = np.concatenate([signs, ~signs, rng.integers(-128, 128, signs.shape).astype(np.int8)])
    for level in range(random_layer.levels):
        np.testing.assert_array_equal(outputs(kept, level, x), outputs(random_layer, level, x))


def test_a_weight_begins_at_the_first_level_that_it_matters_at():
    # Channel 0 is switched off at levels 0 and 2, channel 1 at all, channel 2 nowhere.
    off, on = -31, -8
    tables = {"multiplier": np.full((3, 3), HALF), "bias": np.zeros((3, 3))}
    shift = [[off, off, on], [on, off, on], [off, off, on]]
    rows = [[50, 60, 70]] * 3
    found = drop_idle(layer(weights=rows, level_map=[[0, 1, 2]] * 3, shift=shift, **tables))
    assert level_map_of(found) == [[1, 1, 3], [3, 3, 3], [0, 1, 2]]


@pytest.mark.parametrize(
    ("bias", "idle"),
    [
        (-(1 << 20), True),  # always below what ReLU lets through
        (1 << 20, True),  # always above the largest output
        (0, False),
    ],
)
def test_channels_that_the_activation_always_clips_are_idle(bias, idle):
    found = drop_idle(
        layer(
            weights=[[1, -1]],
            level_map=[[0, 0]],
            multiplier=[[HALF]],
            shift=[[-1]],
            bias=[[bias]],
            activation_min=0,
        )
    )
    assert level_map_of(found) == ([[1, 1]] if idle else [[0, 0]])


def test_sums_beyond_32_bits_are_left_alone():
    # Both ends clip to 127 in exact numbers; in 32 bits the upper one comes round to -128.
    overflowing = layer(
        weights=[[127]],
        level_map=[[0]],
        multiplier=[[(1 << 31) - 1]],
        shift=[[0]],
        bias=[[(1 << 31) - 1]],
    )
    assert level_map_of(drop_idle(overflowing)) == [[0]]
