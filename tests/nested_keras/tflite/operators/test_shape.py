"""PAD, CONCATENATION and the reshapes against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nested_keras.runtime.oracle import Draw, assert_exact
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def samples() -> dict[str, bytes]:
    """See samples.py."""
    paddings = np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32)
    return {
        "PAD": pad_model(Draw(0), paddings, explicit=False),
        "CONCATENATION": concatenation_case(3)[0],
        "RESHAPE": reshape_model("RESHAPE", (1, 3, 4, 2), (1, 24), np.array([1, 24], np.int32)),
    }


def pad_model(draw: Draw, paddings: np.ndarray, *, explicit: bool) -> bytes:
    scale, point = draw.scale(), draw.point()
    builder = ModelBuilder()
    x = builder.tensor((1, 3, 4, 2), scale=scale, zero_point=point)
    shape = tuple(np.array([1, 3, 4, 2]) + paddings.sum(axis=1))
    y = builder.tensor(shape, scale=scale, zero_point=point)
    operands = [x, builder.constant(paddings)]
    if explicit:
        operands.append(builder.constant(draw.int8(1).reshape(()), scale=scale, zero_point=point))
    kind, options = ("PADV2", "PadV2Options") if explicit else ("PAD", "PadOptions")
    builder.op(kind, operands, [y], options)
    return builder.build([x], [y])


@pytest.mark.parametrize("explicit", [False, True])
def test_pad(explicit: bool) -> None:
    for seed in range(20):
        draw = Draw(seed)
        paddings = draw.rng.integers(0, 3, (4, 2)).astype(np.int32)
        model = pad_model(draw, paddings, explicit=explicit)
        assert_exact(model, draw.int8(1, 3, 4, 2), label=seed)


def concatenation_case(axis: int) -> tuple[bytes, list[np.ndarray]]:
    """A model of one concatenation of three tensors, and its inputs."""
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
    return builder.build(parts, [y]), [draw.int8(*shape) for shape in shapes]


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_concatenation(axis: int) -> None:
    model, values = concatenation_case(axis)
    assert_exact(model, *values)


def reshape_model(
    kind: str, source: tuple[int, ...], shape: tuple[int, ...], extra: np.ndarray | None
) -> bytes:
    """A model of one reshape; `extra` is the constant that some kinds take besides."""
    builder = ModelBuilder()
    x = builder.tensor(source, scale=0.3, zero_point=5)
    y = builder.tensor(shape, scale=0.3, zero_point=5)
    operands = [x] if extra is None else [x, builder.constant(extra)]
    options: dict[str, tuple[str, dict[str, np.ndarray]]] = {
        "RESHAPE": ("ReshapeOptions", {"newShape": np.array(shape, np.int32)}),
        "SQUEEZE": ("SqueezeOptions", {"squeezeDims": np.array([2], np.int32)}),
        "EXPAND_DIMS": ("ExpandDimsOptions", {}),
    }
    builder.op(kind, operands, [y], options[kind][0], **options[kind][1])
    return builder.build([x], [y])


@pytest.mark.parametrize(
    ("kind", "source", "shape", "extra"),
    [
        ("RESHAPE", (1, 3, 4, 2), (1, 24), [1, 24]),
        ("SQUEEZE", (1, 12, 1, 2), (1, 12, 2), None),
        ("EXPAND_DIMS", (1, 3, 4, 2), (1, 1, 3, 4, 2), 1),
    ],
)
def test_reshapes(
    kind: str, source: tuple[int, ...], shape: tuple[int, ...], extra: object
) -> None:
    constant = None if extra is None else np.array(extra, np.int32)
    assert_exact(reshape_model(kind, source, shape, constant), Draw(0).int8(*source))
