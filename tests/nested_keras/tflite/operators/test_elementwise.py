"""ADD, SUB, MUL, MAXIMUM, MINIMUM and PRELU against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from nested_keras.runtime import lower
from nested_keras.tflite.model_error import ModelError
from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact, assert_exact_in_c
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library

BROADCASTS = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (1, 1, 1, 5)),
    ((1, 1, 1, 5), (1, 3, 4, 5)),
    ((1, 3, 1, 5), (1, 1, 4, 5)),
    ((1, 3, 4, 5), (1,)),
    ((7,), (7,)),
]
OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}


def samples() -> dict[str, bytes]:
    """See samples.py."""
    shapes = (1, 3, 4, 5), (1, 1, 1, 5)
    return {
        **{kind: binary(kind, shapes, Draw(0)) for kind in OPTIONS},
        **{kind: extremum(kind, shapes, (7, 7, 7)) for kind in ("MAXIMUM", "MINIMUM")},
        "PRELU": prelu((1, 1, 1, 5), Draw(0)),
    }


def binary(kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], draw: Draw) -> bytes:
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
    builder.op(kind, operands, [y], OPTIONS[kind], fusedActivationFunction=draw.fused())
    return builder.build(operands, [y])


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("shapes", BROADCASTS)
def test_binary(nk: Library, kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for seed in range(25):
        draw = Draw(seed)
        model = binary(kind, shapes, draw)
        values = [draw.int8(*shape) for shape in shapes]
        assert_exact(model, *values, label=seed)
        assert_exact_in_c(nk, model, *values)


@pytest.mark.parametrize("kind", OPTIONS)
def test_binary_with_a_constant_of_lower_rank(kind: str) -> None:
    draw = Draw(3)
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 4, 5), scale=0.1, zero_point=4)
    constant = builder.constant(draw.int8(5), scale=0.02, zero_point=-1)
    y = builder.tensor((1, 3, 4, 5), scale=0.11, zero_point=9)
    builder.op(kind, [x, constant], [y], OPTIONS[kind])
    assert_exact(builder.build([x], [y]), draw.int8(1, 3, 4, 5))


def prelu(shape: tuple[int, ...], draw: Draw, slopes: np.ndarray | None = None) -> bytes:
    builder = ModelBuilder()
    scale = draw.scale()
    x = builder.tensor((1, 3, 4, 5), scale=scale, zero_point=draw.point())
    scales = {"scale": draw.scale(0.001, 0.02), "zero_point": draw.point()}
    alpha = (
        builder.tensor(shape, **scales) if slopes is None else builder.constant(slopes, **scales)
    )
    y = builder.tensor((1, 3, 4, 5), scale=scale * draw.scale(0.3, 3), zero_point=draw.point())
    builder.op("PRELU", [x, alpha], [y])
    return builder.build([x] if slopes is not None else [x, alpha], [y])


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 1, 1, 5), (3, 4, 5), (5,), (1, 3, 4, 1)])
def test_prelu(nk: Library, shape: tuple[int, ...]) -> None:
    for seed in range(25):
        draw = Draw(seed)
        model = prelu(shape, draw, draw.int8(*shape))
        values = draw.int8(1, 3, 4, 5)
        assert_exact(model, values, label=seed)
        assert_exact_in_c(nk, model, values)


def extremum(
    kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], points: tuple[int, int, int]
) -> bytes:
    builder = ModelBuilder()
    operands = [
        builder.tensor(shape, scale=0.03, zero_point=point)
        for shape, point in zip(shapes, points, strict=False)
    ]
    y = builder.tensor(np.broadcast_shapes(*shapes), scale=0.03, zero_point=points[-1])
    builder.op(kind, operands, [y], "MaximumMinimumOptions")
    return builder.build(operands, [y])


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("shapes", [*BROADCASTS, ((1, 1, 1, 1), (1, 1, 1, 1))])
def test_extremum(nk: Library, kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for seed in range(10):
        draw = Draw(seed)
        model = extremum(kind, shapes, (draw.point(),) * 3)
        values = [draw.int8(*shape) for shape in shapes]
        assert_exact(model, *values, label=seed)
        assert_exact_in_c(nk, model, *values)


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
def test_extremum_of_all_pairs_of_values(nk: Library, kind: str) -> None:
    values = EVERY_INT8.reshape(1, 1, 256, 1), EVERY_INT8.reshape(1, 1, 1, 256)
    model = extremum(kind, (values[0].shape, values[1].shape), (3, 3, 3))
    assert_exact(model, *values)
    assert_exact_in_c(nk, model, *values)


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
def test_extremum_with_a_constant_of_lower_rank(nk: Library, kind: str) -> None:
    draw = Draw(3)
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 4, 5), scale=0.1, zero_point=4)
    constant = builder.constant(draw.int8(5), scale=0.1, zero_point=4)
    y = builder.tensor((1, 3, 4, 5), scale=0.1, zero_point=4)
    builder.op(kind, [x, constant], [y], "MaximumMinimumOptions")
    model = builder.build([x], [y])
    values = draw.int8(1, 3, 4, 5)
    assert_exact(model, values)
    assert_exact_in_c(nk, model, values)


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("points", [(4, 3, 3), (3, 4, 3)])
def test_extremum_refuses_other_scales(kind: str, points: tuple[int, int, int]) -> None:
    model = extremum(kind, ((1, 4), (1, 4)), points)
    with pytest.raises(ModelError, match=rf"{kind}.* must share scale and zero point: got .*4"):
        lower(model)
