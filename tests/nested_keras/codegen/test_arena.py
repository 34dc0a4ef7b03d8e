import dataclasses

import pytest
from hypothesis import given, strategies as st

from nested_keras.codegen.arena import ALIGNMENT, Buffer, plan_arena


@st.composite
def buffer_lists(draw):
    count = draw(st.integers(0, 12))
    buffers = []
    for _ in range(count):
        first = draw(st.integers(0, 8))
        buffers.append(Buffer(draw(st.integers(0, 200)), first, first + draw(st.integers(0, 4))))
    return buffers


@given(buffer_lists())
def test_buffers_that_one_operator_needs_are_disjoint(buffers):
    plan = plan_arena(buffers)
    for i, (a, a_offset) in enumerate(zip(buffers, plan.offsets, strict=True)):
        assert a_offset % ALIGNMENT == 0
        assert a_offset + a.size <= plan.size
        for b, b_offset in zip(buffers[:i], plan.offsets[:i], strict=True):
            if a.overlaps(b):
                assert a_offset + a.size <= b_offset or b_offset + b.size <= a_offset


@given(buffer_lists())
def test_arena_is_no_larger_than_all_buffers_and_no_smaller_than_one_operator_needs(buffers):
    plan = plan_arena(buffers)
    padded = [-(-buffer.size // ALIGNMENT) * ALIGNMENT for buffer in buffers]
    assert plan.size <= sum(padded)
    for op in range(13):
        assert plan.size >= sum(b.size for b in buffers if b.first <= op <= b.last)


def test_late_buffers_are_placed_around_the_others():
    early = [Buffer(48, 1, 2), Buffer(32, 0, 1)]
    plan = plan_arena([Buffer(64, 0, 0, is_late=True), *early])
    assert plan.offsets[1:] == plan_arena(early).offsets
    assert plan.offsets[0] == 80


def test_a_chain_uses_the_two_ends_of_the_arena_in_turn():
    # Each operator reads one buffer and writes the next: two buffers are alive at a time.
    plan = plan_arena([Buffer(100, i, i + 1) for i in range(5)])
    assert plan.size == 112 + 112
    assert plan.offsets == (0, 112, 0, 112, 0)


def test_a_small_buffer_fills_the_gap_between_larger_ones():
    large, medium, late, small = (
        Buffer(64, 0, 9),
        Buffer(48, 0, 3),
        Buffer(32, 4, 9),
        Buffer(16, 4, 9),
    )
    plan = plan_arena([large, medium, late, small])
    assert plan.size == 64 + 48
    assert plan.offsets == (0, 64, 64, 96)


def test_no_buffers_need_no_arena():
    assert plan_arena([]).size == 0


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="size must be >= 0: got -1"):
        Buffer(-1, 0, 0)


def test_a_reversed_lifetime_is_refused():
    with pytest.raises(ValueError, match="expected 0 <= first <= last: got 3 and 2"):
        Buffer(1, 3, 2)


@given(buffer_lists(), st.data())
def test_buffers_that_share_memory_have_one_offset_and_disturb_no_other(buffers, data):
    if len(buffers) < 2:
        return
    second = data.draw(st.integers(1, len(buffers) - 1))
    first = data.draw(st.integers(0, second - 1))
    buffers[second] = dataclasses.replace(buffers[second], shares=first)
    plan = plan_arena(buffers)
    assert plan.offsets[first] == plan.offsets[second]
    for i, (a, a_offset) in enumerate(zip(buffers, plan.offsets, strict=True)):
        for j, (b, b_offset) in enumerate(zip(buffers[:i], plan.offsets[:i], strict=True)):
            if a.overlaps(b) and {i, j} != {first, second}:
                assert a_offset + a.size <= b_offset or b_offset + b.size <= a_offset
