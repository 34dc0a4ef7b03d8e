"""Issue model on short sequences, worked out by hand from benchmarks/cycle_model.md."""

import pytest

from nested_keras.bench.instruction import parse
from nested_keras.bench.pipeline import loop_cycles, straight_cycles

pytestmark = pytest.mark.slow


def cycles(*lines):
    return straight_cycles([parse(line) for line in lines])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), 0),
        (("add r0, r1, r2",), 1),
        # Two independent instructions share a cycle, a third needs another.
        (("add r0, r1, r2", "add r3, r4, r5"), 1),
        (("add r0, r1, r2", "add r3, r4, r5", "add r6, r7, r8"), 2),
        # A result is ready in the next cycle.
        (("add r0, r1, r2", "add r3, r0, r5"), 2),
        # P1: DSP instructions issue as the older of a pair only.
        (("sxtb16 r0, r1", "sxtb16 r2, r3"), 2),
        (("sxtb16 r0, r1", "add r2, r3, r4"), 1),
        (("add r2, r3, r4", "sxtb16 r0, r1"), 2),
        # P2: one multiplication or store a cycle.
        (("mul r0, r1, r2", "mul r3, r4, r5"), 2),
        (("mul r0, r1, r2", "str r3, [r4]"), 2),
        (("str r0, [r1]", "str r2, [r3]"), 2),
        (("mul r0, r1, r2", "ldr r3, [r4]"), 1),
        (("str r0, [r1]", "ldr r2, [r3]"), 1),
        # P3: one inline shift a cycle.
        (("add r0, r1, r2, lsl #2", "add r3, r4, r5, lsl #2"), 2),
        (("ssat r0, #8, r1", "add r3, r4, r5, lsl #2"), 2),
        (("add r0, r1, r2, lsl #2", "lsl r3, r4, #2"), 1),
        # P4: loads from the even and the odd bank pair.
        (("ldr r0, [r4]", "ldr r1, [r4, #4]"), 1),
        (("ldr r0, [r4]", "ldr r1, [r4, #8]"), 2),
        (("ldr r0, [r4, #4]", "ldr r1, [r4]"), 1),
        # P5: multiple loads and stores stand alone, two registers a cycle.
        (("ldrd r0, r1, [r4]", "add r2, r3, r5"), 2),
        (("push {r4, r5, r6, r7}",), 2),
        (("add r2, r3, r5", "push {r4, r5, r6, r7}", "add r0, r1, r3"), 4),
        # P6: a branch pairs with anything but a branch.
        (("add r0, r1, r2", "b 10"), 1),
        (("b 10", "b 20"), 2),
        # R1, R2: loads feed an ALU after one cycle, or two for bytes; the shifter one later.
        (("ldr r0, [r1]", "add r2, r0, r3"), 2),
        (("ldrb r0, [r1]", "add r2, r0, r3"), 3),
        (("ldr r0, [r1]", "add r2, r3, r0, lsl #2"), 3),
        (("ldr r0, [r1]", "ldr r2, [r0]"), 3),
        (("ldr r0, [r1]", "mul r2, r0, r3"), 3),
        (("ldrb r0, [r1]", "mul r2, r0, r3"), 4),
        # R3: a product is an ALU operand after two cycles, but an addend after one.
        (("mul r0, r1, r2", "add r3, r0, r4"), 3),
        (("mla r0, r1, r2, r0", "mla r0, r3, r4, r0"), 2),
        (("mul r0, r1, r2", "mul r3, r0, r4"), 3),
        # R4 to R6: addresses can use what add, sub and mov gave in the cycle before, no other.
        (("add r0, r1, r2", "ldr r3, [r0]"), 2),
        (("and r0, r1, r2", "ldr r3, [r0]"), 3),
        (("add r0, r1, r2, lsl #4", "ldr r3, [r0]"), 3),
        (("uxtb r0, r1", "ldr r3, [r0]"), 3),
        # R7: a written-back base is ready in the next cycle.
        (("ldr r0, [r1], #4", "ldr r2, [r1]"), 2),
        # R8: an addend may come from any producer of the cycle before.
        (("ldrb r0, [r1]", "mla r2, r3, r4, r0"), 2),
        # R9: a store takes a result of its own cycle.
        (("add r0, r1, r2", "str r0, [r3]"), 1),
        (("ldr r0, [r1]", "str r0, [r3]"), 1),
        # R10: flags are ready in the next cycle, and a predicated move needs its old value.
        (("subs r0, r1, r2", "bne 10"), 2),
        (("cmp r0, r1", "it gt", "movgt r2, r3"), 2),
        (("mul r2, r4, r5", "cmp r0, r1", "it gt", "movgt r2, r3"), 3),
    ],
)
def test_straight_line(lines, expected):
    assert cycles(*lines) == expected


def test_loads_with_unknown_banks_pair_every_other_time():
    loop = [parse(text) for text in ("ldr r0, [r4]", "ldr r1, [r5]")]
    # A pair, then one alone because the next conflicts: three loads in two cycles.
    assert loop_cycles(loop) == pytest.approx(4 / 3, abs=0.05)


def test_a_loop_settles_to_its_steady_state():
    # Two slots a cycle, three instructions: passes take 1 and 2 cycles in turn.
    loop = [parse(text) for text in ("add r0, r1, r2", "add r3, r4, r5", "add r6, r7, r8")]
    assert loop_cycles(loop) == 1.5


def test_a_loop_carried_dependency_bounds_the_pass():
    # One addition needs the sum of the pass before; the products overlap.
    assert loop_cycles([parse("mla r0, r1, r2, r0")]) == 1
    # The multiplier needs its own result, two cycles later.
    assert loop_cycles([parse("mul r0, r0, r1")]) == 2


def test_a_word_copy_loop():
    lines = ("ldr r3, [r1], #4", "str r3, [r0], #4", "subs r2, #1", "bne 0 <copy>")
    assert loop_cycles([parse(line) for line in lines]) == 2
