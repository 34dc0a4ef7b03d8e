"""NESTED_SPARSE_CONV: against its definition, and which streams and operands are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from nested_keras import format as nested_format
from nested_keras.format import LayerKind, Stream, encode
from nested_keras.int8.fixed_point import multiply_by_quantized_multiplier
from nested_keras.runtime import lower
from nested_keras.tflite import operators
from tests.nested_keras.runtime.oracle import Draw
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)
from tests.nested_keras.tflite.tflite_builder import ModelBuilder, refuse

SHAPE = (1, 5, 3, 4)


def samples() -> dict[str, bytes]:
    """See samples.py."""
    convolution = random_layer(conv_params(), levels=2, seed=0)
    dense = random_layer(dense_params(), levels=2, seed=0)
    return {
        "NESTED_SPARSE_CONV": nested_model(convolution, shapes=(SHAPE, SHAPE)),
        "NESTED_SPARSE_CONV (fully connected)": nested_model(dense, shapes=((1, 60), (1, 5))),
    }


def naive_nested(
    layer: nested_format.NestedWeights, level: int, x: np.ndarray, shape: tuple
) -> np.ndarray:
    """The definition of NESTED_SPARSE_CONV in plain loops (convolution kinds, batch 1)."""
    p = layer.params
    y = np.zeros(shape, np.int64)
    for oh, ow, o in np.ndindex(*shape[1:]):
        acc = int(layer.bias[level, o])
        for kh, kw, c in np.ndindex(*layer.weights.shape[1:]):
            h = oh * p.stride_h + kh * p.dilation_h - p.pad_top
            w = ow * p.stride_w + kw * p.dilation_w - p.pad_left
            inside = 0 <= h < x.shape[1] and 0 <= w < x.shape[2]
            if inside and layer.level_map[o, kh, kw, c] <= level:
                depthwise = p.kind == nested_format.LayerKind.DEPTHWISE
                channel = o // p.depth_multiplier if depthwise else c
                pixel = int(x[0, h, w, channel]) + p.input_offset
                acc += int(layer.weights[o, kh, kw, c]) * pixel
        y[0, oh, ow, o] = acc
    y = multiply_by_quantized_multiplier(y, layer.multiplier[level], layer.shift[level])
    return np.clip(y + p.output_offset, p.activation_min, p.activation_max).astype(np.int8)


NESTED_CASES = {
    "conv": (conv_params(), (1, 5, 3, 4)),
    "strided": (conv_params(stride_h=2, stride_w=1, pad_top=0), (1, 2, 3, 4)),
    "dilated": (conv_params(dilation_h=2, pad_top=2), (1, 5, 3, 4)),
    "depthwise": (
        conv_params(nested_format.LayerKind.DEPTHWISE, out_channels=8, depth_multiplier=2),
        (1, 5, 3, 8),
    ),
    "clamped": (conv_params(activation_min=-7, activation_max=20), (1, 5, 3, 4)),
}


@pytest.mark.parametrize("case", NESTED_CASES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_nested_convolution_is_its_definition(case: str, level: int) -> None:
    params, shape = NESTED_CASES[case]
    layer = random_layer(params, levels=3, seed=level)
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.pack(layer))
    x = Draw(7).int8(1, 5, 3, 4)
    y = operators.run_op(op, [x], shape, level)
    np.testing.assert_array_equal(y, naive_nested(layer, level, x, shape))


def test_nested_fully_connected_rounds_once() -> None:
    layer = random_layer(dense_params(), levels=2, seed=0)
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.pack(layer))
    x = Draw(1).int8(2, 60)
    for level in range(2):
        kept = np.where(layer.level_map <= level, layer.weights, 0).reshape(5, 60).astype(np.int64)
        acc = (x.astype(np.int64) + layer.params.input_offset) @ kept.T + layer.bias[level]
        exact = acc * layer.multiplier[level] * 2.0 ** (layer.shift[level].astype(float) - 31)
        y = np.sign(exact) * np.floor(np.abs(exact) + 0.5) + layer.params.output_offset
        expected = np.clip(y, -128, 127).astype(np.int8)
        np.testing.assert_array_equal(operators.run_op(op, [x], (2, 5), level), expected)


@pytest.mark.parametrize("level", [-1, 3])
def test_nested_level_out_of_range(level: int) -> None:
    stream = Stream.pack(random_layer(conv_params(), levels=3, seed=0))
    with pytest.raises(ValueError, match=rf"level must be in 0\.\.2: got {level}"):
        operators.dense_op(stream, level)


def test_a_stream_that_is_not_valid() -> None:
    model = bytearray(
        nested_model(random_layer(conv_params(), levels=2, seed=0), shapes=(SHAPE, SHAPE))
    )
    model[model.index(b"NSC1") + 16] ^= 0xFF
    refuse(bytes(model), "NESTED_SPARSE_CONV 't2': the packed stream is not valid")


@pytest.mark.parametrize(
    ("params", "shapes", "text"),
    [
        (conv_params(in_channels=2), (SHAPE, SHAPE), "a stream of 2 -> 4 channels does not fit"),
        (conv_params(), (SHAPE, (1, 5, 3, 6)), "a stream of 4 -> 4 channels does not fit"),
        (conv_params(), (SHAPE, (2, 5, 3, 4)), "does not fit the shapes [1, 5, 3, 4] -> [2, 5"),
        (conv_params(), (SHAPE, (1, 60)), "does not fit the shapes [1, 5, 3, 4] -> [1, 60]"),
        (
            conv_params(),
            (SHAPE, (1, 7, 3, 4)),
            "axis 1: 3 taps, stride 1, dilation 1 and padding 1",
        ),
        (conv_params(stride_w=2), (SHAPE, SHAPE), "do not take 3 pixels to 3"),
        (
            conv_params(LayerKind.DEPTHWISE, out_channels=8, depth_multiplier=2),
            (SHAPE, SHAPE),
            "a stream of 4 -> 8 channels does not fit",
        ),
        (dense_params(), (SHAPE, (1, 6)), "a stream of 60 -> 5 features does not fit"),
        (dense_params(in_channels=7), (SHAPE, (1, 5)), "a stream of 7 -> 5 features does not fit"),
    ],
)
def test_streams_that_do_not_fit(params: Any, shapes: Any, text: str) -> None:
    refuse(nested_model(random_layer(params, levels=2, seed=0), shapes=shapes), text)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "output"),
    [
        (5, 3, 2, 1, 3),
        (6, 3, 2, 0, 3),
        (6, 3, 2, 0, 2),
        (1, 3, 1, 1, 1),
        (7, 1, 3, 0, 3),
        (4, 5, 1, 2, 4),
    ],
)
def test_streams_of_every_padding_fit(
    size: int, kernel: int, stride: int, before: int, output: int
) -> None:
    params = conv_params(kernel_h=kernel, stride_h=stride, pad_top=before)
    layer = random_layer(params, levels=1, seed=0)
    model = nested_model(layer, shapes=((1, size, 3, 4), (1, output, 3, 4)))
    assert lower(model).levels == 1


def test_zero_points_of_stream_and_tensors_disagree() -> None:
    layer = random_layer(conv_params(), levels=2, seed=0)
    other = dataclasses.replace(layer, params=conv_params(input_offset=9))
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.1, zero_point=3)
    y = builder.tensor(SHAPE, scale=0.1, zero_point=-7)
    stream = builder.constant(np.frombuffer(encode(other), np.uint8))
    builder.op("custom:NESTED_SPARSE_CONV", [x, -1, stream], [y])
    refuse(builder.build([x], [y]), "the stream's input offset must be -3: got 9")


def nested_with(inputs: list[int], *, options: bytes = b"") -> bytes:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.1, zero_point=3)
    builder.tensor((1,), dtype="int32", name="level")
    builder.tensor((1,), dtype="int32", name="other")
    layer = random_layer(conv_params(), levels=2, seed=0)
    builder.constant(np.frombuffer(encode(layer), np.uint8))
    y = builder.tensor(SHAPE, scale=0.1, zero_point=-7, name="y")
    op = builder.op("custom:NESTED_SPARSE_CONV", inputs, [y])
    if options:
        op.customOptions = np.frombuffer(options, np.uint8)
    return builder.build([x, 1], [y])


@pytest.mark.parametrize(
    ("inputs", "options", "text"),
    [
        (
            [0, 2, 3],
            b"",
            "input 1 must be the int32[1] graph input 'level' or left out: got 'other'",
        ),
        ([0, 1], b"", "expected 3 inputs: got 2"),
        ([0, 1, 0], b"", "input 2 must be a constant"),
        ([0, 1, 3], b"abc", "expected no custom options: got 3 bytes"),
    ],
)
def test_nested_operands(inputs: list[int], options: bytes, text: str) -> None:
    refuse(nested_with(inputs, options=options), text)
