"""The simulated caches, on access patterns whose misses are known."""

import pytest

from nested_keras.bench import counter
from nested_keras.bench.caches import MEMORIES, Memory, Misses
from nested_keras.bench.counter import Region
from nested_keras.bench.profile import Listing
from tests.nested_keras.bench.firmware import asm, build

pytestmark = pytest.mark.arm

# 4 KB: 128 lines, in 32 sets of four for data and 64 sets of two for instructions.
LINE, CACHE = 32, 4096
SETS = CACHE // LINE // 4
DATA = """
#define EACH(bytes, step, passes) \\
  for (uint32_t pass = 0; pass < (passes); ++pass) \\
    for (uint32_t at = 0; at < (bytes); at += (step))
#define WORD(array) *(volatile uint32_t *)&(array)[at]
#define READ(array, bytes, step, passes) EACH(bytes, step, passes) { (void)WORD(array); }
#define WRITE(array, bytes, step, passes) EACH(bytes, step, passes) { WORD(array) = pass; }
static uint8_t ram[65536] __attribute__((aligned(4096)));
static const uint8_t flash[8192] __attribute__((aligned(4096))) = {1};
"""
# What runs, and the lines that are read, written and read of flash.
PATTERNS = {
    "word after word, twice": ("READ(ram, 1024, 4, 2)", 32, 0, 0),
    "one byte of every line, as much as fits": (f"READ(ram, {CACHE}, {LINE}, 3)", 128, 0, 0),
    "a line more a set than fits": (f"READ(ram, {CACHE + SETS * LINE}, {LINE}, 3)", 3 * 160, 0, 0),
    "four lines of one set": (f"READ(ram, {4 * SETS * LINE}, {SETS * LINE}, 9)", 4, 0, 0),
    "five lines of one set": (f"READ(ram, {5 * SETS * LINE}, {SETS * LINE}, 9)", 45, 0, 0),
    "the least recently used line goes": (
        # 0 1 2 3, 0 again, then 4 in the place of 1; 0 2 3 are there, 1 is not.
        "READ(ram, 4096, 1024, 1) READ(ram, 4, 4, 1) READ(ram + 4096, 4, 4, 1)"
        "READ(ram, 4, 4, 1) READ(ram + 2048, 2048, 1024, 1) READ(ram + 1024, 4, 4, 1)",
        4 + 1 + 0 + 0 + 1,
        0,
        0,
    ),
    "a write brings its line": ("WRITE(ram, 1024, 4, 2) READ(ram, 1024, 4, 1)", 0, 32, 0),
    "a word over the end of a line": ("READ(ram + 30, 4, 4, 3)", 2, 0, 0),
    "constants": ("READ(flash, 8192, 32, 2)", 0, 0, 2 * 256),
    "nothing": ("", 0, 0, 0),
}


def run(folder, bodies, memory, **options):
    regions = "".join(f"NK_BENCH_BEGIN(); {body} NK_BENCH_END();\n" for body in bodies)
    elf = build(folder, f"{DATA}(void)ram;\n(void)flash;\n{regions}return 0;")
    return elf, counter.count(elf, folder, memory=memory, **options).regions


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    bodies = [body for body, *_ in PATTERNS.values()]
    folder = tmp_path_factory.mktemp("patterns")
    _, regions = run(folder, bodies, MEMORIES["4k"], begins_cold=True)
    return dict(zip(PATTERNS, (region.misses for region in regions), strict=True))


@pytest.mark.parametrize("name", PATTERNS)
def test_misses_of_a_pattern(patterns, name):
    _, reads, writes, constants = PATTERNS[name]
    assert patterns[name][2:] == (reads, writes)
    # The compiler may keep the address of the array among the constants.
    assert patterns[name].constants in (constants, constants + 1)


NOPS = asm(".balign 32", ".rept 2048", "nop.n", ".endr")  # 4 KB of code


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        # The loop stands around the code, on a few further lines; the code beside the marker runs
        # before the region begins.
        (NOPS, 128),
        (f"for (int i = 0; i < 3; ++i) {{ {asm('nop')} }}", 1),
        (f"for (int i = 0; i < 3; ++i) {{ {NOPS} {NOPS} }}", 3 * 256),
    ],
)
def test_misses_of_instructions(tmp_path, body, lines):
    _, (region,) = run(tmp_path, [body], MEMORIES["4k"], begins_cold=True)
    assert abs(region.misses.code - lines) <= 4
    assert region.misses[1:] == (0, 0, 0)


def test_a_larger_cache_and_coupled_memory_miss_less(tmp_path):
    body = f"READ(ram, 8192, {LINE}, 2) READ(flash, 1024, {LINE}, 2)"
    misses = {
        name: run(tmp_path, [body], memory, begins_cold=True)[1][0].misses
        for name, memory in MEMORIES.items()
    }
    assert {name: each.reads for name, each in misses.items()} == {
        "4k": 2 * 256,
        "16k": 256,
        "4k-tcm": 0,
        "16k-tcm": 0,
    }
    # And the addresses of the two arrays.
    assert all(32 <= each.constants <= 34 for each in misses.values())


def test_caches_keep_what_the_code_before_left(tmp_path):
    bodies = ["READ(ram, 1024, 4, 1)"] * 2
    _, kept = run(tmp_path, bodies, MEMORIES["16k"])
    assert [region.misses.reads for region in kept] == [32, 0]
    _, cold = run(tmp_path, bodies, MEMORIES["16k"], begins_cold=True)
    assert [region.misses.reads for region in cold] == [32, 32]


def test_a_missing_line_costs_what_the_memory_says(tmp_path):
    assert Memory("any", 4096, False, 7, 3).stall_cycles(Misses(1, 2, 4, 8)) == 7 * 3 + 3 * 12
    memory = MEMORIES["16k"]
    elf, (region,) = run(tmp_path, ["READ(ram, 1024, 4, 1)"], memory, begins_cold=True)
    profile = Listing(elf).profile(region, memory)
    stalls = memory.stall_cycles(region.misses)
    assert stalls >= 32 * memory.ram_cycles
    assert profile.memory_cycles == profile.cycles + stalls
    assert Listing(elf).profile(Region(region.counts)).memory_cycles == profile.cycles
