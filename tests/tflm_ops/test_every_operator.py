"""What the C function of every operator must do: the samples of all operators are called by it.

The function computes what the NumPy kernel and LiteRT compute. It refuses null pointers, impossible
dimensions and parameters out of the ranges of nk_ops.h. What an operator refuses besides stands in
the tests of its family.
"""

import ctypes
import re

import numpy as np
import pytest

from nested_keras.tflite import operators
from tests.nested_keras.runtime.oracle import assert_exact, assert_exact_in_c
from tests.nested_keras.tflite.operators.samples import programs, samples
from tests.tflm_ops.library import Call

# The conventions of nk_ops.h by the names of the fields: values just out of range. An operator with
# another range has other names, or says the range in nk_ops.h and in the tests of its family.
OUT_OF_RANGE = {
    r"input\d?_offset": (-128, 129),
    r"output_offset|zero_point|value|activation_m(in|ax)": (-129, 128),
    r"((input\d?|output)_)?multiplier": (-1,),
    r"((input\d?|output)_)?shift": (-32, 31),
    r"left_shift": (-1, 23),
    r"stride_[hw]|dilation_[hw]": (0, -1, 65536),
    r"filter_[hw]": (0, -1, 65536),
    r"pad_(top|left)": (-1, 65536),
    r"scale": (0.0, -1.0, np.inf, np.nan),
}
CALLED = [
    name for name, program in programs().items() if operators.registration_of(program.ops[0]).c_call
]


def sample_call(nk, name):
    """The call of the C function of a sample, with random inputs."""
    program = programs()[name]
    (op,) = program.ops
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(-128, 128, program.tensors[index].shape).astype(program.tensors[index].dtype)
        for index in op.inputs
    ]
    output = program.tensors[op.outputs[0]]
    return Call(nk, op, inputs, np.zeros(output.shape, output.dtype))


@pytest.fixture(params=CALLED)
def call(nk, request):
    made = sample_call(nk, request.param)
    assert made.status() == "NK_OK"
    return made


@pytest.mark.parametrize("name", CALLED)
def test_litert_and_numpy_and_c_agree(nk, name):
    inputs = sample_call(nk, name).inputs
    assert_exact(samples()[name], *inputs)
    assert_exact_in_c(nk, samples()[name], *inputs)


def test_every_operator_has_a_sample():
    sampled = {type(program.ops[0]) for program in programs().values()}
    assert sampled == {entry.op for entry in operators.OPERATORS}


def test_null_pointers_are_refused(call):
    good = [*call.head, *call.rest]
    for spoilt, argument in enumerate(good):
        if not isinstance(argument, int):
            status = call.status(*good[:spoilt], None, *good[spoilt + 1 :])
            assert status == "NK_ERROR_ARGUMENT", f"{spoilt=}"


def test_null_pointers_in_lists_of_pointers_are_refused(call):
    for argument in call.rest:
        if isinstance(argument, ctypes.Array) and argument._type_ is ctypes.c_void_p:
            for spoilt, address in enumerate(argument):
                argument[spoilt] = None
                assert call.status() == "NK_ERROR_ARGUMENT", f"{spoilt=}"
                argument[spoilt] = address


def test_null_pointers_in_parameters_are_refused(call):
    for name, kind in call.params._fields_:
        if kind is ctypes.c_void_p:
            address = getattr(call.params, name)
            setattr(call.params, name, None)
            assert call.status() == "NK_ERROR_ARGUMENT", name
            setattr(call.params, name, address)


@pytest.mark.parametrize("size", [0, -1])
def test_dimensions_that_are_not_positive_are_refused(call, size):
    for dims in call.dims():
        for axis in "nhwc":
            before = getattr(dims, axis)
            setattr(dims, axis, size)
            assert call.status() in ("NK_ERROR_SHAPE", "NK_ERROR_ARGUMENT"), axis
            setattr(dims, axis, before)


def test_more_elements_than_an_int32_counts_are_refused(call):
    all_dims = list(call.dims())
    for dims in all_dims:
        dims.n, dims.c = 65536, 65536
    if all_dims:
        assert call.status() in ("NK_ERROR_SHAPE", "NK_ERROR_ARGUMENT")


def test_counts_that_are_not_positive_are_refused(call):
    for place, argument in enumerate(call.rest):
        if isinstance(argument, int):
            for count in (0, -1, -(2**31)):
                rest = [*call.rest[:place], count, *call.rest[place + 1 :]]
                assert call.status(*call.head, *rest) in ("NK_ERROR_SHAPE", "NK_ERROR_ARGUMENT")


def test_parameters_out_of_range_are_refused(call):
    for name, kind in call.params._fields_:
        if kind not in (ctypes.c_int32, ctypes.c_float):
            continue
        for pattern, values in OUT_OF_RANGE.items():
            for value in values if re.fullmatch(pattern, name) else ():
                before = getattr(call.params, name)
                setattr(call.params, name, value)
                assert call.status() == "NK_ERROR_ARGUMENT", f"{name} = {value}"
                setattr(call.params, name, before)
