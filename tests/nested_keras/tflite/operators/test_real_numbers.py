"""QUANTIZE and DEQUANTIZE against TFLite's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from nested_keras.tflite.operators.real_numbers import quantize
from tests.nested_keras.runtime.oracle import EVERY_INT8, Draw, assert_exact
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {
        "QUANTIZE": quantize_model(Draw(0), scale=0.1),
        "DEQUANTIZE": dequantize_model(Draw(0)),
    }


def quantize_model(draw: Draw, *, scale: float) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor((1, 64), dtype="float32")
    y = builder.tensor((1, 64), scale=scale, zero_point=draw.point())
    builder.op("QUANTIZE", [x], [y], "QuantizeOptions")
    return builder.build([x], [y])


def dequantize_model(draw: Draw) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor((1, 256), scale=draw.scale(), zero_point=draw.point())
    y = builder.tensor((1, 256), dtype="float32")
    builder.op("DEQUANTIZE", [x], [y], "DequantizeOptions")
    return builder.build([x], [y])


@pytest.mark.parametrize("ties", [False, True])
def test_quantize_from_float(ties: bool) -> None:
    for seed in range(40):
        draw = Draw(seed)
        scale = 2.0 ** -draw.below(6) if ties else draw.scale()
        model = quantize_model(draw, scale=scale)
        steps = (
            draw.rng.integers(-700, 700, (1, 64)) / 2 if ties else draw.rng.normal(0, 90, (1, 64))
        )
        assert_exact(model, (steps * scale).astype(np.float32), label=seed)


@pytest.mark.parametrize("dtypes", [("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8")])
@pytest.mark.parametrize("same", [True, False])
def test_quantize_between_types_of_8_bits(dtypes: tuple[str, str], same: bool) -> None:
    for seed in range(30):
        draw = Draw(seed)
        scale, point = draw.scale(), draw.point()
        ends = [(scale, point), (scale, point) if same else (draw.scale(), draw.point())]
        builder = ModelBuilder()
        x, y = (
            builder.tensor(
                (1, 256),
                dtype=dtype,
                scale=scale,
                zero_point=point + (128 if dtype == "uint8" else 0),
            )
            for dtype, (scale, point) in zip(dtypes, ends, strict=True)
        )
        builder.op("QUANTIZE", [x], [y], "QuantizeOptions")
        model = builder.build([x], [y])
        assert_exact(model, EVERY_INT8.view(dtypes[0]), label=seed)


def test_quantize_saturates_any_float() -> None:
    values = np.array([1e30, -1e30, np.inf, -np.inf, 0.0], np.float32)
    y = quantize(values, scale=0.5, zero_point=127)
    np.testing.assert_array_equal(y, [127, -128, 127, -128, 127])


def test_dequantize() -> None:
    for seed in range(20):
        assert_exact(dequantize_model(Draw(seed)), EVERY_INT8, label=seed)
