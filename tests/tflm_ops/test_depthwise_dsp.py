"""The depthwise kernel for the Cortex-M7 on packed streams, as plain C on this computer."""

import ctypes

import numpy as np
import pytest

from nested_keras.cortex_m.scratch import nested_conv_scratch_bytes
from nested_keras.format import Stream, encode
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, random_layer
from tests.tflm_ops.cases import DEPTHWISE, make, stream_and_input
from tests.tflm_ops.library import ConvDims, Guarded, StatusError, pointer

pytestmark = pytest.mark.arm

LAYERS = {
    "3x3": make(DEPTHWISE, channels=(5, 1)),
    "3x3 stride 2, multiplier 3": make(DEPTHWISE, channels=(2, 3), stride=(2, 2), size=(7, 9)),
    "5x5": make(DEPTHWISE, channels=(3, 1), kernel=(5, 5), size=(9, 8), batches=2),
    "3x3 of an upright image": make(DEPTHWISE, channels=(3, 1), size=(25, 5), batches=2),
    "5x5 stride 2 of an upright image": make(
        DEPTHWISE, channels=(2, 2), kernel=(5, 5), stride=(2, 2), size=(33, 6)
    ),
    "3x3 of fours": make(DEPTHWISE, channels=(8, 1), size=(6, 6)),
    "3x3 of overlapping fours": make(DEPTHWISE, channels=(7, 1), size=(3, 4)),
    "3x3 of a pixel": make(DEPTHWISE, channels=(4, 1), size=(1, 1)),
    "3x3 without padding": make(DEPTHWISE, channels=(4, 1), size=(9, 7), same=False),
    "3x3 stride 1 by 2": make(DEPTHWISE, channels=(4, 1), stride=(1, 2), size=(7, 9)),
    "3x3 stride 2 by 1": make(DEPTHWISE, channels=(5, 1), stride=(2, 1), size=(7, 9)),
    "relu": make(DEPTHWISE, channels=(6, 1), size=(7, 8), output_offset=-128),
    "relu, multiplier 2": make(DEPTHWISE, channels=(5, 2), size=(4, 5), output_offset=-128),
    "relu, stride 2": make(
        DEPTHWISE, channels=(4, 1), stride=(2, 2), size=(8, 7), output_offset=-128
    ),
    "relu, stride 2 by 1": make(
        DEPTHWISE, channels=(4, 1), stride=(2, 1), size=(8, 7), output_offset=-128
    ),
    "relu, 5x5": make(DEPTHWISE, channels=(4, 1), kernel=(5, 5), size=(6, 6), output_offset=-128),
    "5x5 stride 2": make(DEPTHWISE, channels=(4, 1), kernel=(5, 5), stride=(2, 2), size=(9, 12)),
    "3x3 of several tiles": make(DEPTHWISE, channels=(2, 2), size=(23, 31)),
    "clamp": make(DEPTHWISE, channels=(3, 1), activation_min=-20, activation_max=33),
    "clamp above": make(DEPTHWISE, channels=(3, 1), activation_max=33),
}
OTHER_SHAPES = {
    "1x1": make(DEPTHWISE, kernel=(1, 1)),
    "3x5": make(DEPTHWISE, kernel=(3, 5)),
    "dilation 2": make(DEPTHWISE, dilation=(2, 2), size=(9, 9)),
    "dilation 2 of the columns": make(DEPTHWISE, dilation=(1, 2), size=(9, 9)),
    "stride 3": make(DEPTHWISE, stride=(3, 3), size=(9, 9)),
    "stride 3 of the columns": make(DEPTHWISE, stride=(1, 3), size=(9, 9)),
    "stride 3 of the rows": make(DEPTHWISE, stride=(3, 1), size=(9, 9)),
    "convolution": make(),
}


def check(nk, data, x, y_shape, levels):
    stream = nk.validate(data)
    sizes = (x.shape[0], *x.shape[1:3], *y_shape[1:3])
    dims = ConvDims(*sizes)
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data))
    tile_bytes = nested_conv_scratch_bytes(op.layer, sizes)
    for level in range(levels):
        y = Guarded(y_shape, np.int8)
        scratch = Guarded((tile_bytes,), np.int8)
        nk.c.nk_nested_depthwise_s8_dsp(
            stream, level, ctypes.byref(dims), pointer(x), pointer(y.array), pointer(scratch.array)
        )
        assert y.is_intact()
        assert scratch.is_intact()
        np.testing.assert_array_equal(
            y.array, operators.run_op(op, [x], y_shape, level), f"{level=}"
        )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", LAYERS)
def test_equals_reference_at_every_level(nk, name, profile):
    levels = 1 + list(LAYERS).index(name) % 4
    data, x, y_shape = stream_and_input(LAYERS[name], levels=levels, profile=profile, seed=7)
    check(nk, data, x, y_shape, levels)


@pytest.mark.parametrize("name", LAYERS)
def test_equals_reference_with_extreme_tables(nk, name):
    params, x_shape, y_shape = LAYERS[name]
    rng = np.random.default_rng(3)
    for seed in range(5):
        data = encode(random_layer(params, levels=3, seed=seed))
        check(nk, data, rng.choice([-128, 127], x_shape).astype(np.int8), y_shape, 3)


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_other_shapes_are_refused_by_the_entry_point(nk, name):
    data, x, y_shape = stream_and_input(OTHER_SHAPES[name], levels=1, profile="mixed", seed=1)
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.run_nested(data, 0, x, np.zeros(y_shape, np.int8), function="nk_nested_depthwise_s8")
