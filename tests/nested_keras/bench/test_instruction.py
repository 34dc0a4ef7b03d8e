"""What is read from a line of disassembly."""

import pytest

from nested_keras.bench.instruction import FLAGS, Port, Unit, parse, registers_in

EARLY, LATE, STORE_DATA = Port.EARLY, Port.LATE, Port.STORE_DATA
MULTIPLIER, ACCUMULATOR = Port.MULTIPLIER, Port.ACCUMULATOR


def writes(text):
    return [register for register, _ in parse(text).writes]


@pytest.mark.parametrize(
    ("text", "unit", "reads", "written"),
    [
        ("adds\tr0, r1, r2", Unit.PLAIN, {("r1", LATE), ("r2", LATE)}, ["r0", FLAGS]),
        ("add.w r0, r1, r2, lsl #4", Unit.SHIFTED, {("r1", LATE), ("r2", EARLY)}, ["r0"]),
        ("subs r2, #1", Unit.PLAIN, {("r2", LATE)}, ["r2", FLAGS]),
        ("lsl.w r0, r1, #3", Unit.PLAIN, {("r1", LATE)}, ["r0"]),
        ("cmp r0, r1", Unit.PLAIN, {("r0", LATE), ("r1", LATE)}, [FLAGS]),
        ("movls r0, r1", Unit.PLAIN, {("r1", LATE), (FLAGS, LATE), ("r0", LATE)}, ["r0"]),
        ("ite ge", Unit.PLAIN, set(), []),
        ("nop", Unit.PLAIN, set(), []),
        ("sxtb16 r0, r1", Unit.DSP, {("r1", LATE)}, ["r0"]),
        ("sxtab16 r0, r1, r2, ror #8", Unit.DSP, {("r1", LATE), ("r2", EARLY)}, ["r0"]),
        ("pkhbt r0, r1, r2, lsl #16", Unit.DSP, {("r1", LATE), ("r2", EARLY)}, ["r0"]),
        ("ubfx r0, r1, #8, #8", Unit.DSP, {("r1", EARLY)}, ["r0"]),
        ("bfi r0, r1, #0, #8", Unit.DSP, {("r0", LATE), ("r1", EARLY)}, ["r0"]),
        ("bfc r0, #0, #8", Unit.DSP, {("r0", LATE)}, ["r0"]),
        ("ssat r0, #8, r1", Unit.DSP, {("r1", LATE)}, ["r0"]),
        ("mul.w r0, r1, r2", Unit.MULTIPLY, {("r1", MULTIPLIER), ("r2", MULTIPLIER)}, ["r0"]),
        (
            "smlad r0, r1, r2, r3",
            Unit.MULTIPLY,
            {("r1", MULTIPLIER), ("r2", MULTIPLIER), ("r3", ACCUMULATOR)},
            ["r0"],
        ),
        (
            "smlal r0, r1, r2, r3",
            Unit.MULTIPLY,
            {
                ("r2", MULTIPLIER),
                ("r3", MULTIPLIER),
                ("r0", ACCUMULATOR),
                ("r1", ACCUMULATOR),
            },
            ["r0", "r1"],
        ),
        ("smull r0, r1, r2, r3", Unit.MULTIPLY, {("r2", MULTIPLIER), ("r3", MULTIPLIER)}, None),
        ("ldr r0, [r1, #4]", Unit.LOAD, {("r1", EARLY)}, ["r0"]),
        ("ldrsb.w r0, [r1], #1", Unit.LOAD, {("r1", EARLY)}, ["r0", "r1"]),
        ("str r0, [r1, r2, lsl #2]", Unit.STORE, None, []),
        ("strb.w r0, [r1, #1]!", Unit.STORE, {("r0", STORE_DATA), ("r1", EARLY)}, ["r1"]),
        ("ldrd r0, r1, [r2]", Unit.MULTIPLE, {("r2", EARLY)}, ["r0", "r1"]),
        ("ldmia r0!, {r1, r2, r3}", Unit.MULTIPLE, {("r0", EARLY)}, ["r1", "r2", "r3", "r0"]),
        ("b.n 1c <main+0x8>", Unit.BRANCH, set(), []),
        ("bne.n 1c <main+0x8>", Unit.BRANCH, {(FLAGS, LATE)}, []),
        ("cbz r3, 1c <main+0x8>", Unit.BRANCH, {("r3", LATE)}, []),
        ("bx lr", Unit.BRANCH, {("r14", LATE)}, []),
    ],
)
def test_operands(text, unit, reads, written):
    instruction = parse(text)
    assert instruction.unit is unit
    if reads is not None:
        assert set(instruction.reads) == reads
    if written is not None:
        assert [register for register, _ in instruction.writes] == written


def test_a_push_takes_a_cycle_for_two_registers_and_moves_the_stack():
    push = parse("push {r4-r7, lr}")
    assert push.cycles == 3
    assert writes("push {r4-r7, lr}") == ["r13"]
    assert {"r4", "r5", "r6", "r7", "r14", "r13"} == {register for register, _ in push.reads}


def test_a_double_register_counts_as_two_words():
    assert parse("vpush {d8-d9}").cycles == 2


def test_returning_through_pop_ends_a_block():
    assert parse("pop {r4, pc}").is_branch
    assert not parse("pop {r4, lr}").is_branch


@pytest.mark.parametrize("text", ["bic r0, r1", "bfi r0, r1, #0, #8", "ldr r0, [pc, #8]"])
def test_other_instructions_do_not_branch(text):
    assert not parse(text).is_branch


def test_narrow_loads_take_a_cycle_longer():
    (_, word), (_, byte) = parse("ldr r0, [r1]").writes[0], parse("ldrb r0, [r1]").writes[0]
    assert [word.at(p) for p in (LATE, EARLY, MULTIPLIER)] == [1, 2, 2]
    assert [byte.at(p) for p in (LATE, EARLY, MULTIPLIER)] == [2, 3, 3]


def test_a_store_takes_its_data_a_cycle_late():
    ((_, latency),) = parse("smulbb r0, r1, r2").writes
    assert latency.at(STORE_DATA) == latency.at(LATE) - 1 == 1


def test_register_aliases():
    assert registers_in("[sp, fp, lsl #2], lr") == ("r13", "r11", "r14")
