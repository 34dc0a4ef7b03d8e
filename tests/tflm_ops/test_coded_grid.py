"""CODED levels and packed tables on the emulated Cortex-M7, against the NumPy reference.

Each level of each layer has an encoding and a form of tables by chance, so that levels that are
unpacked stand beside levels that are read in place. A part of a layer has few channels, so that
most layers have several parts.
"""

import struct
from pathlib import Path

import numpy as np
import pytest

from nested_keras.codegen import sources
from nested_keras.format import Encoding, Stream, Tables, encode, round_tables
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, encode_packed
from tests.tflm_ops import grid_firmware
from tests.tflm_ops.cases import CASES, DEPTHWISE, make, row, stream_and_input
from tests.tflm_ops.grid_firmware import ALIGNMENT, NO_UNALIGNED_ACCESS

pytestmark = pytest.mark.arm

HERE = Path(__file__).parent
# More channels than a part has, and channels of many weights.
LARGE = {
    "3x3 many": make(channels=(24, 37)),
    "1x1 many": make(channels=(64, 50), kernel=(1, 1), size=(4, 4)),
    "block 2 many": make(channels=(24, 19), block_size=2),
    "depthwise 7x7": make(DEPTHWISE, channels=(19, 1), kernel=(7, 7), size=(5, 5)),
    "depthwise many": make(DEPTHWISE, channels=(40, 1)),
    "row many": row(300, 77),
}


def mixed(seed):
    """Packs a layer with random choices; multipliers without a sign in every second layer,
    and equal tables in every fourth."""
    rng = np.random.default_rng(seed)

    def choose(options):
        return options[rng.integers(len(options))]

    def pack(nested):
        if seed % 2:
            nested.multiplier[:] = np.abs(nested.multiplier)
        if seed % 4 == 1:
            for table in (nested.bias, nested.multiplier, nested.shift):
                table[:] = table[0]
        return encode(round_tables(nested, multiplier_bits=11, bias_fraction=4), choose=choose)

    return pack


def grid():
    """Yields (stream, input, output of every level)."""
    for index, (_, case) in enumerate([*CASES.items(), *LARGE.items()] * 2):
        pack = encode_packed if index % 3 == 0 else mixed(index)
        profile = "mixed" if index % 2 else PROFILES[index % len(PROFILES)]
        data, x, y_shape = stream_and_input(
            case, levels=1 + index % 4, profile=profile, seed=index, pack=pack
        )
        op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data))
        levels = range(len(op.layer.levels))
        yield op.layer, x, [operators.run_op(op, [x], y_shape, level) for level in levels]


def packed_case(layer, x, outputs):
    size = (*x.shape[1:3], *outputs[0].shape[1:3]) if x.ndim == 4 else (1, 1, 1, 1)
    header = (x.shape[0], *size, len(outputs), len(layer.data), x.size, outputs[0].size)
    content = b"".join([layer.data, x.tobytes(), *(y.tobytes() for y in outputs)])
    parts = (struct.pack("<9i", *header), content)
    return b"".join(part.ljust(-(-len(part) // ALIGNMENT) * ALIGNMENT, b"\0") for part in parts)


@pytest.fixture(scope="module")
def cases():
    return [*grid()]


def test_the_grid_has_every_form_and_pair_of_neighbours(cases):
    levels = [level for layer, _, _ in cases for level in layer.levels]
    assert {level.encoding for level in levels} == set(Encoding)
    assert {level.tables for level in levels} == set(Tables)
    pairs = {
        (first.encoding is Encoding.CODED, second.encoding is Encoding.CODED)
        for layer, _, _ in cases
        for first, second in zip(layer.levels, layer.levels[1:], strict=False)
    }
    assert len(pairs) == 4


@pytest.mark.parametrize(
    "flags",
    [(), ("-DNK_PART_BYTES=64",), NO_UNALIGNED_ACCESS, ("-DNK_USE_DSP=0",)],
    ids=["usual", "small parts", "no unaligned access", "plain C"],
)
def test_cortex_m7_equals_the_reference(cases, flags, tmp_path):
    content = b"".join(packed_case(*case) for case in cases)
    functions = sources.functions_used(HERE / "coded_grid.c")
    told = grid_firmware.run("coded_grid.c", content, functions, flags=flags, folder=tmp_path)
    assert told == f"{len(cases)} cases, 0 failures\n"
