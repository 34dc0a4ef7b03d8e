"""RESIZE_BILINEAR against TFLite's reference kernel, and its C kernel."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from nested_keras.runtime import UnsupportedOpError, lower
from tests.nested_keras.runtime.oracle import Draw, assert_exact, assert_exact_in_c
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library, StatusError


def bilinear(shape: tuple[int, ...], size: tuple[int, int], **options: Any) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor(shape, scale=0.3, zero_point=5)
    y = builder.tensor((shape[0], *size, shape[3]), scale=0.3, zero_point=5)
    constant = builder.constant(np.array(size, np.int32))
    builder.op("RESIZE_BILINEAR", [x, constant], [y], "ResizeBilinearOptions", **options)
    return builder.build([x], [y])


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {"RESIZE_BILINEAR": bilinear((1, 3, 2, 4), (6, 6), halfPixelCenters=True)}


@pytest.mark.parametrize(
    "options", [{}, {"halfPixelCenters": True}, {"alignCorners": True}], ids=str
)
def test_resize_bilinear(nk: Library, options: dict[str, bool]) -> None:
    for seed in range(40):
        draw = Draw(seed)
        shape = (1, draw.below(7), draw.below(7), draw.below(4))
        size = (draw.below(30), draw.below(30))
        if seed < 20:
            size = (shape[1] * draw.below(5), shape[2] * draw.below(5))
        model = bilinear(shape, size, **options)
        for values in (draw.int8(*shape), np.full(shape, -128, np.int8)):
            assert_exact(model, values, label=seed)
            assert_exact_in_c(nk, model, values)


def test_places_outside_the_image_are_refused(nk: Library) -> None:
    with pytest.raises(UnsupportedOpError, match="leaves the image"):
        lower(bilinear((1, 2, 1, 1), (3000, 1), halfPixelCenters=True))
    (op,) = lower(bilinear((1, 2, 2, 1), (4, 4), halfPixelCenters=True)).ops
    x = Draw(0).int8(1, 2, 2, 1)
    for change in ({"start_h": 1024}, {"step_w": 1000}):
        with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
            nk.run_op(dataclasses.replace(op, **change), [x], (1, 4, 4, 1))
    for change in ({"start_w": -513}, {"start_h": 2**26 + 1}, {"step_h": -1}):
        with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
            nk.run_op(dataclasses.replace(op, **change), [x], (1, 4, 4, 1))
