"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from nested_keras.runtime import ReferenceModel
from tests.nested_keras.runtime.oracle import Draw, assert_exact, output_size
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {
        "AVERAGE_POOL_2D": pooling_case("AVERAGE_POOL_2D", Draw(3))[0],
        "MAX_POOL_2D": pooling_case("MAX_POOL_2D", Draw(3))[0],
        "MEAN": mean_case(Draw(0), axes=(1, 2), keep=False, same_scale=False)[0],
    }


def pooling_case(kind: str, draw: Draw) -> tuple[bytes, np.ndarray]:
    """A random model of one pooling, and its input."""
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
    return builder.build([x], [y]), draw.int8(1, *size, channels)


def mean_case(
    draw: Draw, *, axes: tuple[int, int], keep: bool, same_scale: bool
) -> tuple[bytes, np.ndarray]:
    """A random model of one mean, and its input."""
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
    return builder.build([x], [y]), draw.int8(1, height, width, channels)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling(kind: str) -> None:
    for seed in range(150):
        assert_exact(*pooling_case(kind, Draw(seed)), label=seed)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_a_window_of_any_size_takes_no_memory(kind: str) -> None:
    """As large as a damaged file may say."""
    builder = ModelBuilder()
    x, y = (builder.tensor((1, *size, 2), scale=0.1, zero_point=3) for size in ((3, 4), (3, 1)))
    builder.op(
        kind, [x], [y], "Pool2DOptions", padding=0, strideH=1, strideW=4,
        filterHeight=2**31 - 1, filterWidth=2**30, fusedActivationFunction=0,
    )  # fmt: skip
    values = np.arange(-12, 12).reshape(1, 3, 4, 2).astype(np.int8)
    got = np.asarray(ReferenceModel(builder.build([x], [y])).run(values))
    whole = values[0].reshape(12, 2).astype(int)
    expected = whole.max(0) if kind == "MAX_POOL_2D" else np.array([-1, 0])
    np.testing.assert_array_equal(got.reshape(3, 2), [expected] * 3)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-3, -2)])
@pytest.mark.parametrize("same_scale", [False, True])
def test_mean(keep: bool, axes: tuple[int, int], same_scale: bool) -> None:
    for seed in range(20):
        case = mean_case(Draw(seed), axes=axes, keep=keep, same_scale=same_scale)
        assert_exact(*case, label=seed)
