"""Convolutions that run a part of their channels at a time, in a small arena."""

import numpy as np

from nested_keras.codegen import ctext
from nested_keras.codegen.model_plan import ModelPlan
from nested_keras.codegen.strip_choice import SMALLEST
from nested_keras.firmware import HostModel
from nested_keras.runtime.reference import ReferenceModel
from tests.nested_keras.codegen.programs import Builder


def many_channels():
    """A 1x1 convolution whose list of weights is the largest thing in the arena."""
    b = Builder(levels=2)
    x = b.tensor((1, 3, 3, 16))
    y = b.nested(b.nested(x, 8), 400, kernel=1)
    return b.build([x], [b.nested(y, 4, kernel=1)])


def plan(prog, arena=None):
    return ModelPlan(prog, "net", ctext.Constants(), arena)


def in_parts(planned):
    return [index for index, code in planned.codes.items() if "_parts_" in code.kernel]


def test_the_layer_with_the_long_list_runs_in_parts_and_no_other_does():
    prog = many_channels()
    whole, smallest = plan(prog), plan(prog, SMALLEST)
    assert in_parts(whole) == []
    assert in_parts(smallest) == [1]
    assert smallest.storage.arena_bytes < whole.storage.arena_bytes - 5000
    assert smallest.stream_check == "nk_stream_validate_in_place"


def test_a_limit_that_parts_meet_needs_no_strips():
    prog = many_channels()
    whole = plan(prog).storage.arena_bytes
    assert in_parts(plan(prog, whole)) == []
    limited = plan(prog, whole - 1)
    assert in_parts(limited) == [1]
    assert limited.groups == ()


def test_parts_give_the_same_bytes():
    prog = many_channels()
    x = np.random.default_rng(0).integers(-128, 128, (1, 3, 3, 16)).astype(np.int8)
    model, reference = HostModel(prog, arena=SMALLEST), ReferenceModel(prog)
    for level in range(2):
        np.testing.assert_array_equal(model.run(x, level), reference.run(x, level))
