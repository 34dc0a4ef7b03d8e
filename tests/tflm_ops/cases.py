"""Layers that every convolution kernel is tested on, as NumPy and format objects only."""

import dataclasses

import numpy as np

from nested_keras.format import LayerKind, LayerParams, NestedWeights, encode
from tests.nested_keras.format.streams import random_layer

CONV, DEPTHWISE, DENSE = LayerKind.CONV, LayerKind.DEPTHWISE, LayerKind.FULLY_CONNECTED


def realistic(nested, *, seed):
    """The layer with biases and multipliers that spread its outputs over the int8 range."""
    rng = np.random.default_rng(seed)
    shape = nested.multiplier.shape
    spread = 80.0 * np.sqrt(nested.params.weights_per_channel) * 75.0
    return NestedWeights(
        params=nested.params,
        weights=nested.weights,
        level_map=nested.level_map,
        bias=rng.integers(-int(spread), int(spread), shape).astype(np.int32),
        multiplier=(rng.integers(1 << 30, 1 << 31, shape) * rng.choice([-1, 1], shape)).astype(
            np.int32
        ),
        shift=np.full(shape, -int(np.log2(spread / 64)), np.int8),
    )


def output_shape(params, input_shape, *, same):
    """Output of a layer whose padding is TFLite's SAME or VALID, and that padding's start."""
    spatial, pads = [], []
    for size, kernel, stride, dilation in (
        (input_shape[1], params["kernel_h"], params["stride_h"], params["dilation_h"]),
        (input_shape[2], params["kernel_w"], params["stride_w"], params["dilation_w"]),
    ):
        reach = (kernel - 1) * dilation + 1
        count = -(-size // stride) if same else (size - reach) // stride + 1
        spatial.append(count)
        pads.append(max((count - 1) * stride + reach - size, 0) // 2 if same else 0)
    return spatial, pads


def make(kind=CONV, *, size=(5, 6), channels=(4, 3), kernel=(3, 3), stride=(1, 1), **options):
    """A layer and the shapes of its input and output."""
    dilation = options.pop("dilation", (1, 1))
    same = options.pop("same", True)
    batches = options.pop("batches", 1)
    fields = dict(
        zip(
            ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"),
            (*kernel, *stride, *dilation),
            strict=True,
        )
    )
    inputs, outputs = channels
    if kind == DEPTHWISE:
        fields["depth_multiplier"] = outputs
        outputs *= inputs
    x_shape = (batches, *size, inputs)
    spatial, (pad_top, pad_left) = output_shape(fields, x_shape, same=same)
    fields |= {"input_offset": 13, "output_offset": -7} | options
    params = LayerParams(
        kind, in_channels=inputs, out_channels=outputs, pad_top=pad_top, pad_left=pad_left, **fields
    )
    return params, x_shape, (batches, *spatial, outputs)


def padded(case, *, top, left):
    """The case with other padding in front, and the same sizes."""
    params, x_shape, y_shape = case
    return dataclasses.replace(params, pad_top=top, pad_left=left), x_shape, y_shape


def row(inputs, outputs, *, rows=2, **options):
    params = LayerParams(
        DENSE, 1, 1, inputs, outputs, **({"input_offset": -90, "output_offset": 100} | options)
    )
    return params, (rows, inputs), (rows, outputs)


# Paddings that TFLite has no name for: the kernels take them, its operator does not.
PADDED = {
    "5x5 padded by more": padded(make(kernel=(5, 5)), top=6, left=1),
    "depthwise padded by more": padded(make(DEPTHWISE, channels=(3, 1)), top=1, left=5),
    "1x1 padded above": padded(make(kernel=(1, 1), size=(4, 7)), top=1, left=0),
    "1x1 padded in front": padded(make(kernel=(1, 1), size=(4, 7)), top=0, left=1),
    "3x3 padded by more": padded(make(), top=4, left=3),
}
# Edge classes: below, at and above a block; odd sizes, strides, paddings; one pixel, one channel.
CASES = {
    "3x3": make(),
    "1x1": make(kernel=(1, 1), size=(4, 7)),
    "5x5": make(kernel=(5, 5), size=(7, 5)),
    "1x3": make(kernel=(1, 3)),
    "1x1 stride 2": make(kernel=(1, 1), stride=(2, 2), size=(5, 7)),
    "1x1 on fewer rows": make(kernel=(1, 1), stride=(2, 1), size=(5, 7)),
    "stride 2": make(stride=(2, 2), size=(7, 8)),
    "stride 2 even": make(stride=(2, 2), size=(8, 8)),
    "stride 3x2 valid": make(stride=(3, 2), size=(9, 8), same=False),
    "valid": make(same=False),
    "dilation 2": make(dilation=(2, 2), size=(7, 7)),
    "dilation beyond the input": make(dilation=(4, 7), size=(3, 3)),
    "one pixel": make(size=(1, 1)),
    "one pixel 1x1": make(size=(1, 1), kernel=(1, 1)),
    "one row": make(size=(1, 9)),
    "one column": make(size=(9, 1)),
    "one channel in": make(channels=(1, 4)),
    "one channel out": make(channels=(4, 1)),
    "one weight": make(channels=(1, 1), kernel=(1, 1)),
    "odd channels": make(channels=(7, 5)),
    "kernel larger than input": make(kernel=(5, 5), size=(2, 3)),
    "batch 3": make(batches=3),
    "batch 3 1x1": make(batches=3, kernel=(1, 1)),
    "block 2": make(block_size=2),
    "block 2 at the block": make(channels=(2, 3), block_size=2),
    "block 4": make(block_size=4),
    "block 4 of 12": make(channels=(12, 5), block_size=4, stride=(2, 2)),
    "block 4 1x1": make(channels=(8, 6), block_size=4, kernel=(1, 1)),
    "narrow clamp": make(activation_min=-3, activation_max=4),
    "relu": make(activation_min=-7),
    "one value clamp": make(activation_min=5, activation_max=5),
    "lowest offsets": make(input_offset=-127, output_offset=-128),
    "highest offsets": make(input_offset=128, output_offset=127),
    "depthwise": make(DEPTHWISE, channels=(5, 1)),
    "depthwise multiplier 3": make(DEPTHWISE, channels=(2, 3), stride=(2, 2)),
    "depthwise 1x1": make(DEPTHWISE, channels=(6, 1), kernel=(1, 1)),
    "depthwise 5x5 dilation 2": make(
        DEPTHWISE, channels=(3, 1), kernel=(5, 5), dilation=(2, 2), size=(9, 8), batches=2
    ),
    "depthwise one channel": make(DEPTHWISE, channels=(1, 1), size=(4, 4), same=False),
    "row": row(37, 11),
    "row of one": row(1, 1, rows=1),
    "row block 2": row(38, 5, block_size=2),
    "row block 4": row(64, 9, block_size=4, rows=3),
    "row long gaps": row(2400, 3),
    "row long gaps block 2": row(4800, 3, block_size=2),
    "row long gaps block 4": row(4800, 3, block_size=4),
    "1x1 long gaps": make(channels=(2400, 3), kernel=(1, 1), size=(2, 1)),
    "3x3 long gaps": make(channels=(600, 3), size=(2, 3)),
    "3x3 long gaps block 2": make(channels=(1200, 3), size=(2, 3), block_size=2),
    # More outputs than scratch has room for accumulators: the reference goes by parts.
    "3x3 on many rows": make(channels=(1, 2), size=(40, 7)),
    "1x1 on many pixels": make(channels=(1, 1), kernel=(1, 1), size=(21, 9)),
    # make_cases.py gives the last three weights, by their places in this table.
    **PADDED,
}


def stream_and_input(case, *, levels, profile, seed, pack=encode):
    params, x_shape, y_shape = case
    nested = random_layer(params, levels=levels, profile=profile, seed=seed)
    x = np.random.default_rng(seed).integers(-128, 128, x_shape).astype(np.int8)
    return pack(realistic(nested, seed=seed)), x, y_shape
