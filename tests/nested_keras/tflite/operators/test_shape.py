"""PAD, CONCATENATION and the reshapes against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nested_keras.runtime.oracle import Draw, assert_exact
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


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
