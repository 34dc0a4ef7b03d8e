"""The numbers that Python repeats of the C kernels, read from the C sources."""

import re

import pytest

from nested_keras.codegen import sources
from nested_keras.cortex_m import chains, cycles, dense_pairs, scratch, tiles

FILES = (
    "ref/nk_geometry.h",
    "cortex_m/nk_depthwise_tile.h",
    "cortex_m/nk_dsp_tile.h",
    "cortex_m/nk_dsp_chain.c",
    "cortex_m/nk_dsp_conv.c",
    "cortex_m/nk_dsp_dense.c",
    "cortex_m/nk_dsp_dense.h",
    "cortex_m/nk_dsp_list.c",
    "cortex_m/nk_fully_connected_s8_dsp.c",
)


@pytest.fixture(scope="module")
def c():
    """The constants of the C files: `#define NAME 1`, `NAME = 1` in an enum, small tables."""
    found = {}
    for name in FILES:
        text = (sources.tflm_ops_dir() / "src" / name).read_text()
        found |= dict(re.findall(r"^#define (\w+) (.+)$", text, re.MULTILINE))
        found |= dict(re.findall(r"^  ([A-Z]\w+) = (\d+)[,\n]", text, re.MULTILINE))
        found |= dict(re.findall(r"(\w+)\[\w+\] = \{([\d, ]+)\};", text))
    return found


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (cycles.MAX_SIDE, "NK_MAX_EXTENT"),
        (tiles._SPAN, "NK_DSP_SPAN"),
        (tiles._FEW_FOR_EVEN, "FEW_FOR_EVEN"),
        (tiles._FEW_FOR_REPEAT, "FEW_FOR_REPEAT"),
        (cycles._CHUNK, "CHUNK"),
        (cycles.DEPTHWISE_PAIRS, "NK_DEPTHWISE_TILE_PAIRS"),
        (cycles.DEPTHWISE_COLUMNS, "NK_DEPTHWISE_TILE_COLUMNS"),
        (scratch._DEPTHWISE_CHANNELS, "NK_DEPTHWISE_TILE_CHANNELS"),
        (scratch._DEPTHWISE_LEAST_PAIRS, "NK_DEPTHWISE_TILE_LEAST_PAIRS"),
        (scratch._MAX_PAIRS, "NK_DSP_MAX_PAIRS"),
        (scratch._POINTER_BYTES, "POINTER_BYTES"),
        (scratch._GROUP_BYTES, "GROUP_BYTES"),
        (scratch._READ_AHEAD_BYTES, "READ_AHEAD_BYTES"),
        (scratch._ENTRY_WORDS, "ENTRY_WORDS"),
        (scratch._END_WORDS, "END_WORDS"),
        (dense_pairs._PASS_INPUTS, "PASS_INPUTS"),
        (dense_pairs._GROUP, "NK_DSP_DENSE_GROUP"),
        (dense_pairs._GROUP_BYTES, "DENSE_GROUP_BYTES"),
        (dense_pairs._MAX_INPUTS, "DENSE_MAX_INPUTS"),
        (dense_pairs._MAX_WEIGHT_BYTES, "DENSE_MAX_WEIGHT_BYTES"),
        (dense_pairs._READ_AHEAD_BYTES, "DENSE_READ_AHEAD_BYTES"),
        (scratch._STOP_WORDS, "STOP_WORDS"),
        (chains._MOST_POSITIONS, "CHAIN_MOST_POSITIONS"),
        (chains._LARGE_DELTAS, "CHAIN_LARGE_DELTAS"),
        (chains._LEAST_RUNS, "CHAIN_LEAST_RUNS"),
        (chains._MOST_MEAN, "CHAIN_MOST_MEAN"),
        (chains._WORDS, "CHAIN_WORDS"),
        (chains._LOOP_WORDS, "END_WORDS"),
        (chains._LOOP_ENTRY_WORDS, "ENTRY_WORDS"),
        (chains._MOST_WEIGHTS, "NK_DSP_SPAN"),
    ],
)
def test_a_number_equals_that_of_the_c_side(c, ours, name):
    assert ours == int(c[name])


def test_numbers_that_follow_from_others(c):
    assert 2 * int(c["NK_DSP_MAX_PAIRS"]) == tiles.PIXELS == chains._TILE
    assert c["PIECE_WEIGHTS"] == "(NK_DSP_SPAN - 3)"
    assert int(c["NK_DSP_SPAN"]) - 3 == scratch._PIECE_WEIGHTS


def test_words_of_a_packed_position(c):
    words = [1 << int(log2) for log2 in c["LOG2_WORDS"].split(",")]
    assert words == [4 * tiles.POSITION_WORDS[pairs] for pairs in (1, 2, 3, 4)]


def test_every_constant_of_the_python_side_is_compared():
    """A new number in Python belongs into a test above."""
    numbers = {
        name
        for module in (chains, cycles, dense_pairs, scratch, tiles)
        for name, value in vars(module).items()
        if re.fullmatch(r"_?[A-Z][A-Z_]+", name)
        and all(
            isinstance(n, int) for n in (value.values() if isinstance(value, dict) else [value])
        )
    }
    compared = {
        *("MAX_SIDE", "_SPAN", "_CHUNK", "DEPTHWISE_PAIRS", "DEPTHWISE_COLUMNS", "PIXELS"),
        *(
            "_FEW_FOR_EVEN",
            "_FEW_FOR_REPEAT",
            "POSITION_WORDS",
            "_MAX_PAIRS",
            "_POINTER_BYTES",
            "_GROUP_BYTES",
        ),
        *("_READ_AHEAD_BYTES", "_ENTRY_WORDS", "_END_WORDS", "_STOP_WORDS"),
        *(
            "_PIECE_WEIGHTS",
            "_DEPTHWISE_CHANNELS",
            "_DEPTHWISE_LEAST_PAIRS",
            "_PASS_INPUTS",
            "_GROUP",
        ),
        *("_MAX_INPUTS", "_MAX_WEIGHT_BYTES", "_MOST_POSITIONS", "_WORDS", "_LARGE_DELTAS"),
        *(
            "_LOOP_WORDS",
            "_LOOP_ENTRY_WORDS",
            "_MOST_WEIGHTS",
            "_LEAST_RUNS",
            "_MOST_MEAN",
            "_TILE",
        ),
    }
    # An accumulator is an int32_t.
    assert numbers - compared == {"_ACCUMULATOR_BYTES"}
