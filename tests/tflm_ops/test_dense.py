"""The dense kernels against the NumPy reference, and what they refuse."""

import ctypes
import dataclasses

import numpy as np
import pytest

from nested_keras.format import LayerKind
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import random_layer
from tests.tflm_ops.cases import CASES, realistic
from tests.tflm_ops.library import Dims4, StatusError, params_struct, pointer

OP_OF_KIND = {
    LayerKind.CONV: operators.Conv2D,
    LayerKind.DEPTHWISE: operators.DepthwiseConv2D,
    LayerKind.FULLY_CONNECTED: operators.FullyConnected,
}
SPATIAL = ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left")


def dense_op(params, nested):
    """The dense operator with the layer's weights."""
    names = ["input_offset", "output_offset", "activation_min", "activation_max"]
    if params.kind != LayerKind.FULLY_CONNECTED:
        names += SPATIAL
    if params.kind == LayerKind.DEPTHWISE:
        names.append("depth_multiplier")
    weights = nested.weights
    if params.kind == LayerKind.FULLY_CONNECTED:
        weights = weights.reshape(params.out_channels, -1)
    return OP_OF_KIND[params.kind](
        name="",
        inputs=(0,),
        outputs=(1,),
        filter=weights,
        bias=nested.bias[0],
        multiplier=nested.multiplier[0],
        shift=nested.shift[0].astype(np.int32),
        **{name: getattr(params, name) for name in names},
    )


def case(name, *, extreme=False):
    params, x_shape, y_shape = CASES[name]
    seed = list(CASES).index(name)
    nested = random_layer(params, levels=1, profile="full", seed=seed)
    if not extreme:
        nested = realistic(nested, seed=seed)
    x = np.random.default_rng(seed).integers(-128, 128, x_shape).astype(np.int8)
    return dense_op(params, nested), x, y_shape


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_equals_reference(nk, name, extreme):
    op, x, y_shape = case(name, extreme=extreme)
    expected = operators.run_op(op, [x], y_shape)
    np.testing.assert_array_equal(nk.run_op(op, [x], y_shape), expected)


KINDS = ["3x3", "depthwise multiplier 3", "row"]
BAD_PARAMS = {
    "input_offset": (-128, 129),
    "output_offset": (-129, 128),
    "activation_min": (-129, 128),
    "activation_max": (128, -129),
    "stride_h": (0, -1, 65536),
    "stride_w": (0, -1, 65536),
    "dilation_h": (0, -1, 65536),
    "dilation_w": (0, -1, 65536),
    "pad_top": (-1, 65536),
    "pad_left": (-1, 65536),
}


@pytest.mark.parametrize("name", KINDS)
def test_parameters_out_of_range_are_refused(nk, name):
    op, x, y_shape = case(name)
    for field, values in BAD_PARAMS.items():
        for value in values:
            if hasattr(op, field):
                spoilt = dataclasses.replace(op, **{field: value})
                with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
                    nk.run_op(spoilt, [x], y_shape)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("field", "value"), [("multiplier", -(2**31)), ("shift", 31), ("shift", -32)]
)
def test_channel_tables_out_of_range_are_refused(nk, name, field, value):
    op, x, y_shape = case(name)
    table = getattr(op, field).copy()
    table[-1] = value
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        nk.run_op(dataclasses.replace(op, **{field: table}), [x], y_shape)


@pytest.mark.parametrize("name", ["3x3", "depthwise multiplier 3"])
def test_shapes_that_do_not_fit_are_refused(nk, name):
    op, x, y_shape = case(name)
    n, h, w, c = y_shape
    for shape in ((n + 1, h, w, c), (n, h, w, c + 1), (n, h + 9, w, c), (n, h, w + 9, c)):
        with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
            nk.run_op(op, [x], shape)
    with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
        nk.run_op(op, [x[..., :-1]], y_shape)


@pytest.mark.parametrize("dims", [(1, 65536, 1, 4), (0, 5, 6, 4), (1, -5, 6, 4), (65535,) * 4])
def test_input_dimensions_out_of_range_are_refused(nk, dims):
    op, x, y_shape = case("3x3")
    params = params_struct(op)
    y = np.empty(y_shape, np.int8)
    status = nk.c.nk_conv2d_s8(
        ctypes.byref(params),
        ctypes.byref(Dims4(*dims)),
        pointer(x),
        ctypes.byref(Dims4(*y_shape)),
        pointer(y),
    )
    assert nk.c.nk_status_name(status) == b"NK_ERROR_SHAPE"


def test_fully_connected_checks_its_rows(nk):
    op, x, y_shape = case("row")
    params, y = params_struct(op), np.empty(y_shape, np.int8)
    for rows in (0, -1, 2**31 - 1):
        status = nk.c.nk_fully_connected_s8(ctypes.byref(params), rows, pointer(x), pointer(y))
        assert nk.c.nk_status_name(status) == b"NK_ERROR_SHAPE"
