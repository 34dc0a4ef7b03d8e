"""Files that were made to harm: mutations of sound ones, and small ones that claim to be large."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nested_keras import format as nested_format
from tests.nested_keras.tflite.nested_models import conv_params, random_layer
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

# Sizes, offsets and indices that a check may miss.
WORDS = (0, 1, 2, 4, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def many_operators(*, external: bool = False) -> bytes:
    """One nested convolution and most builtin operators, with a signature and metadata."""
    builder = ModelBuilder()
    shape = (1, 4, 4, 4)
    x = builder.tensor(shape, scale=0.05, zero_point=3, name="image")
    level = builder.tensor((1,), dtype="int32", name="level")
    stream = nested_format.encode(random_layer(conv_params(), levels=2, seed=0))
    y = builder.tensor(shape, scale=0.1, zero_point=-7)
    packed = builder.constant(np.frombuffer(stream, np.uint8))
    builder.op("custom:NESTED_SPARSE_CONV", [x, level, packed], [y])

    def add(kind: str, *more: int, options: Any = None, out: Any = None, **fields: Any) -> None:
        nonlocal y
        same = {"scale": 0.1, "zero_point": -7}
        result = builder.tensor(out or shape, **{**same, **fields.pop("quantized", {})})
        builder.op(kind, [y, *more], [result], options, **fields)
        y = result

    pool = {"filterHeight": 2, "filterWidth": 2, "strideH": 1, "strideW": 1}
    constant = builder.constant(np.ones((4,), np.int8), scale=0.2)
    add("ADD", constant, options="AddOptions")
    add("MUL", constant, options="MulOptions")
    add("MAX_POOL_2D", options="Pool2DOptions", **pool)
    add("LEAKY_RELU", options="LeakyReluOptions", alpha=0.1)
    add("TANH", quantized={"scale": 1 / 128, "zero_point": 0})
    add("HARD_SWISH")
    add("PAD", builder.constant(np.array([[0, 0], [1, 1], [0, 0], [0, 0]], np.int32)),
        out=(1, 6, 4, 4))  # fmt: skip
    add("MEAN", builder.constant(np.array([1, 2], np.int32)), options="ReducerOptions", out=(1, 4))
    add("SOFTMAX", options="SoftmaxOptions", beta=1.0, out=(1, 4),
        quantized={"scale": 1 / 256, "zero_point": -128})  # fmt: skip
    builder.signature({"image": x, "level": level}, {"scores": y})
    return builder.build([x, level], [y], external=external)


@st.composite
def mutations(draw: st.DrawFn, model: bytes) -> bytes:
    """A file with a few bytes or words changed, or cut off."""
    content = bytearray(model)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("byte", "word", "offset", "copy", "cut")))
        place = draw(st.integers(0, len(content) - 4))
        if kind == "byte":
            content[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[max(place, 16) :]
        else:
            source = draw(st.integers(0, len(content) - 4)) & ~3
            word = {
                "word": struct.pack("<I", draw(st.sampled_from(WORDS))),
                "offset": struct.pack("<I", source),
                "copy": bytes(content[source : source + 4]),
            }[kind]
            content[place & ~3 : (place & ~3) + 4] = word
    return bytes(content)
