"""Every operator against TFLite's reference kernels, on grids of shapes and quantisations."""

from __future__ import annotations

import numpy as np
import pytest

from nested_keras import format as nested_format
from nested_keras.format import Stream
from nested_keras.int8.fixed_point import multiply_by_quantized_multiplier
from nested_keras.runtime import ReferenceModel
from nested_keras.tflite import operators
from nested_keras.tflite.operators.real_numbers import quantize
from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact
from tests.nested_keras.tflite.nested_models import conv_params, dense_params, random_layer
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def output_size(size: int, *, kernel: int, stride: int, dilation: int, same: bool) -> int:
    extent = (kernel - 1) * dilation + 1
    return -(-size // stride) if same else (size - extent) // stride + 1


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


BROADCASTS = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (1, 1, 1, 5)),
    ((1, 1, 1, 5), (1, 3, 4, 5)),
    ((1, 3, 1, 5), (1, 1, 4, 5)),
    ((1, 3, 4, 5), (1,)),
    ((7,), (7,)),
]


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
@pytest.mark.parametrize("shapes", BROADCASTS)
def test_binary(kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for seed in range(25):
        draw = Draw(seed)
        scales = draw.scale(), draw.scale()
        factor = draw.scale(0.15, 3) * sum(scales)
        if kind == "MUL":
            factor = draw.scale(1, 150) * scales[0] * scales[1]
        builder = ModelBuilder()
        operands = [
            builder.tensor(shape, scale=scale, zero_point=draw.point())
            for shape, scale in zip(shapes, scales, strict=True)
        ]
        y = builder.tensor(np.broadcast_shapes(*shapes), scale=factor, zero_point=draw.point())
        options = {"ADD": "AddOptions", "MUL": "MulOptions"}[kind]
        builder.op(kind, operands, [y], options, fusedActivationFunction=draw.fused())
        model = builder.build(operands, [y])
        assert_exact(model, *(draw.int8(*shape) for shape in shapes), label=seed)


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
def test_binary_with_a_constant_of_lower_rank(kind: str) -> None:
    draw = Draw(3)
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 4, 5), scale=0.1, zero_point=4)
    constant = builder.constant(draw.int8(5), scale=0.02, zero_point=-1)
    y = builder.tensor((1, 3, 4, 5), scale=0.11, zero_point=9)
    builder.op(kind, [x, constant], [y], {"ADD": "AddOptions", "MUL": "MulOptions"}[kind])
    assert_exact(builder.build([x], [y]), draw.int8(1, 3, 4, 5))


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling(kind: str) -> None:
    for seed in range(150):
        draw = Draw(seed)
        same = draw.flag()
        window, stride = (draw.below(5), draw.below(5)), (draw.below(4), draw.below(4))
        size = [draw.below(9), draw.below(9)]
        if not same:
            size = [max(n, k) for n, k in zip(size, window, strict=True)]
        out = [
            output_size(n, kernel=k, stride=s, dilation=1, same=same)
            for n, k, s in zip(size, window, stride, strict=True)
        ]
        channels, scale, point = draw.below(6), draw.scale(), draw.point()
        builder = ModelBuilder()
        x = builder.tensor((1, *size, channels), scale=scale, zero_point=point)
        y = builder.tensor((1, *out, channels), scale=scale, zero_point=point)
        builder.op(
            kind, [x], [y], "Pool2DOptions", padding=0 if same else 1, strideH=stride[0],
            strideW=stride[1], filterHeight=window[0], filterWidth=window[1],
            fusedActivationFunction=draw.fused(),
        )  # fmt: skip
        assert_exact(builder.build([x], [y]), draw.int8(1, *size, channels), label=seed)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-3, -2)])
@pytest.mark.parametrize("same_scale", [False, True])
def test_mean(keep: bool, axes: tuple[int, int], same_scale: bool) -> None:
    for seed in range(20):
        draw = Draw(seed)
        height, width, channels = draw.below(12), draw.below(12), draw.below(6)
        scale, point = draw.scale(), draw.point()
        y_scale = scale if same_scale else scale * draw.scale(0.15, 2.7)
        builder = ModelBuilder()
        x = builder.tensor((1, height, width, channels), scale=scale, zero_point=point)
        y = builder.tensor(
            (1, 1, 1, channels) if keep else (1, channels),
            scale=y_scale,
            zero_point=point if same_scale else draw.point(),
        )
        operands = [x, builder.constant(np.array(axes, np.int32))]
        builder.op("MEAN", operands, [y], "ReducerOptions", keepDims=keep)
        assert_exact(builder.build([x], [y]), draw.int8(1, height, width, channels), label=seed)


@pytest.mark.parametrize("explicit", [False, True])
def test_pad(explicit: bool) -> None:
    for seed in range(20):
        draw = Draw(seed)
        scale, point = draw.scale(), draw.point()
        paddings = draw.rng.integers(0, 3, (4, 2)).astype(np.int32)
        builder = ModelBuilder()
        x = builder.tensor((1, 3, 4, 2), scale=scale, zero_point=point)
        shape = tuple(np.array([1, 3, 4, 2]) + paddings.sum(axis=1))
        y = builder.tensor(shape, scale=scale, zero_point=point)
        operands = [x, builder.constant(paddings)]
        if explicit:
            operands.append(
                builder.constant(draw.int8(1).reshape(()), scale=scale, zero_point=point)
            )
        builder.op(
            "PADV2" if explicit else "PAD",
            operands,
            [y],
            "PadV2Options" if explicit else "PadOptions",
        )
        assert_exact(builder.build([x], [y]), draw.int8(1, 3, 4, 2), label=seed)


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_concatenation(axis: int) -> None:
    draw = Draw(axis + 10)
    shapes = [[1, 3, 4, 2] for _ in range(3)]
    for shape in shapes:
        shape[axis] = draw.below(5)
    total = list(shapes[0])
    total[axis] = sum(shape[axis] for shape in shapes)
    builder = ModelBuilder()
    parts = [builder.tensor(tuple(shape), scale=0.3, zero_point=5) for shape in shapes]
    y = builder.tensor(tuple(total), scale=0.3, zero_point=5)
    builder.op("CONCATENATION", parts, [y], "ConcatenationOptions", axis=axis)
    assert_exact(builder.build(parts, [y]), *(draw.int8(*shape) for shape in shapes))


@pytest.mark.parametrize(
    ("kind", "shape", "extra"),
    [("RESHAPE", (1, 24), [1, 24]), ("SQUEEZE", (1, 12, 2), None), ("EXPAND_DIMS", (1,) * 5, 1)],
)
def test_reshapes(kind: str, shape: tuple[int, ...], extra: object) -> None:
    source = {"RESHAPE": (1, 3, 4, 2), "SQUEEZE": (1, 12, 1, 2), "EXPAND_DIMS": (1, 3, 4, 2)}[kind]
    if kind == "EXPAND_DIMS":
        shape = (1, 1, 3, 4, 2)
    builder = ModelBuilder()
    x = builder.tensor(source, scale=0.3, zero_point=5)
    y = builder.tensor(shape, scale=0.3, zero_point=5)
    operands = [x] if extra is None else [x, builder.constant(np.array(extra, np.int32))]
    options = {
        "RESHAPE": ("ReshapeOptions", {"newShape": np.array(shape, np.int32)}),
        "SQUEEZE": ("SqueezeOptions", {"squeezeDims": np.array([2], np.int32)}),
        "EXPAND_DIMS": ("ExpandDimsOptions", {}),
    }[kind]
    builder.op(kind, operands, [y], options[0], **options[1])
    assert_exact(builder.build([x], [y]), Draw(0).int8(*source))


@pytest.mark.parametrize("ties", [False, True])
def test_quantize_from_float(ties: bool) -> None:
    for seed in range(40):
        draw = Draw(seed)
        scale = 2.0 ** -draw.below(6) if ties else draw.scale()
        builder = ModelBuilder()
        x = builder.tensor((1, 64), dtype="float32")
        y = builder.tensor((1, 64), scale=scale, zero_point=draw.point())
        builder.op("QUANTIZE", [x], [y], "QuantizeOptions")
        steps = (
            draw.rng.integers(-700, 700, (1, 64)) / 2 if ties else draw.rng.normal(0, 90, (1, 64))
        )
        assert_exact(builder.build([x], [y]), (steps * scale).astype(np.float32), label=seed)


def test_quantize_saturates_any_float() -> None:
    values = np.array([1e30, -1e30, np.inf, -np.inf, 0.0], np.float32)
    y = quantize(values, scale=0.5, zero_point=127)
    np.testing.assert_array_equal(y, [127, -128, 127, -128, 127])


def test_dequantize() -> None:
    for seed in range(20):
        draw = Draw(seed)
        builder = ModelBuilder()
        x = builder.tensor((1, 256), scale=draw.scale(), zero_point=draw.point())
        y = builder.tensor((1, 256), dtype="float32")
        builder.op("DEQUANTIZE", [x], [y], "DequantizeOptions")
        assert_exact(builder.build([x], [y]), EVERY_INT8, label=seed)


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


def test_batches_are_independent() -> None:
    model, _ = convolution_case(Draw(4), depthwise=False)
    reference = ReferenceModel(model)
    x = Draw(5).int8(9, *reference.input_details[0].shape[1:])
    whole = reference.run(x)
    np.testing.assert_array_equal(
        whole, np.concatenate([reference.run(x[i : i + 1]) for i in range(9)])
    )


def test_large_accumulators_stay_exact() -> None:
    # Beyond 2**24 float32 would round: the kernel must change to float64.
    x = np.full((1, 4001), 127, np.int8)
    x[0, 0] = -127
    acc = (4000 * 255 + 1) * 127
    op = operators.FullyConnected(
        name="", inputs=(0,), outputs=(1,), filter=np.full((1, 4001), 127, np.int8),
        bias=np.array([5 - acc], np.int32), multiplier=np.array([2**30], np.int32),
        shift=np.array([1], np.int32), input_offset=128, output_offset=0, activation_min=-128,
        activation_max=127,
    )  # fmt: skip
    assert operators.run_op(op, [x], (1, 1)).tolist() == [[5]]
