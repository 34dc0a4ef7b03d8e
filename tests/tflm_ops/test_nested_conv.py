"""The nested convolution against the NumPy reference, and what it refuses."""

import ctypes
import itertools

import numpy as np
import pytest

from nested_keras.cortex_m.scratch import nested_conv_scratch_bytes, nested_function
from nested_keras.format import NestedWeights, Stream, encode
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, encode_packed, random_layer
from tests.tflm_ops.cases import CASES, row, stream_and_input
from tests.tflm_ops.library import ConvDims, StatusError, aligned_copy, pointer


@pytest.mark.parametrize("pack", [encode, encode_packed])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_equals_reference_at_every_level(nk, name, profile, pack):
    seed = list(CASES).index(name)
    levels = 1 + seed % 5
    data, x, y_shape = stream_and_input(
        CASES[name], levels=levels, profile=profile, seed=seed, pack=pack
    )
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data))
    for level in range(levels):
        expected = operators.run_op(op, [x], y_shape, level)
        np.testing.assert_array_equal(nk.run_op(op, [x], y_shape, level), expected, f"{level=}")


def test_realistic_outputs_are_not_all_clamped(nk):
    data, x, y_shape = stream_and_input(CASES["odd channels"], levels=2, profile="mixed", seed=1)
    y = nk.run_op(
        operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data)), [x], y_shape, 1
    )
    assert (np.abs(y.astype(int)) < 127).mean() > 0.5


@pytest.mark.parametrize("name", ["3x3", "block 4 1x1", "depthwise", "row"])
def test_equals_reference_with_extreme_tables(nk, name):
    params, x_shape, y_shape = CASES[name]
    rng = np.random.default_rng(3)
    for seed in range(5):
        # random_layer draws biases, multipliers and shifts from their whole ranges.
        nested = random_layer(params, levels=3, seed=seed)
        op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(encode(nested)))
        x = rng.choice([-128, 127], x_shape).astype(np.int8)
        for level in range(3):
            expected = operators.run_op(op, [x], y_shape, level)
            np.testing.assert_array_equal(nk.run_op(op, [x], y_shape, level), expected)


def test_largest_accumulators(nk):
    # 65535 weights of -128 on inputs of 255: the largest sum that a stream can make.
    params, x_shape, y_shape = row(65535, 1, rows=1, input_offset=128)
    one = np.ones((1, 1), np.int32)
    nested = NestedWeights(
        params=params,
        weights=np.full(params.filter_shape, -128, np.int8),
        level_map=np.zeros(params.filter_shape, np.uint8),
        bias=0 * one,
        multiplier=(1 << 30) * one,
        shift=(-24 * one).astype(np.int8),
    )
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(encode(nested)))
    x = np.full(x_shape, 127, np.int8)
    y = nk.run_op(op, [x], y_shape)
    # -65535 * 128 * 255 / 2**25 = -63.75, plus the output offset.
    assert y.tolist() == [[-64 + 100]]


def test_cut_stream_gives_the_levels_it_holds(nk):
    data, x, y_shape = stream_and_input(CASES["3x3"], levels=4, profile="mixed", seed=5)
    for levels in range(1, 5):
        cut = Stream.parse(data).strip(levels).data
        for level in range(levels):
            whole, part = (
                nk.run_op(
                    operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(d)),
                    [x],
                    y_shape,
                    level,
                )
                for d in (data, cut)
            )
            np.testing.assert_array_equal(part, whole)
        op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(cut))
        with pytest.raises(StatusError, match="NK_ERROR_LEVEL"):
            nk.run_op(op, [x], y_shape, levels)


class Call:
    """Arguments of nk_nested_conv_s8 for a 3x3 layer on 5x6 pixels, to be spoilt one at a time."""

    def __init__(self, nk, name="3x3"):
        self.nk = nk
        data, self.x, y_shape = stream_and_input(CASES[name], levels=2, profile="mixed", seed=0)
        self.stream = nk.validate(data)
        self.y = np.full(y_shape, 99, np.int8)
        shape = (*self.x.shape[1:3], *y_shape[1:3]) if self.x.ndim == 4 else (1, 1, 1, 1)
        self.dims = ConvDims(self.x.shape[0], *shape)
        self.level = 1
        self.scratch = aligned_copy(bytes(4096))
        self.scratch_size = 4096

    def status(self):
        for function in (self.nk.c.nk_nested_conv_s8, self.nk.c.nk_nested_conv_s8_ref):
            status = function(
                self.stream,
                self.level,
                None if self.dims is None else ctypes.byref(self.dims),
                pointer(self.x),
                pointer(self.y),
                pointer(self.scratch),
                ctypes.c_size_t(self.scratch_size),
            )
        return self.nk.c.nk_status_name(status).decode()


@pytest.mark.parametrize("name", ["stream", "dims", "x", "y"])
def test_null_pointers_are_refused(nk, name):
    call = Call(nk)
    setattr(call, name, None)
    assert call.status() == "NK_ERROR_ARGUMENT"


@pytest.mark.parametrize("level", [-1, 2, 2**31 - 1, -(2**31)])
def test_levels_out_of_range_are_refused(nk, level):
    call = Call(nk)
    call.level = level
    assert call.status() == "NK_ERROR_LEVEL"
    assert (call.y == 99).all()


SPOILT_DIMS = [
    *itertools.product(
        ("batches", "input_h", "input_w", "output_h", "output_w"), (0, -1, 2**31 - 1)
    ),
    ("output_h", 7),  # the last window would start at row 6 - 1, past the 5 rows of the input
    ("output_w", 8),
    ("input_h", 65536),
]


@pytest.mark.parametrize(("name", "value"), SPOILT_DIMS)
def test_dimensions_that_do_not_fit_are_refused(nk, name, value):
    call = Call(nk)
    setattr(call.dims, name, value)
    assert call.status() == "NK_ERROR_SHAPE"
    assert nk.buffer_size(call.stream, call.dims) == -1
    assert (call.y == 99).all()


@pytest.mark.parametrize("name", ["input_h", "input_w", "output_h", "output_w"])
def test_fully_connected_takes_one_pixel_only(nk, name):
    call = Call(nk, "row")
    assert nk.buffer_size(call.stream, call.dims) == 0
    setattr(call.dims, name, 2)
    assert call.status() == "NK_ERROR_SHAPE"


def test_scratch_is_checked(nk):
    call = Call(nk)
    needed = nk.buffer_size(call.stream, call.dims)
    assert 5 * 6 * 4 <= needed <= 4096
    call.scratch_size = needed
    assert call.status() == "NK_OK"
    call.scratch_size = needed - 1
    assert call.status() == "NK_ERROR_BUFFER"
    call.scratch_size = 4096
    call.scratch = call.scratch[2:]
    assert call.status() == "NK_ERROR_BUFFER"
    call.scratch = None
    assert call.status() == "NK_ERROR_BUFFER"


def test_fully_connected_needs_no_scratch(nk):
    call = Call(nk, "row")
    call.scratch, call.scratch_size = None, 0
    assert call.status() == "NK_OK"


@pytest.mark.parametrize("pack", [encode, encode_packed])
@pytest.mark.parametrize("name", CASES)
def test_planned_scratch_is_what_the_kernels_ask_for(nk, name, pack):
    _, x_shape, y_shape = CASES[name]
    size = (*x_shape[1:3], *y_shape[1:3]) if len(x_shape) == 4 else (1, 1, 1, 1)
    for batches, levels in ((1, 1), (1, 3), (3, 2)):
        data, *_ = stream_and_input(CASES[name], levels=levels, profile="mixed", seed=0, pack=pack)
        dims = (batches, *size)
        asked = nk.buffer_size(nk.validate(data), ConvDims(*dims))
        assert nested_conv_scratch_bytes(Stream.parse(data), dims) == asked


def test_buffer_size_of_null_pointers(nk):
    call = Call(nk)
    assert nk.c.nk_nested_conv_s8_get_buffer_size(None, ctypes.byref(call.dims)) == -1
    assert nk.c.nk_nested_conv_s8_get_buffer_size(call.stream, None) == -1


ENTRY_POINTS = ("nk_nested_conv2d_s8", "nk_nested_depthwise_s8", "nk_nested_fully_connected_s8")


@pytest.mark.parametrize("name", CASES)
def test_the_entry_point_of_a_layer_gives_the_same_and_others_refuse_it(nk, name):
    data, x, y_shape = stream_and_input(CASES[name], levels=2, profile="mixed", seed=4)
    expected, got = np.zeros(y_shape, np.int8), np.zeros(y_shape, np.int8)
    nk.run_nested(data, 1, x, expected)
    own = nested_function(Stream.parse(data))
    nk.run_nested(data, 1, x, got, function=own)
    np.testing.assert_array_equal(got, expected)
    for other in set(ENTRY_POINTS) - {own.replace("_small", "")}:
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.run_nested(data, 1, x, got, function=other)
