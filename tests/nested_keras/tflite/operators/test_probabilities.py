"""SOFTMAX against TFLite's reference kernel."""

from __future__ import annotations

import pytest

from tests.nested_keras.runtime.oracle import Draw, assert_exact
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {"SOFTMAX": softmax_model((1, 10), scale=0.1)}


def softmax_model(shape: tuple[int, ...], *, scale: float, beta: float = 1.0) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor(shape, scale=scale, zero_point=11)
    y = builder.tensor(shape, scale=1 / 256, zero_point=-128)
    builder.op("SOFTMAX", [x], [y], "SoftmaxOptions", beta=beta)
    return builder.build([x], [y])


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_softmax_is_tflites(beta: float) -> None:
    for seed in range(80):
        draw = Draw(seed)
        rows, classes = draw.below(6), draw.below(200)
        model = softmax_model((rows, classes), scale=draw.scale(6e-6, 50), beta=beta)
        assert_exact(model, draw.int8(rows, classes), label=seed)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (5,), (1, 1)])
def test_softmax_of_other_ranks(shape: tuple[int, ...]) -> None:
    assert_exact(softmax_model(shape, scale=0.1), Draw(1).int8(*shape))
