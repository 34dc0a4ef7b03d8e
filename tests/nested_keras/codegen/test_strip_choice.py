import itertools

import pytest

from nested_keras.codegen import ctext
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.model_plan import ModelPlan
from nested_keras.codegen.strip_choice import SMALLEST
from tests.nested_keras.codegen.programs import Builder, nested_net


def wide_chain():
    """Two small images with large images between them."""
    b = Builder()
    x = b.tensor((1, 48, 8, 4))
    y = b.conv(b.depthwise(b.conv(x, 16)), 4)
    return b.build([x], [b.conv(y, 4, stride=2)])


def plan(prog, arena=None):
    return ModelPlan(prog, "net", ctext.Constants(), arena)


def calls(prog, arena):
    return sum(len(tuple(group.calls())) for group in plan(prog, arena).groups)


def test_an_arena_that_is_large_enough_has_no_strips():
    prog = wide_chain()
    whole = plan(prog)
    assert whole.groups == ()
    assert plan(prog, whole.storage.arena_bytes).groups == ()


def test_a_smaller_arena_takes_more_calls():
    prog = wide_chain()
    whole = plan(prog).storage.arena_bytes
    smallest = plan(prog, SMALLEST).storage.arena_bytes
    assert smallest < whole / 2
    middle = (smallest + whole) // 2
    assert plan(prog, middle).storage.arena_bytes <= middle
    assert 0 < calls(prog, middle) < calls(prog, smallest)


def test_an_arena_that_cannot_be_reached_is_an_error_with_the_smallest():
    prog = wide_chain()
    smallest = plan(prog, SMALLEST).storage.arena_bytes
    with pytest.raises(CodegenError, match=rf"needs {smallest:,} bytes: got a limit of 100"):
        plan(prog, 100)


def test_groups_stand_in_order_and_apart():
    groups = plan(wide_chain(), SMALLEST).groups
    for before, after in itertools.pairwise(groups):
        assert before.last < after.first


def test_the_smallest_arena_is_not_larger_than_that_of_whole_operators():
    """In groups, the planner cannot place these images as tightly."""
    b = Builder()
    y = x = b.tensor((1, 32, 32, 4))
    for _ in range(4):
        y = b.conv(y, 4)
    prog = b.build([x], [y])
    assert plan(prog, SMALLEST).storage.arena_bytes <= plan(prog).storage.arena_bytes


def test_a_model_without_large_images_stays_as_it_is():
    prog = nested_net()
    smallest = plan(prog, SMALLEST)
    assert smallest.storage.arena_bytes <= plan(prog).storage.arena_bytes
