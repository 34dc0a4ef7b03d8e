"""All 256 inputs of every operator that a table replaces, at many scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nested_keras.runtime import LiteRTModel, ModelError, ReferenceModel, lower
from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact, assert_exact_in_c
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library

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


def int8_lookup(table: np.ndarray, shape: tuple[int, ...] = (1, 256)) -> bytes:
    builder = ModelBuilder()
    x, y = (builder.tensor(shape, scale=scale, zero_point=3) for scale in (0.1, 0.2))
    builder.op("custom:INT8_LOOKUP", [x, builder.constant(table)], [y])
    return builder.build([x], [y])


def test_int8_lookup(nk: Library) -> None:
    table = Draw(0).int8(256)
    model = int8_lookup(table)
    for runtime in (ReferenceModel, LiteRTModel):
        np.testing.assert_array_equal(runtime(model).run(EVERY_INT8), table[None])
    assert_exact_in_c(nk, model, EVERY_INT8)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (np.zeros(255, np.int8), r"must have 256 entries: got the shape \[255\]"),
        (np.zeros((1, 256), np.int8), r"must have 256 entries: got the shape \[1, 256\]"),
        (np.zeros(256, np.uint8), "input 1 must be int8: got uint8"),
    ],
)
def test_tables_of_another_form_are_refused(table: np.ndarray, text: str) -> None:
    with pytest.raises(ModelError, match=f"INT8_LOOKUP.*{text}"):
        lower(int8_lookup(table))
    with pytest.raises(RuntimeError, match="the table must be int8"):
        LiteRTModel(int8_lookup(table))
