"""Fully connected layers of every edge class, for this computer and for the emulated Cortex-M7."""

import dataclasses
import itertools
import struct

import numpy as np

from nested_keras.format import LayerKind, LayerParams, Stream
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, random_layer
from tests.tflm_ops.cases import realistic
from tests.tflm_ops.grid_firmware import ALIGNMENT

# Below, at and above a word and a block; gaps beyond one byte.
INPUTS = {
    1: (1, 2, 3, 4, 5, 7, 8, 37, 256, 2401),
    2: (2, 4, 6, 10, 38, 256, 4802),
    4: (4, 8, 12, 36, 256, 9604),
}
# The kernels take 2 or 4 outputs at once, and 32 at a time.
OUTPUTS = (1, 2, 3, 4, 5, 8, 31, 32, 33, 70)
INPUT_OFFSETS = (128, 13, -127)
OUTPUT_OFFSETS = (-7, -128, 127, 0)
CLAMPS = ((-128, 127), (-7, 127), (-128, -100), (-3, 4), (5, 5))


@dataclasses.dataclass(frozen=True, eq=False)
class GridCase:
    """One layer; `outputs` has its output at every level, `dense` is that of the last one."""

    stream: Stream
    x: np.ndarray
    outputs: tuple[np.ndarray, ...]
    dense: operators.FullyConnected


def with_ties(nested, *, seed):
    """The layer with multipliers of 2^-k, so that many products lie halfway between integers."""
    rng = np.random.default_rng(seed)
    shape = nested.multiplier.shape
    return dataclasses.replace(
        nested,
        bias=rng.integers(-300, 300, shape).astype(np.int32),
        multiplier=rng.choice([-(1 << 30), 1 << 30], shape).astype(np.int32),
        # Around both ends of -17 .. -2, which the fast requantisation takes.
        shift=rng.choice([-19, -18, -17, -16, -12, -10, -8, -6, -4, -3, -2, -1, 0], shape).astype(
            np.int8
        ),
    )


TABLES = (realistic, with_ties, lambda nested, seed: nested)


def make_case(index, profile, block_size, inputs):
    """Combines the lists above, each with a period of its own."""
    outputs = OUTPUTS[index % len(OUTPUTS)]
    if inputs > 1000:
        outputs = min(outputs, 5)
    rows, levels = 1 + index % 2, 1 + index % 5
    low, high = CLAMPS[index % 11 % len(CLAMPS)]
    params = LayerParams(
        LayerKind.FULLY_CONNECTED,
        kernel_h=1,
        kernel_w=1,
        in_channels=inputs,
        out_channels=outputs,
        input_offset=INPUT_OFFSETS[index % 7 % 3],
        output_offset=OUTPUT_OFFSETS[index % 13 % 4],
        activation_min=low,
        activation_max=high,
        block_size=block_size,
    )
    nested = random_layer(params, levels=levels, profile=profile, seed=index)
    stream = Stream.pack(TABLES[index % 17 % 3](nested, seed=index))
    rng = np.random.default_rng(index)
    x = rng.integers(-128, 128, (rows, inputs)).astype(np.int8)
    if index % 5 == 0:
        x = rng.choice(np.array([-128, 127], np.int8), x.shape)
    dense = [operators.dense_op(stream, level) for level in range(levels)]
    outputs = tuple(operators.run_op(op, [x], (rows, outputs)) for op in dense)
    return GridCase(stream, x, outputs, dense[-1])


def make_grid():
    """All cases, each shape with every profile of weights."""
    shapes = [(block, inputs) for block, sizes in INPUTS.items() for inputs in sizes]
    return [
        make_case(index, profile, *shape)
        for index, (profile, shape) in enumerate(itertools.product(PROFILES, shapes))
    ]


def pack(case):
    """The case as fully_connected_grid.c reads it."""
    op = case.dense
    parts = (
        case.stream.data,
        case.x,
        np.stack(case.outputs),
        op.filter,
        *(table.astype("<i4") for table in (op.bias, op.multiplier, op.shift)),
    )
    content = b"".join(padded(p if isinstance(p, bytes) else p.tobytes()) for p in parts)
    fields = (
        *(
            len(content),
            len(case.outputs),
            len(case.stream.data),
            len(case.x),
            *op.filter.shape[::-1],
        ),
        *(op.input_offset, op.output_offset, op.activation_min, op.activation_max),
    )
    return padded(struct.pack("<10i", *fields)) + content


def padded(data):
    return data + bytes(-len(data) % ALIGNMENT)
