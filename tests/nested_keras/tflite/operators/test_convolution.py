"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from nested_keras.runtime import ReferenceModel
from nested_keras.tflite import operators
from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact, output_size
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def samples() -> dict[str, bytes]:
    """See samples.py."""
    weights = Draw(0).int8(4, 6)
    dense = {"rows": 1, "weights": weights, "y_scale": 40.0, "bias": True, "per_channel": True}
    return {
        "CONV_2D": convolution_case(Draw(2), depthwise=False)[0],
        "DEPTHWISE_CONV_2D": convolution_case(Draw(2), depthwise=True)[0],
        "FULLY_CONNECTED": fully_connected_model(Draw(0), **dense),
    }


def convolution_case(draw: Draw, *, depthwise: bool) -> tuple[bytes, np.ndarray]:
    """A random one-convolution model and its input; kernel 1x1 and one pixel occur."""
    same, per_channel = draw.flag(), draw.flag()
    kernel, stride = (draw.below(6), draw.below(6)), (draw.below(4), draw.below(4))
    dilation = draw.below(3) if stride == (1, 1) else 1
    size = [draw.below(9), draw.below(9)]
    if not same:
        size = [max(n, (k - 1) * dilation + 1) for n, k in zip(size, kernel, strict=True)]
    out_h, out_w = (
        output_size(n, kernel=k, stride=s, dilation=dilation, same=same)
        for n, k, s in zip(size, kernel, stride, strict=True)
    )
    channels, factor = draw.below(6), draw.below(4)
    filters = channels * factor if depthwise else draw.below(7)
    fan_in = kernel[0] * kernel[1] * (1 if depthwise else channels)
    x_scale = draw.scale()
    w_scales = np.array(
        [draw.scale(0.007, 0.4) for _ in range(filters if per_channel else 1)], np.float32
    )
    y_scale = x_scale * float(w_scales.mean()) * fan_in**0.5 * draw.scale(15, 110)
    builder = ModelBuilder()
    x = builder.tensor((1, *size, channels), scale=x_scale, zero_point=draw.point())
    shape = (1, *kernel, filters) if depthwise else (filters, *kernel, channels)
    weights = builder.constant(draw.int8(*shape), scale=w_scales, axis=3 if depthwise else 0)
    bias = builder.constant(
        draw.rng.integers(-5000, 5000, filters).astype(np.int32),
        scale=np.float32(x_scale) * w_scales,
    )
    y = builder.tensor((1, out_h, out_w, filters), scale=y_scale, zero_point=draw.point())
    fields = {
        "padding": 0 if same else 1,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation,
        "dilationWFactor": dilation,
        "fusedActivationFunction": draw.fused(),
    }
    if depthwise:
        fields["depthMultiplier"] = factor
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    builder.op(kind, [x, weights, bias], [y], options, **fields)
    return builder.build([x], [y]), draw.int8(1, *size, channels)


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(depthwise: bool) -> None:
    for seed in range(150):
        model, x = convolution_case(Draw(seed), depthwise=depthwise)
        assert_exact(model, x, label=seed)


def test_convolution_rounds_twice_near_ties() -> None:
    # One tap, every product of input and weight; scales chosen so that results lie close to .5.
    draw = Draw(0)
    for seed in range(12):
        w_scale = draw.scale(0.001, 0.1)
        x_scale = draw.scale()
        y_scale = x_scale * w_scale * 2 * draw.below(200) / draw.below(4)
        builder = ModelBuilder()
        x = builder.tensor((1, 1, 256, 1), scale=x_scale)
        values = np.arange(-127, 128).astype(np.int8).reshape(255, 1, 1, 1)
        weights = builder.constant(values, scale=np.full(255, w_scale))
        bias = builder.constant(np.zeros(255, np.int32), scale=np.full(255, x_scale * w_scale))
        y = builder.tensor((1, 1, 256, 255), scale=y_scale)
        builder.op("CONV_2D", [x, weights, bias], [y], "Conv2DOptions", strideH=1, strideW=1)
        assert_exact(builder.build([x], [y]), EVERY_INT8.reshape(1, 1, 256, 1), label=seed)


def fully_connected_model(
    draw: Draw, *, rows: int, weights: np.ndarray, y_scale: float, bias: bool, per_channel: bool
) -> bytes:
    """FULLY_CONNECTED; `y_scale` is in units of input scale * mean filter scale."""
    filters, features = weights.shape
    x_scale = draw.scale()
    w_scales = np.array(
        [draw.scale(0.007, 0.4) for _ in range(filters if per_channel else 1)], np.float32
    )
    builder = ModelBuilder()
    x = builder.tensor((rows, features), scale=x_scale, zero_point=draw.point())
    operands = [x, builder.constant(weights, scale=w_scales)]
    if bias:
        values = draw.rng.integers(-5000, 5000, filters).astype(np.int32)
        operands.append(builder.constant(values, scale=np.float32(x_scale) * w_scales))
    else:
        operands.append(-1)
    scale = float(np.float32(x_scale * float(w_scales.mean()) * y_scale))
    y = builder.tensor((rows, filters), scale=scale, zero_point=draw.point())
    builder.op(
        "FULLY_CONNECTED", operands, [y], "FullyConnectedOptions",
        fusedActivationFunction=draw.fused(),
    )  # fmt: skip
    return builder.build([x], [y])


@pytest.mark.parametrize("per_channel", [False, True])
def test_fully_connected(per_channel: bool) -> None:
    for seed in range(150):
        draw = Draw(seed)
        rows, filters, features = draw.below(4), draw.below(7), draw.below(40)
        model = fully_connected_model(
            draw,
            rows=rows,
            weights=draw.int8(filters, features),
            y_scale=features**0.5 * draw.scale(15, 110),
            bias=draw.flag(),
            per_channel=per_channel,
        )
        assert_exact(model, draw.int8(rows, features), label=seed)


def test_fully_connected_rounds_once() -> None:
    for seed in range(12):
        draw = Draw(seed)
        values = np.arange(-127, 128).astype(np.int8).reshape(255, 1)
        model = fully_connected_model(
            draw, rows=256, weights=values, y_scale=draw.scale(20, 200), bias=False,
            per_channel=False,
        )  # fmt: skip
        assert_exact(model, EVERY_INT8.reshape(256, 1), label=seed)


def test_batches_are_independent() -> None:
    model, _ = convolution_case(Draw(4), depthwise=False)
    reference = ReferenceModel(model)
    x = Draw(5).int8(9, *reference.input_details[0].shape[1:])
    whole = reference.run(x)
    np.testing.assert_array_equal(
        whole, np.concatenate([reference.run(x[i : i + 1]) for i in range(9)])
    )


@pytest.mark.parametrize("weight", [127, -128])
def test_large_accumulators_stay_exact(weight: int) -> None:
    # Beyond 2**24 float32 would round: the kernel must change to float64.
    x = np.full((1, 4001), 127, np.int8)
    x[0, 0] = -127
    acc = (4000 * 255 + 1) * weight
    op = operators.FullyConnected(
        name="", inputs=(0,), outputs=(1,), filter=np.full((1, 4001), weight, np.int8),
        bias=np.array([5 - acc], np.int32), multiplier=np.array([2**30], np.int32),
        shift=np.array([1], np.int32), input_offset=128, output_offset=0, activation_min=-128,
        activation_max=127,
    )  # fmt: skip
    assert operators.run_op(op, [x], (1, 1)).tolist() == [[5]]
