"""All 256 inputs of every operator that a table replaces, at many scales."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

SEEDS = range(60)


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {"TANH": lookup_model("TANH", Draw(0), output=(1 / 128, 0))}


def lookup_model(kind: str, draw: Draw, *, output: tuple[float, int], **options: Any) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor((1, 256), scale=draw.scale(), zero_point=draw.point())
    y = builder.tensor((1, 256), scale=output[0], zero_point=output[1])
    builder.op(kind, [x], [y], *(["LeakyReluOptions"] if options else []), **options)
    return builder.build([x], [y])


def check(kind: str, draw: Draw, *, output: tuple[float, int], **options: Any) -> None:
    model = lookup_model(kind, draw, output=output, **options)
    assert_exact(model, EVERY_INT8, label=(kind, output, options))


@pytest.mark.parametrize("kind", ["TANH", "RELU", "RELU6", "HARD_SWISH", "QUANTIZE"])
def test_element_wise(kind: str) -> None:
    for seed in SEEDS:
        draw = Draw(seed)
        check(kind, draw, output=(draw.scale(0.03), draw.point()))


def test_logistic() -> None:
    for seed in SEEDS:
        check("LOGISTIC", Draw(seed), output=(1 / 256, -128))


def test_tanh_at_its_usual_scale() -> None:
    for seed in SEEDS:
        check("TANH", Draw(seed), output=(1 / 128, 0))


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.3, 1.0, 1.7, -0.2])
def test_leaky_relu(alpha: float) -> None:
    for seed in range(20):
        draw = Draw(seed)
        check("LEAKY_RELU", draw, output=(draw.scale(), draw.point()), alpha=alpha)
