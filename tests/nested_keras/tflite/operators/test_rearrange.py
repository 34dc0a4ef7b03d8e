"""The operators that only copy elements, against TFLite's reference kernels, and their C kernel."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from nested_keras.runtime import UnsupportedOpError, lower
from nested_keras.tflite.model_error import ModelError
from tests.nested_keras.runtime.oracle import Draw, assert_exact, assert_exact_in_c
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library, StatusError


def model_of(
    kind: str,
    shape: tuple[int, ...],
    result: tuple[int, ...],
    *constants: Any,
    options: str | None = None,
    **fields: Any,
) -> bytes:
    """A model of one operator; constants are int32."""
    builder = ModelBuilder()
    x = builder.tensor(shape, scale=0.3, zero_point=5)
    y = builder.tensor(result, scale=0.3, zero_point=5)
    operands = [builder.constant(np.array(value, np.int32)) for value in constants]
    builder.op(kind, [x, *operands], [y], options or None, **fields)
    return builder.build([x], [y])


def samples() -> dict[str, bytes]:
    """See samples.py."""
    return {
        "DEPTH_TO_SPACE": model_of(
            "DEPTH_TO_SPACE", (1, 2, 3, 8), (1, 4, 6, 2),
            options="DepthToSpaceOptions", blockSize=2,
        ),
        "STRIDED_SLICE": model_of(
            "STRIDED_SLICE", (1, 5, 4, 3), (1, 2, 4, 2), (0, 3, 0, 1), (1, 0, 4, 3), (1, -2, 1, 1),
            options="StridedSliceOptions",
        ),
        "TRANSPOSE": model_of(
            "TRANSPOSE", (1, 3, 4, 5), (1, 5, 3, 4), (0, 3, 1, 2), options="TransposeOptions"
        ),
        "RESIZE_NEAREST_NEIGHBOR": nearest((1, 3, 2, 4), (6, 6), halfPixelCenters=True),
    }  # fmt: skip


def check(nk: Library, model: bytes, shape: tuple[int, ...]) -> None:
    values = Draw(0).int8(*shape)
    assert_exact(model, values)
    assert_exact_in_c(nk, model, values)


@pytest.mark.parametrize(
    ("shape", "begin", "size"),
    [
        ((1, 5, 6, 3), (0, 1, 2, 0), (1, 3, 3, 3)),
        ((1, 5, 6, 3), (0, 0, 5, 1), (-1, -1, -1, -1)),
        ((1, 7), (0, 3), (1, 1)),
        ((1, 1, 1, 1), (0, 0, 0, 0), (1, 1, 1, 1)),
        ((1, 4, 3, 2, 3), (0, 1, 0, 1, 0), (1, 2, 3, 1, 2)),
    ],
)
def test_slice(
    nk: Library, shape: tuple[int, ...], begin: tuple[int, ...], size: tuple[int, ...]
) -> None:
    index = tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))
    result = np.zeros(shape)[index].shape
    model = model_of("SLICE", shape, result, begin, size, options="SliceOptions")
    values = Draw(0).int8(*shape)
    np.testing.assert_array_equal(assert_exact(model, values), values[index])
    if len(shape) <= 4:
        assert_exact_in_c(nk, model, values)


def test_strided_slice(nk: Library) -> None:
    for seed in range(60):
        draw = Draw(seed)
        shape = (1, *(draw.below(7) for _ in range(draw.below(4))))
        begin, end, strides = (np.zeros(len(shape), np.int32) for _ in range(3))
        for axis, size in enumerate(shape):
            strides[axis] = 1 if axis == 0 else draw.below(4, -3) or 1
            begin[axis], end[axis] = (
                draw.below(size + 2, -size - 2),
                draw.below(size + 2, -size - 2),
            )
        begin_mask, end_mask = draw.below(16, 0) | 1, draw.below(16, 0) | 1
        shrink = 0
        for axis, size in enumerate(shape[1:], start=1):
            if draw.below(4) == 1:
                shrink |= 1 << axis
                begin[axis], strides[axis] = draw.below(size, -size), 1
                begin_mask &= ~shrink
        index = tuple(
            begin[axis]
            if shrink & 1 << axis
            else slice(
                None if begin_mask & 1 << axis else begin[axis],
                None if end_mask & 1 << axis else end[axis],
                strides[axis],
            )
            for axis in range(len(shape))
        )
        values = draw.int8(*shape)
        expected = values[index]
        if expected.size == 0:
            continue
        model = model_of(
            "STRIDED_SLICE", shape, expected.shape, begin, end, strides,
            options="StridedSliceOptions", beginMask=begin_mask, endMask=end_mask,
            shrinkAxisMask=shrink,
        )  # fmt: skip
        np.testing.assert_array_equal(assert_exact(model, values, label=seed), expected)
        assert_exact_in_c(nk, model, values)


@pytest.mark.parametrize(
    ("shape", "permutation"),
    [
        ((1, 3, 4, 5), (0, 2, 1, 3)),
        ((1, 3, 4, 5), (0, 3, 1, 2)),
        ((1, 3, 4, 5), (0, 3, 2, 1)),
        ((1, 3, 4, 5), (0, 1, 2, 3)),
        ((1, 4, 5), (0, 2, 1)),
        ((1, 2, 3, 2, 2, 3), (0, 1, 3, 2, 4, 5)),
    ],
)
def test_transpose(nk: Library, shape: tuple[int, ...], permutation: tuple[int, ...]) -> None:
    result = tuple(shape[axis] for axis in permutation)
    model = model_of("TRANSPOSE", shape, result, permutation, options="TransposeOptions")
    values = Draw(0).int8(*shape)
    expected = np.transpose(values, permutation)
    np.testing.assert_array_equal(assert_exact(model, values), expected)
    if len(shape) <= 4:
        assert_exact_in_c(nk, model, values)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_depth_to_space_and_back(nk: Library, block: int) -> None:
    image, deep = (1, 2 * block, 3 * block, 4), (1, 2, 3, 4 * block * block)
    check(
        nk,
        model_of("DEPTH_TO_SPACE", deep, image, options="DepthToSpaceOptions", blockSize=block),
        deep,
    )
    check(
        nk,
        model_of("SPACE_TO_DEPTH", image, deep, options="SpaceToDepthOptions", blockSize=block),
        image,
    )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (3, 1), (1, 4), (7, 5)])
@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (1, 1, 1, 1), (1, 5, 1, 3)])
def test_nearest(nk: Library, shape: tuple[int, ...], factors: tuple[int, int], half: bool) -> None:
    size = shape[1] * factors[0], shape[2] * factors[1]
    model = model_of(
        "RESIZE_NEAREST_NEIGHBOR", shape, (1, *size, shape[3]), size,
        options="ResizeNearestNeighborOptions", halfPixelCenters=half,
    )  # fmt: skip
    values = Draw(0).int8(*shape)
    expected = values.repeat(factors[0], axis=1).repeat(factors[1], axis=2)
    np.testing.assert_array_equal(assert_exact(model, values), expected)
    assert_exact_in_c(nk, model, values)


def nearest(shape: tuple[int, ...], size: tuple[int, int], **options: Any) -> bytes:
    return model_of(
        "RESIZE_NEAREST_NEIGHBOR", shape, (1, *size, shape[3]), size,
        options="ResizeNearestNeighborOptions", **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nearest((1, 4, 4, 1), (6, 8)), "no whole factors"),
        (nearest((1, 3, 3, 1), (9, 9), alignCorners=True), "other than nearest pixels"),
        (
            model_of("STRIDED_SLICE", (1, 4), (1, 4), (0, 0), (1, 4), (1, 1),
                     options="StridedSliceOptions", newAxisMask=2),
            "new axes",
        ),
        (
            model_of("STRIDED_SLICE", (1, 4), (1,), (0, 1), (1, 2), (1, 1),
                     options="StridedSliceOptions", beginMask=2, shrinkAxisMask=2),
            "masked and shrunk",
        ),
    ],
)  # fmt: skip
def test_what_is_not_supported(model: bytes, text: str) -> None:
    with pytest.raises(UnsupportedOpError, match=text):
        lower(model)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (model_of("SLICE", (1, 4), (1, 3), (0, 2), (1, 3), options="SliceOptions"), "do not fit"),
        (model_of("SLICE", (1, 4), (1, 4), (0,), (1,), options="SliceOptions"), "one per axis"),
        (
            model_of("STRIDED_SLICE", (1, 4), (1, 4), (0, 0), (1, 4), (1, 0),
                     options="StridedSliceOptions"),
            "must not be 0",
        ),
        (
            model_of("STRIDED_SLICE", (1, 4), (1,), (0, 4), (1, 4), (1, 1),
                     options="StridedSliceOptions", shrinkAxisMask=2),
            "does not fit",
        ),
        (
            model_of("STRIDED_SLICE", (1, 4), (1, 3), (0, 0), (1, 4), (1, 1),
                     options="StridedSliceOptions"),
            "must have the shape",
        ),
        (
            model_of("TRANSPOSE", (1, 4, 3), (1, 3, 4), (0, 2, 2), options="TransposeOptions"),
            "permutation",
        ),
        (
            model_of("DEPTH_TO_SPACE", (1, 2, 2, 6), (1, 4, 4, 1), options="DepthToSpaceOptions",
                     blockSize=2),
            "blocks of 2 x 2",
        ),
        (
            model_of("SPACE_TO_DEPTH", (1, 3, 2, 1), (1, 1, 1, 6), options="SpaceToDepthOptions",
                     blockSize=2),
            "blocks of 2 x 2",
        ),
    ],
)  # fmt: skip
def test_damaged_operators_are_refused(model: bytes, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        lower(model)


def test_the_c_kernel_refuses_places_outside_the_input(nk: Library) -> None:
    program = lower(
        model_of("TRANSPOSE", (1, 3, 4), (1, 4, 3), (0, 2, 1), options="TransposeOptions")
    )
    (op,) = program.ops
    x = Draw(0).int8(1, 3, 4)
    for change in (
        {"offset": -1},
        {"offset": 1},
        {"sizes": (1, 1, 1, 1, 5, 3)},
        {"sizes": (1, 1, 1, 1, 12, 0)},
        {"strides": (0, 0, 0, 0, 1, -4)},
        {"strides": (0, 0, 0, 0, 2**31 - 1, 4)},
    ):
        with pytest.raises(StatusError, match="NK_ERROR_SHAPE"):
            nk.run_op(dataclasses.replace(op, **change), [x], (1, 4, 3))
