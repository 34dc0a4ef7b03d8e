import ctypes
import dataclasses

import numpy as np
import pytest

from nested_keras.firmware import FirmwareError, HostModel
from nested_keras.tflite import operators
from tests.nested_keras.codegen.programs import (
    Builder,
    every_op,
    expected,
    float_ends,
    image_chain,
    nested_net,
    pass_through,
    random_inputs,
    with_stream,
    wrong_nonzeros,
)


def two_outputs_of_one_tensor():
    b = Builder()
    x = b.tensor((1, 4, 4, 4))
    y = b.conv(x, 4)
    first, second = b.reshape(y, 1, 64), b.reshape(y, 1, 16, 4)
    return b.build([x], [first, second, first, x])


def constant_operand():
    b = Builder()
    x = b.tensor((1, 5, 4, 3))
    y = b.sum(b.tensor((3,), data=b.int8(3)), x)
    return b.build([x], [b.sum(y, b.tensor((1, 5, 1, 1), data=b.int8(1, 5, 1, 1)))])


PROGRAMS = {
    "image_chain": image_chain,
    "nested": nested_net,
    "five_levels": lambda: nested_net(levels=5, seed=7),
    "every_op": every_op,
    "float_ends": float_ends,
    "pass_through": pass_through,
    "two_outputs": two_outputs_of_one_tensor,
    "constant_operand": constant_operand,
}


# The smallest arena: operators run strip by strip, and some write where they read.
ARENAS = [(name, None) for name in sorted(PROGRAMS)]
ARENAS += [(name, "smallest") for name in ("every_op", "image_chain", "two_outputs")]


@pytest.mark.parametrize(("name", "arena"), ARENAS)
def test_generated_c_computes_what_the_numpy_kernels_compute(name, arena, object_cache):
    prog = PROGRAMS[name]()
    x = random_inputs(prog, 3)
    model = HostModel(prog, cache_dir=object_cache, arena=arena)
    assert model.levels == prog.levels
    for level in range(prog.levels):
        got = model.run(x, level)
        for y, wanted in zip(
            got if isinstance(got, tuple) else (got,), expected(prog, x, level), strict=True
        ):
            assert y.dtype == wanted.dtype
            np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(("name", "arena"), ARENAS)
def test_inputs_and_outputs_may_lie_in_the_arena(name, arena, object_cache):
    prog = PROGRAMS[name]()
    x = random_inputs(prog, 1)
    model = HostModel(prog, cache_dir=object_cache, arena=arena)

    def place(kind, index, count):
        function = model._dll[f"model_{kind}" if count == 1 else f"model_{kind}{index}"]
        function.restype = ctypes.c_void_p
        return function()

    ins = [place("input", k, len(prog.inputs)) for k in range(len(prog.inputs))]
    outs = [place("output", k, len(prog.outputs)) for k in range(len(prog.outputs))]
    for level in range(prog.levels):
        for address, value in zip(ins, x, strict=True):
            ctypes.memmove(address, value.tobytes(), value.nbytes)
        pointers = [ctypes.c_void_p(address) for address in (*ins, *outs)]
        assert model._dll.model_invoke(*pointers, ctypes.c_int32(level)) == 0
        for address, wanted in zip(outs, expected(prog, x, level), strict=True):
            assert ctypes.string_at(address, wanted.nbytes) == wanted.tobytes()


def test_the_default_level_is_the_densest(object_cache):
    prog = nested_net()
    model = HostModel(prog, cache_dir=object_cache)
    x = random_inputs(prog, 2)
    np.testing.assert_array_equal(model.run(x), model.run(x, 2))
    assert (model.run(x) != model.run(x, 0)).any()


def test_a_level_out_of_range_is_refused(object_cache):
    model = HostModel(nested_net(), cache_dir=object_cache)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        model.run(random_inputs(nested_net(), 1), 3)


def test_damaged_weights_are_noticed(object_cache):
    prog = with_stream(nested_net(), wrong_nonzeros)
    with pytest.raises(FirmwareError, match="model_check returned NK_ERROR_MALFORMED"):
        HostModel(prog, cache_dir=object_cache)


def test_streams_of_fewer_levels_than_the_model_are_noticed(object_cache):
    prog = dataclasses.replace(nested_net(levels=2), levels=3)
    with pytest.raises(FirmwareError, match="model_check returned NK_ERROR_LEVEL"):
        HostModel(prog, cache_dir=object_cache)


def test_an_error_of_a_kernel_is_reported(object_cache):
    b = Builder()
    x = b.tensor((1, 4))
    y = b.add(operators.Quantize, [x], b.tensor((1, 4)), scale=0.0, zero_point=0)
    tensors = (dataclasses.replace(b.tensors[x], dtype="float32"), b.tensors[y])
    prog = dataclasses.replace(b.build([x], [y]), tensors=tensors)
    with pytest.raises(FirmwareError, match="model_invoke returned NK_ERROR_ARGUMENT"):
        HostModel(prog, cache_dir=object_cache).run(np.zeros((1, 4), np.float32))
