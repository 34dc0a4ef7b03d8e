"""Layers whose levels have encodings and forms of tables by chance.

Levels that are unpacked stand beside levels that are read in place. Some layers are larger than
those of cases.py.
"""

import numpy as np

from nested_keras.format import Stream, constants, encode, round_tables
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, encode_packed
from tests.tflm_ops.cases import CASES, DEPTHWISE, make, row, stream_and_input

# More channels than a part has, and channels of many weights.
LARGE = {
    "3x3 many": make(channels=(24, 37)),
    "1x1 many": make(channels=(64, 50), kernel=(1, 1), size=(4, 4)),
    "block 2 many": make(channels=(24, 19), block_size=2),
    "depthwise 7x7": make(DEPTHWISE, channels=(19, 1), kernel=(7, 7), size=(5, 5)),
    "depthwise many": make(DEPTHWISE, channels=(40, 1)),
    "row many": row(300, 77),
}
# The layer with as many levels as a stream may have.
MOST_LEVELS = make(channels=(6, 9))


def mixed(seed):
    """Packs a layer with random choices; multipliers without a sign in every second layer,
    equal tables in every fourth, and no bias in every eighth."""
    rng = np.random.default_rng(seed)

    def choose(options):
        return options[rng.integers(len(options))]

    def pack(nested):
        if seed % 2:
            nested.multiplier[:] = np.abs(nested.multiplier)
        if seed % 4 == 1:
            for table in (nested.bias, nested.multiplier, nested.shift):
                table[:] = table[0]
        if seed % 8 == 1:
            nested.bias[:] = 0
        return encode(round_tables(nested, multiplier_bits=11, bias_fraction=4), choose=choose)

    return pack


def grid():
    """Yields (stream, input, output of every level)."""
    layers = [*CASES.values(), *LARGE.values()] * 2
    for index, case in enumerate([*layers, MOST_LEVELS]):
        pack = encode_packed if index % 3 == 0 else mixed(index)
        profile = "mixed" if index % 2 else PROFILES[index % len(PROFILES)]
        levels = constants.STREAM_MAX_LEVELS if case is MOST_LEVELS else 1 + index % 4
        data, x, y_shape = stream_and_input(
            case, levels=levels, profile=profile, seed=index, pack=pack
        )
        op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data))
        yield op.layer, x, [operators.run_op(op, [x], y_shape, level) for level in range(levels)]
