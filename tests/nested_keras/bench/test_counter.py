"""Exact counts of firmware whose every instruction is known."""

import pytest

from nested_keras.bench import counter
from nested_keras.bench.core import CORES, M7
from nested_keras.bench.counter import Counts, Region
from nested_keras.bench.profile import Listing
from nested_keras.firmware import BuildError, DeviceError, ToolchainError
from tests.nested_keras.bench.firmware import asm, build

pytestmark = pytest.mark.arm

COUNTDOWN = asm("movs r0, #100", "1: ldr r1, [sp]", "adds r1, #1", "subs r0, #1", "bne 1b", "nop")
STACK_AND_PREDICATED = asm(
    "push {r0-r3}", "pop {r0-r3}", "cmp r0, r0", "ite eq", "moveq r1, r2", "movne r1, r3"
)


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counted")
    elf = build(
        folder,
        f"""
        {asm("movs r0, #1")}
        NK_BENCH_BEGIN();
        {COUNTDOWN}
        NK_BENCH_END();
        {asm("movs r0, #1")}
        NK_BENCH_BEGIN();
        {STACK_AND_PREDICATED}
        NK_BENCH_END();
        NK_BENCH_BEGIN();
        NK_BENCH_END();
        board_puts("hello\\n");
        return 0;
        """,
    )
    run = counter.count(elf, folder)
    assert run.console == "hello\n"
    return [Listing(elf).profile(region) for region in run.regions], run.regions


def test_instructions_are_exact_and_markers_free(regions):
    profiles, _ = regions
    # An instruction whose condition fails is counted: it takes an issue slot all the same.
    assert [profile.instructions for profile in profiles] == [1 + 100 * 4 + 1, 6, 0]


def test_executions_are_given_for_each_address(regions):
    counts = sorted(regions[1][0].counts.values())
    assert [each.executions for each in counts] == [1, 1, 100, 100, 100, 100]


def test_cycles_follow_the_model(regions):
    (countdown, predicated, empty), _ = regions
    # movs; a pass is ldr, adds beside subs, bne beside the ldr of the next pass; the exit; nop.
    assert countdown.cycles == 1 + 2 * 100 + M7.wrong_branch + 1
    # push 2, a wait for sp, pop 2, cmp beside ite, two moves in turn: both write r1.
    assert predicated.cycles == 2 + 1 + 2 + 1 + 2
    assert (empty.cycles, empty.blocks) == (0, ())


# Code, and how often a prediction is wrong.
BRANCHES = {
    "a loop of two blocks, entered in the middle, three times": (
        asm("movs r2, #3", "4: movs r0, #10", "b 2f")
        + asm("1: nop", "2: subs r0, #1", "bne 1b", "subs r2, #1", "bne 4b"),
        3 + 1,
    ),
    "a loop left at its head": (
        asm("movs r2, #5", "4: movs r0, #7")
        + asm("1: cbz r0, 2f", "subs r0, #1", "b 1b", "2: subs r2, #1", "bne 4b"),
        5 + 1,
    ),
    "a loop left in the middle": (
        asm("movs r2, #5", "4: movs r0, #7", "1: subs r0, #1", "beq 2f", "nop", "b 1b")
        + asm("2: subs r2, #1", "bne 4b"),
        5 + 1,
    ),
    "a loop of one pass": (
        asm("movs r2, #50", "4: movs r0, #1", "1: subs r0, #1", "bne 1b", "subs r2, #1", "bne 4b"),
        0 + 1,
    ),
    "a loop of two passes": (
        asm("movs r2, #50", "4: movs r0, #2", "1: subs r0, #1", "bne 1b", "subs r2, #1", "bne 4b"),
        50 + 1,
    ),
    "a choice that changes every time": (
        asm("movs r2, #50", "movs r0, #0", "1: eors r0, #1", "beq 2f", "nop", "2: subs r2, #1")
        + asm("bne 1b"),
        25 + 1,
    ),
    "a choice that never changes": (
        asm("movs r2, #50", "1: movs r0, #0", "beq 2f", "nop", "2: subs r2, #1", "bne 1b"),
        0 + 1,
    ),
    # The targets are two labels in turn.
    "an indirect jump that changes every time": (
        asm("movs r2, #50", "adr r0, 2f", "adr r1, 3f", "adds r0, #1", "adds r1, #1")
        + asm("eors r1, r0", "1: bx r0", ".balign 4", "2: nop", ".balign 4", "3: eors r0, r1")
        + asm("subs r2, #1", "bne 1b"),
        49 + 1,
    ),
    "an indirect jump that never changes": (
        asm("movs r2, #50", "adr r0, 2f", "adds r0, #1", "1: bx r0", ".balign 4", "2: nop")
        + asm("subs r2, #1", "bne 1b"),
        0 + 1,
    ),
    "a table": (
        asm("movs r2, #50", "1: and r0, r2, #1", "tbb [pc, r0]", "2: .byte (3f-2b)/2, (4f-2b)/2")
        + asm("3: nop", "4: subs r2, #1", "bne 1b"),
        49 + 1,
    ),
    "a function called from two places": (
        asm("movs r2, #50", "1: bl 2f", "bl 2f", "subs r2, #1", "bne 1b", "b 3f")
        + asm("2: bx lr", "3: nop"),
        0 + 1,
    ),
}


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("branches")
    body = "".join(f"NK_BENCH_BEGIN(); {code} NK_BENCH_END();\n" for code, _ in BRANCHES.values())
    elf = build(folder, f"{body} return 0;")
    listing = Listing(elf)
    regions = counter.count(elf, folder).regions
    return dict(zip(BRANCHES, (listing.profile(region) for region in regions), strict=True))


@pytest.mark.parametrize("name", BRANCHES)
def test_wrong_predictions_are_charged(branches, name):
    assert branches[name].mispredicted == BRANCHES[name][1]


@pytest.mark.parametrize("nops", range(506, 513))
def test_markers_at_the_end_of_a_page_are_seen(nops, tmp_path):
    """QEMU's pages are of 1 KiB on this machine."""
    fill = asm(".balign 1024", f".rept {nops}", "nop", ".endr")
    body = f"{fill} NK_BENCH_BEGIN(); {asm('nop')} NK_BENCH_END(); return 0;"
    elf = build(tmp_path, body)
    (region,) = counter.count(elf, tmp_path).regions
    assert sum(counts.executions for counts in region.counts.values()) == 1


@pytest.mark.parametrize("name", ["m4", "m33"])
def test_a_core_of_single_issue_pays_for_loads_and_for_jumps(name, tmp_path):
    core = CORES[name]
    elf = build(
        tmp_path, f"NK_BENCH_BEGIN(); {COUNTDOWN} NK_BENCH_END(); return 0;", board=core.board
    )
    (region,) = counter.count(elf, tmp_path, machine=core.machine).regions
    profile = Listing(elf, core).profile(region)
    assert profile.instructions == 1 + 100 * 4 + 1
    # A pass is ldr, two times adds and subs, and bne, which jumps 99 times.
    assert profile.cycles == 1 + 100 * (2 + 1 + 1 + 1) + 99 * core.direct_jump + 1
    assert profile.memory_cycles == profile.cycles


def test_jumps_are_counted_where_they_happen(regions):
    counts = regions[1][0].counts
    assert [counts[address].jumps for address in sorted(counts)] == [0, 0, 0, 0, 99, 0]


def test_blocks_carry_function_and_share(regions):
    (countdown, _, _), _ = regions
    assert [block.executions for block in countdown.blocks] == [1, 100, 1]
    assert {block.function for block in countdown.blocks} == {"main"}
    assert sum(block.cycles for block in countdown.blocks) == countdown.cycles


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("NK_BENCH_END();", "ends that did not begin"),
        ("NK_BENCH_BEGIN();", "never ends"),
        ("NK_BENCH_BEGIN(); NK_BENCH_BEGIN(); NK_BENCH_END();", "begins inside another"),
    ],
)
def test_markers_must_pair_up(tmp_path, body, message):
    elf = build(tmp_path, f"{body}\nreturn 0;")
    with pytest.raises(DeviceError, match=message):
        counter.count(elf, tmp_path)


def test_code_in_ram_is_not_counted_silently(tmp_path):
    # `bx lr` in RAM; the address is made odd for Thumb.
    elf = build(
        tmp_path,
        """
        static volatile uint16_t code[] = {0x4770};
        void (*function)(void) = (void (*)(void))((uintptr_t)code | 1u);
        NK_BENCH_BEGIN();
        function();
        NK_BENCH_END();
        return 0;
        """,
    )
    with pytest.raises(DeviceError, match="outside the code memory"):
        counter.count(elf, tmp_path)


def test_an_exit_status_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match="exit status 3"):
        counter.count(build(tmp_path, "return 3;"), tmp_path)


def test_the_time_limit_holds(tmp_path):
    elf = build(tmp_path, "for (;;) {\n}")
    with pytest.raises(DeviceError, match=r"did not end within 0\.5 s"):
        counter.count(elf, tmp_path, timeout_s=0.5)


@pytest.mark.parametrize("text", ["", "region 3\n0 3\n"])
def test_incomplete_counts_are_refused(text):
    with pytest.raises(DeviceError, match="expected the counts to finish with `end`"):
        counter.parse_counts(text)


@pytest.mark.parametrize("banner", ["QEMU emulator version 9.1.0", "something else", ""])
def test_another_plugin_api_is_refused(monkeypatch, tmp_path, banner):
    monkeypatch.setattr(counter, "run_tool", lambda command: banner)
    with pytest.raises(ToolchainError, match=r"needs qemu-system-arm 6\.0 to 8\.2 .*got"):
        counter.count(tmp_path / "firmware.elf", tmp_path)


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt install qemu-system-arm"):
        counter.count(tmp_path / "firmware.elf", tmp_path)
    with pytest.raises(ToolchainError, match="apt install gcc"):
        counter.build_plugin(tmp_path)
    with pytest.raises(ToolchainError, match="apt install binutils-arm-none-eabi"):
        Listing(tmp_path / "firmware.elf")


def test_a_listing_refuses_what_is_no_image(tmp_path):
    file = tmp_path / "firmware.elf"
    file.write_text("no ELF")
    with pytest.raises(BuildError, match="file format not recognized"):
        Listing(file)


def test_a_profile_refuses_counts_of_another_image(tmp_path):
    listing = Listing(build(tmp_path, "return 0;"))
    with pytest.raises(ValueError, match="no instruction of this image starts at 0xffff0"):
        listing.profile(Region({0xFFFF0: Counts(1)}))
