"""RESIZE_BILINEAR. Resizing to the nearest pixel by whole factors is a `Rearrange`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import Array, CArgument, CCall, Registration, Shape
from nested_keras.tflite.program import Op
from nested_keras.typing import Int8Array

_ONE = 1 << 10
"""A pixel in TFLite's fixed point."""


@dataclass(frozen=True, eq=False)
class ResizeBilinear(Op):
    """Bilinear interpolation in 1/1024 pixels: output pixel i reads the place start + i step."""

    step_h: int
    step_w: int
    start_h: int
    start_w: int


def _read_resize_bilinear(reader: OperatorReader) -> ResizeBilinear:
    reader.require_operands(2)
    options = reader.options("ResizeBilinearOptions")
    x, y = reader.activation(0, rank=4), reader.result(rank=4)
    reader.require_same_scale(x, y)
    batch, height, width, channels = x.shape
    reader.require_shape(y, (batch, *reader.constant(1, "int32").ravel().tolist(), channels))
    corners, centers = options.alignCorners, options.halfPixelCenters
    step_h, start_h = _places(height, y.shape[1], corners=corners, centers=centers)
    step_w, start_w = _places(width, y.shape[2], corners=corners, centers=centers)
    for before, after, step, start in (
        (height, y.shape[1], step_h, start_h),
        (width, y.shape[2], step_w, start_w),
    ):
        if _leaves(before, after, step, start):
            raise reader.unsupported(
                f"{before} pixels to {after}: TFLite's rounding leaves the image"
            )
    return ResizeBilinear(
        **reader.base(0), step_h=step_h, step_w=step_w, start_h=start_h, start_w=start_w
    )


def leaves_the_image(before: int, after: int) -> bool:
    """Returns whether resizing by the centres of pixels reads places outside of the image.

    TFLite rounds the step between two places. TFLite and TFLite Micro do not check the last place.

    Args:
        before: Pixels of the input along one axis.
        after: Pixels of the output along it.
    """
    return _leaves(before, after, *_places(before, after, corners=False, centers=True))


def _leaves(before: int, after: int, step: int, start: int) -> bool:
    return start + (after - 1) * step >= before * _ONE


def _places(before: int, after: int, *, corners: bool, centers: bool) -> tuple[int, int]:
    """Returns the step and the start along one axis, as TFLite rounds them."""
    fewer = int(corners and after > 1)
    before, after = before - fewer, after - fewer
    step = (_ONE * before + after // 2) // after
    return step, step // 2 - _ONE // 2 if centers else 0


def _run_resize_bilinear(
    op: ResizeBilinear, inputs: Sequence[Array], output_shape: Shape, level: int
) -> Int8Array:
    (x,) = inputs
    rows = _neighbours(x.shape[1], output_shape[1], op.step_h, op.start_h)
    columns = _neighbours(x.shape[2], output_shape[2], op.step_w, op.start_w)
    total = np.zeros(output_shape, np.int64)
    for row, row_weight in rows:
        for column, column_weight in columns:
            weight = row_weight[:, np.newaxis, np.newaxis] * column_weight[:, np.newaxis]
            total += x[:, row][:, :, column] * weight
    # Rounded to the nearest integer, halves away from zero.
    rounded = np.sign(total) * ((np.abs(total) + _ONE * _ONE // 2) // (_ONE * _ONE))
    return rounded.astype(np.int8)


def _neighbours(before: int, after: int, step: int, start: int) -> list[tuple[Array, Array]]:
    """The two pixels that each output pixel reads along one axis, each with its weight."""
    place = start + np.arange(after, dtype=np.int64) * step
    # TFLite truncates towards zero and clamps to zero, because the place may be negative; a limit
    # of zero before the division does both.
    lower = np.maximum(place, 0) // _ONE
    upper = np.minimum(np.maximum(place + _ONE - 1, 0) // _ONE, before - 1)
    return [(lower, _ONE - (place - lower * _ONE)), (upper, place - lower * _ONE)]


OPERATORS = (
    Registration(
        ResizeBilinear,
        readers={"RESIZE_BILINEAR": _read_resize_bilinear},
        run=_run_resize_bilinear,
        c_call=CCall(
            "nk_resize_bilinear_s8", (CArgument.INPUTS, CArgument.OUTPUT_DIMS, CArgument.OUTPUT)
        ),
    ),
)
