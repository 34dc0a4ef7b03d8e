"""Convolutions joined with the addition that follows: which, the same bytes, and the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from nested_keras.codegen import ctext
from nested_keras.codegen.fusion import ConvAdd, join_additions, sum_kernel
from nested_keras.codegen.model_plan import ModelPlan
from nested_keras.codegen.weights_file import ExternalConstants
from nested_keras.firmware import HostModel
from nested_keras.format import Stream
from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.runtime.reference import ReferenceModel
from nested_keras.tflite.operators.elementwise import Add
from nested_keras.tflite.program import Program
from tests.nested_keras.codegen.programs import Builder

SHAPE = (1, 9, 11, 6)


def add(
    b: Builder, first: int, second: int, *, scales: tuple[float, ...] = (), **fields: int
) -> int:
    """An addition whose scales have a short form; or of the given scales."""
    one, other, output = scales or (0.0497, 0.0312, 0.0611)
    common = 2 * max(one, other)
    numbers = {
        "input1": quantize_multiplier(one / common),
        "input2": quantize_multiplier(other / common),
        "output": quantize_multiplier(common / (output * 2**20)),
    }
    values = {f"{name}_multiplier": pair[0] for name, pair in numbers.items()}
    values |= {f"{name}_shift": pair[1] for name, pair in numbers.items()}
    values |= {"left_shift": 20, "input1_offset": 3, "input2_offset": -5, "output_offset": -7}
    values |= {"activation_min": -128, "activation_max": 127, **fields}
    shape = np.broadcast_shapes(b.tensors[first].shape, b.tensors[second].shape)
    return b.add(Add, [first, second], b.tensor(shape), **values)


def residual(*, conv_first: bool, dense: bool = False) -> Program:
    """A stem, a convolution, and a convolution whose output is added to the stem's."""
    b = Builder(levels=1 if dense else 3)
    conv = b.conv if dense else b.nested
    x = b.tensor((1, *SHAPE[1:3], 5))
    stem = conv(x, 6)
    second = conv(conv(stem, 8), 6)
    pair = (second, stem) if conv_first else (stem, second)
    y = add(b, *pair, activation_min=-100, activation_max=90)
    return b.build([x], [conv(y, 4)])


def joined(program: Program) -> list[int]:
    ops = join_additions(program).ops
    assert len(ops) == len(program.ops)
    return [index for index, op in enumerate(ops) if isinstance(op, ConvAdd)]


@pytest.mark.parametrize("conv_first", [True, False])
@pytest.mark.parametrize("dense", [True, False])
def test_a_joined_addition_gives_the_same_bytes(conv_first: bool, dense: bool) -> None:
    program = residual(conv_first=conv_first, dense=dense)
    assert joined(program) == [3]
    model, reference = HostModel(program), ReferenceModel(program)
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (2, *program.tensors[0].shape[1:]), dtype=np.int8)
    for level in range(program.levels):
        np.testing.assert_array_equal(model.run(values, level), reference.run(values, level))


@pytest.mark.parametrize(
    ("dense", "side", "small"),
    [(False, 9, ""), (True, 9, "_small"), (False, 7, "_small")],
    ids=["sparse", "dense", "a list would not pay"],
)
def test_only_a_model_of_single_weights_links_chains(dense: bool, side: int, small: str) -> None:
    b = Builder(levels=3)
    x = b.tensor((1, side, side, 8))
    stem = b.conv(x, 40)
    y = b.conv(stem, 40) if dense else b.nested(stem, 40)
    program = b.build([x], [add(b, y, stem)])
    assert sum_kernel(join_additions(program)) == f"nk_nested_conv2d_add{small}_s8"
    codes = ModelPlan(program, "net", ctext.Constants()).codes
    assert {code.kernel for code in codes.values()} == {
        f"nk_nested_conv2d{small}_s8",
        f"nk_nested_conv2d_add{small}_s8",
    }


def test_the_sum_takes_the_memory_of_what_is_added() -> None:
    program = residual(conv_first=True)
    storage = ModelPlan(program, "net", ctext.Constants()).storage
    (stem,) = program.ops[0].outputs
    (total,) = program.ops[3].outputs
    assert storage.homes[total] == storage.homes[stem]


def kept_stem(b: Builder, x: int) -> tuple[int, int]:
    """The stem is read again after the addition."""
    stem = b.nested(x, 6)
    return add(b, b.nested(stem, 6), stem), stem


def input_of_the_convolution(b: Builder, x: int) -> tuple[int, int]:
    """What is added is the input of the convolution, whose windows overlap."""
    stem = b.nested(x, 6)
    return add(b, b.nested(stem, 6), stem), x


@pytest.mark.parametrize("make", [kept_stem, input_of_the_convolution])
def test_memory_that_is_still_needed_is_not_taken(
    make: Callable[[Builder, int], tuple[int, int]],
) -> None:
    b = Builder(levels=2)
    x = b.tensor(SHAPE)
    total, more = make(b, x)
    y = add(b, b.nested(total, 6), more)
    program = b.build([x], [y])
    assert joined(program) == [2, 4]
    storage = ModelPlan(program, "net", ctext.Constants()).storage
    assert storage.homes[total] != storage.homes[program.ops[0].outputs[0]]
    values = b.int8(*SHAPE)
    np.testing.assert_array_equal(
        HostModel(program).run(values, 1), ReferenceModel(program).run(values, 1)
    )


def test_what_cannot_be_joined_stays() -> None:
    b = Builder(levels=2)
    x = b.tensor(SHAPE)
    read_twice = b.nested(x, 6)
    first = add(b, read_twice, x)
    second = add(b, b.nested(first, 6), read_twice)  # joined
    halves = add(b, b.nested(second, 6), second, scales=(0.05, 0.03, 0.06))  # no short form
    broadcast = add(b, b.nested(halves, 1), halves)
    depthwise = add(b, b.depthwise(broadcast), broadcast)
    twice = b.nested(depthwise, 6)
    last = add(b, twice, twice)
    program = b.build([x], [last])
    assert joined(program) == [3]
    values = b.int8(*SHAPE)
    np.testing.assert_array_equal(
        HostModel(program).run(values, 0), ReferenceModel(program).run(values, 0)
    )


def test_an_output_of_the_model_stays() -> None:
    b = Builder()
    x = b.tensor(SHAPE)
    conv = b.nested(x, 6)
    total = add(b, conv, x)
    assert joined(b.build([x], [total, conv])) == []
    assert joined(b.build([x], [total])) == [1]


def test_a_dilated_convolution_stays() -> None:
    b = Builder()
    x = b.tensor(SHAPE)
    y = add(b, b.nested(x, 6), x)
    weights = b.ops[0].layer.weights
    dilated = {"dilation_h": 2, "dilation_w": 2, "pad_top": 2, "pad_left": 2}
    params = dataclasses.replace(weights.params, **dilated)
    layer = Stream.pack(dataclasses.replace(weights, params=params))
    b.ops[0] = dataclasses.replace(b.ops[0], layer=layer)
    assert joined(b.build([x], [y])) == []


def test_a_file_of_weights_may_bring_other_sums() -> None:
    program = residual(conv_first=True)
    plan = ModelPlan(program, "net", ExternalConstants())
    assert plan.program is program
