"""Calls the sampled operators with random parameters and dimensions, in and out of their ranges.

    python -m tests.tflm_ops.random_calls LIBRARY CALLS ROUNDS SEED [SHORT]

CALLS is a pickle of operators with their inputs and output (test_random_calls.py writes it). Each
call must refuse its arguments or stay inside buffers of exactly the right size. The address
sanitizer sees that, so LIBRARY is compiled with it, and Python runs with its runtime. With SHORT
the output buffers lack that many bytes, so the sanitizer has to find something.
"""

import ctypes
import pickle
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from nested_keras.tflite import operators
from nested_keras.tflite.operators.registration import CArgument
from tests.tflm_ops.library import Call, Library, pointer

MAX_BYTES = 16384
EXTREMES = (-(2**31), 2**31 - 1, -1, 0, 1, 127, 128, 65535, 65536)


class Random:
    """One round; the seed repeats it."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def below(self, high, low=0):
        return int(self.rng.integers(low, high))

    def once_in(self, count):
        return self.below(count) == 0

    def number(self, value):
        """The value, most often; else one close to it, an extreme, or any int32."""
        kind = self.below(24)
        if kind > 2:
            return value
        close = max(-(2**31), min(value + self.below(4, -3), 2**31 - 1))
        return (close, EXTREMES[self.below(len(EXTREMES))], self.below(2**31, -(2**31)))[kind]

    def array(self, nbytes, dtype):
        """A block of just so many random bytes; of one where dimensions are refused anyway."""
        return self.rng.integers(0, 256, max(nbytes, 1), np.uint8)[: max(nbytes, 1)].view(dtype)


def size(dims):
    return dims.n * dims.h * dims.w * dims.c


def spoil_parameters(random, params):
    for name, kind in params._fields_:
        value = getattr(params, name)
        if kind is ctypes.c_int32:
            setattr(params, name, random.number(value))
        elif kind is ctypes.c_float and random.once_in(8):
            setattr(params, name, np.uint32(random.below(2**32)).view(np.float32))
        elif kind is not ctypes.c_void_p and kind is not ctypes.c_float:
            value[:] = [random.number(number) for number in value]
    for array in params.alive:
        array.view(np.uint8)[...] = random.rng.integers(0, 256, array.view(np.uint8).shape)


def spoil_dims(random, all_dims, *, may_grow):
    """Other dimensions: one axis of all tensors together, or one number alone."""
    for axis in "nhwc":
        before = getattr(all_dims[0], axis)
        after = random.below(9, 1) if may_grow else random.below(before + 1, 1)
        if random.once_in(3):
            for dims in all_dims:
                if getattr(dims, axis) == before:
                    setattr(dims, axis, after)
        for dims in all_dims:
            number = random.number(getattr(dims, axis))
            if may_grow or number < before:
                setattr(dims, axis, number)


def one_call(nk, random, op, inputs, output, short):
    """Calls an operator once; returns the status, or None where the tensors would be too large."""
    c_call = operators.registration_of(op).c_call
    if CArgument.INPUT in c_call.arguments and inputs[0].shape == output.shape:
        # Counts stand for the dimensions, and the output has those of the input.
        shape = tuple(random.below(40, 1) if size > 1 else 1 for size in output.shape)
        inputs, output = [np.resize(inputs[0], shape)], np.resize(output, shape)
    call = Call(nk, op, inputs, output)
    spoil_parameters(random, call.params)
    all_dims = list(call.dims())
    if all_dims:
        spoil_dims(random, all_dims, may_grow=CArgument.OUTPUT_DIMS in c_call.arguments)
    sizes = [size(dims) for dims in all_dims]
    if max(sizes, default=0) > MAX_BYTES:
        return None
    buffers = [x.nbytes for x in (*inputs, output)]
    buffers[: len(sizes)] = sizes
    buffers[-1] = max(buffers[-1] - short, 1)
    blocks = [
        random.array(nbytes, x.dtype)
        for nbytes, x in zip(buffers, (*inputs, output), strict=True)
    ]  # fmt: skip
    place(call, c_call, blocks)
    for position, argument in enumerate(call.rest):
        if isinstance(argument, int) and random.once_in(24):
            call.rest[position] = random.below(1, -3)
    return call.status()


def place(call, c_call, blocks):
    """Puts the addresses of the blocks, inputs first, where the call has those of its tensors."""
    parts = iter(range(len(call.rest)))
    for argument in c_call.arguments:
        if argument is CArgument.INPUTS:
            for block in blocks[:-1]:
                next(parts)
                call.rest[next(parts)] = pointer(block)
        elif argument is CArgument.INPUT_LIST:
            next(parts), next(parts)
            call.rest[next(parts)][:] = [block.ctypes.data for block in blocks[:-1]]
        elif argument is CArgument.INPUT:
            call.rest[next(parts)] = pointer(blocks[0])
        elif argument is CArgument.OUTPUT:
            call.rest[next(parts)] = pointer(blocks[-1])
        else:
            next(parts)


def main(library, calls, rounds, seed, short="0"):
    nk = Library(library)
    samples = pickle.loads(Path(calls).read_bytes())
    seen = Counter()
    for number in range(int(seed), int(seed) + int(rounds)):
        # The sanitizer ends the process; its report follows the seed.
        sys.stderr.write(f"seed {number}\n")
        for name, sample in samples.items():
            status = one_call(nk, Random(number), *sample, int(short))
            seen[name, status] += 1
    for (name, status), count in sorted(seen.items(), key=str):
        sys.stdout.write(f"{name}\t{status}\t{count}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
