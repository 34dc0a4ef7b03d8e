import dataclasses

import numpy as np
import pytest

from nested_keras.format import FormatError, LayerKind, LayerParams, NestedWeights
from tests.nested_keras.format.streams import random_layer

CONV = LayerParams(LayerKind.CONV, 3, 3, 8, 4)
DEPTHWISE = LayerParams(LayerKind.DEPTHWISE, 3, 3, 8, 16, depth_multiplier=2)
FULLY_CONNECTED = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 8, 4)


def test_shapes():
    assert CONV.filter_shape == (4, 3, 3, 8)
    assert (CONV.weights_per_channel, CONV.blocks_per_channel) == (72, 72)
    assert dataclasses.replace(CONV, block_size=4).blocks_per_channel == 18
    assert DEPTHWISE.filter_shape == (16, 3, 3, 1)
    assert FULLY_CONNECTED.filter_shape == (4, 1, 1, 8)


@pytest.mark.parametrize(
    ("params", "changes", "message"),
    [
        (CONV, {"kernel_h": 0}, r"kernel_h must be in 1\.\.65535: got 0"),
        (CONV, {"kernel_w": 65536}, r"kernel_w must be in 1\.\.65535: got 65536"),
        (CONV, {"in_channels": 0}, r"in_channels must be in 1\.\.65535: got 0"),
        (CONV, {"out_channels": 65536}, r"out_channels must be in 1\.\.65535: got 65536"),
        (CONV, {"depth_multiplier": 0}, r"depth_multiplier must be in 1\.\.65535: got 0"),
        (CONV, {"stride_h": 0}, r"stride_h must be in 1\.\.255: got 0"),
        (CONV, {"stride_w": 256}, r"stride_w must be in 1\.\.255: got 256"),
        (CONV, {"dilation_h": 0}, r"dilation_h must be in 1\.\.255: got 0"),
        (CONV, {"dilation_w": 256}, r"dilation_w must be in 1\.\.255: got 256"),
        (CONV, {"pad_top": -1}, r"pad_top must be in 0\.\.255: got -1"),
        (CONV, {"pad_left": 256}, r"pad_left must be in 0\.\.255: got 256"),
        (CONV, {"input_offset": -128}, r"input_offset must be in -127\.\.128: got -128"),
        (CONV, {"output_offset": 128}, r"output_offset must be in -128\.\.127: got 128"),
        (CONV, {"activation_min": -129}, r"activation_min must be in -128\.\.127: got -129"),
        (CONV, {"activation_max": 128}, r"activation_max must be in -128\.\.127: got 128"),
        (CONV, {"activation_min": 5, "activation_max": 4}, r"must not exceed .*: got 5 > 4"),
        (CONV, {"block_size": 3}, r"block_size must be one of \(1, 2, 4\): got 3"),
        (CONV, {"in_channels": 6, "block_size": 4}, r"must divide .* 6 input channels: got 4"),
        (DEPTHWISE, {"block_size": 2}, r"must divide .* 1 input channels: got 2"),
        (CONV, {"depth_multiplier": 2}, r"depth_multiplier must be 1: got 2"),
        (DEPTHWISE, {"out_channels": 8}, r"out_channels of a depthwise layer must be 16: got 8"),
        (CONV, {"kernel_h": 2731}, r"weights per output channel must be in 1\.\.65535: got 65544"),
        (FULLY_CONNECTED, {"kernel_h": 2}, r"kernel_h of a fully connected layer must be 1: got 2"),
        (FULLY_CONNECTED, {"stride_w": 2}, r"stride_w of a fully connected layer must be 1: got 2"),
        (FULLY_CONNECTED, {"dilation_h": 2}, r"dilation_h of a fully .* must be 1: got 2"),
        (FULLY_CONNECTED, {"pad_left": 1}, r"pad_left of a fully connected .* must be 0: got 1"),
    ],
)
def test_layer_params_out_of_range(params, changes, message):
    with pytest.raises(FormatError, match=message):
        dataclasses.replace(params, **changes)


def changed(name, function):
    """A layer's arrays with one of them replaced."""
    nested = random_layer(CONV, levels=3)
    arrays = {
        key: getattr(nested, key).copy()
        for key in ("weights", "level_map", "bias", "multiplier", "shift")
    }
    arrays[name] = function(arrays[name])
    return arrays


def filled(value):
    return lambda array: np.full_like(array, value)


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("weights", lambda a: a.astype(np.int16), "dtype of weights must be int8: got int16"),
        (
            "weights",
            lambda a: a[:2],
            r"shape of weights must be \(4, 3, 3, 8\): got \(2, 3, 3, 8\)",
        ),
        ("level_map", lambda a: a.astype(np.int8), "dtype of level_map must be uint8: got int8"),
        ("level_map", lambda a: a[..., :4], r"shape of level_map must be .*: got \(4, 3, 3, 4\)"),
        ("level_map", filled(4), r"level_map must be in 0\.\.3: got 4"),
        ("bias", lambda a: a.astype(np.int64), "dtype of bias must be int32: got int64"),
        ("bias", lambda a: a[:, :3], r"shape of bias must be \(3, 4\): got \(3, 3\)"),
        ("bias", lambda a: a[:2], r"shape of multiplier must be \(2, 4\): got \(3, 4\)"),
        ("multiplier", filled(2**30 - 1), r"0 or \+-\(1073741824\.\.2147483647\): got 1073741823"),
        ("multiplier", filled(-1), r"multiplier must be 0 or .*: got -1$"),
        ("multiplier", filled(-(2**31)), r"multiplier must be 0 or .*: got -2147483648"),
        ("shift", lambda a: a.astype(np.int32), "dtype of shift must be int8: got int32"),
        ("shift", filled(31), r"shift must be in -31\.\.30: got 31"),
        ("shift", filled(-32), r"shift must be in -31\.\.30: got -32"),
    ],
)
def test_nested_weights_refuse(name, function, message):
    arrays = changed(name, function)
    with pytest.raises(FormatError, match=message):
        NestedWeights(params=CONV, **arrays)


@pytest.mark.parametrize("levels", [0, 17])
def test_number_of_levels_out_of_range(levels):
    tables = np.zeros((levels, 4), np.int32)
    with pytest.raises(FormatError, match=rf"levels must be in 1\.\.16: got {levels}"):
        NestedWeights(
            params=CONV,
            weights=np.zeros(CONV.filter_shape, np.int8),
            level_map=np.zeros(CONV.filter_shape, np.uint8),
            bias=tables,
            multiplier=tables,
            shift=tables.astype(np.int8),
        )


@pytest.mark.parametrize("multiplier", [0, 2**30, -(2**30), 2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("shift", [-31, 30])
def test_table_limits_are_legal(multiplier, shift):
    arrays = changed("multiplier", filled(multiplier)) | {"shift": np.full((3, 4), shift, np.int8)}
    assert NestedWeights(params=CONV, **arrays).levels == 3


def test_a_filter_without_dilation_has_gaps_that_no_level_uses():
    params = LayerParams(LayerKind.CONV, 2, 3, 4, 5, dilation_h=3, dilation_w=2, pad_left=1)
    nested = random_layer(params, levels=2)
    spread = nested.without_dilation()
    assert spread.params == dataclasses.replace(
        params, kernel_h=4, kernel_w=5, dilation_h=1, dilation_w=1
    )
    np.testing.assert_array_equal(spread.weights[:, ::3, ::2], nested.weights)
    np.testing.assert_array_equal(spread.level_map[:, ::3, ::2], nested.level_map)
    assert np.count_nonzero(spread.level_map < 2) == np.count_nonzero(nested.level_map < 2)
    far = random_layer(LayerParams(LayerKind.CONV, 1, 3, 200, 2, dilation_w=255), levels=1)
    with pytest.raises(FormatError, match=r"weights per output channel .*got 102200"):
        far.without_dilation()
