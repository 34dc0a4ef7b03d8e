"""Single issue on short sequences, worked out by hand from benchmarks/cycle_model.md."""

import pytest

from nested_keras.bench.instruction import parse
from nested_keras.bench.single_issue import block_cycles

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), 0),
        (("add r0, r1, r2", "smlal r0, r1, r2, r3", "ssat r0, #8, r1", "bne 10"), 4),
        # S1: a load takes two cycles, and one behind another load.
        (("ldr r0, [r1]",), 2),
        (("ldr r0, [r1]", "ldr r1, [r2]"), 3),
        (("ldr r0, [r1, r5]", "ldrb r1, [r2], #1", "ldrsb r2, [r3, #4]!"), 4),
        (("ldr r0, [r1]", "smlal r2, r3, r4, r5", "ldr r1, [r6]"), 5),
        # but not if its address comes from the load before.
        (("ldr r0, [r1]", "ldr r2, [r0]"), 4),
        (("ldr r1, [r1, #4]!", "ldr r2, [r1]"), 4),
        # S2: stores.
        (("str r0, [r1]", "str r0, [r1, #4]"), 2),
        (("str r0, [r1, r2]",), 2),
        (("ldr r0, [r1, r2]", "str r0, [r3, #20]"), 3),
        (("ldr r0, [r1, r2]", "str r1, [r3, r2]"), 3),
        (("str r0, [r1]", "ldr r2, [r3]"), 3),
        # S3: several registers.
        (("ldrd r0, r1, [r2]",), 3),
        (("ldmia r0!, {r1, r2, r3}",), 4),
        (("push {r4-r11, lr}",), 10),
        (("ldr r0, [r1]", "strd r2, r3, [r4]", "ldr r5, [r6]"), 7),
        # S4: an address that the ALU has just computed.
        (("add r0, r1, r2, lsl #4", "ldr r3, [r0]"), 4),
        (("add r0, r1, r2", "str r3, [r0]"), 3),
        (("add r0, r1, r2", "nop", "ldr r3, [r0]"), 4),
        (("add r3, r1, r2", "str r3, [r0]"), 2),
    ],
)
def test_sequences(lines, expected):
    assert block_cycles([parse(line) for line in lines]) == expected
