"""The operators that copy each output element from one place of the input.

SLICE, STRIDED_SLICE, TRANSPOSE, DEPTH_TO_SPACE, SPACE_TO_DEPTH and RESIZE_NEAREST_NEIGHBOR by whole
factors are one operator. Each is a view of the input that NumPy can form (by an index, a
transposition or a broadcast). Sizes, strides and the place of the first element describe a view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import stride_tricks

from nested_keras.tflite.operator_reader import OperatorReader
from nested_keras.tflite.operators.registration import (
    Array,
    CArgument,
    CCall,
    Registration,
    Shape,
    elements,
)
from nested_keras.tflite.program import Op, Tensor

MAX_AXES = 6
"""Axes of a view that the C kernel walks; neighbours that one stride covers count as one."""


@dataclass(frozen=True, eq=False)
class Rearrange(Op):
    """A copy of a view of the input: element i of the output is input[offset + sum i_a stride_a].

    Attributes:
        sizes: Number of elements along each of the six axes of the view, the last the fastest.
        strides: Steps in the input along each axis, in elements. A zero repeats an element, a
            negative stride reverses the axis.
        offset: Place of the first element in the input.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def _rearrange(reader: OperatorReader, x: Tensor, y: Tensor, source: Array, view: Array) -> Any:
    """Makes the operator of a view of `source`, an array in the place of the input."""
    reader.require_same_scale(x, y)
    if view.size == 0 or view.size != y.size:
        raise reader.error(f"{view.size} elements do not fill the output {list(y.shape)}")
    axes: list[tuple[int, int]] = []
    for size, stride in zip(view.shape, view.strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * stride:
            axes[-1] = axes[-1][0] * size, stride
        else:
            axes.append((size, stride))
    if len(axes) > MAX_AXES:
        raise reader.unsupported(f"a view of {len(axes)} axes (at most {MAX_AXES})")
    axes = [(1, 0)] * (MAX_AXES - len(axes)) + axes
    place = view.__array_interface__["data"][0] - source.__array_interface__["data"][0]
    sizes, strides = zip(*axes, strict=True)
    return Rearrange(**reader.base(0), sizes=sizes, strides=strides, offset=place)


def _input(reader: OperatorReader, operands: int, rank: int | None = None) -> Any:
    """The input, the output, and an array in the place of the input that takes no memory."""
    reader.require_operands(operands)
    x, y = reader.activation(0, rank=rank), reader.result(rank=rank)
    strides = [math.prod(x.shape[axis + 1 :]) for axis in range(len(x.shape))]
    return x, y, stride_tricks.as_strided(np.zeros(1, np.int8), x.shape, strides, writeable=False)


def _read_slice(reader: OperatorReader) -> Rearrange:
    x, y, source = _input(reader, 3)
    begin, sizes = (
        [int(value) for value in reader.constant(position, "int32", "int64").ravel()]
        for position in (1, 2)
    )
    _require_ranks(reader, x, begin, sizes)
    index = []
    for size, first, count in zip(x.shape, begin, sizes, strict=True):
        last = size if count == -1 else first + count
        if not 0 <= first < last <= size:
            raise reader.error(f"begin {begin} and size {sizes} do not fit {list(x.shape)}")
        index.append(slice(first, last))
    view = source[tuple(index)]
    reader.require_shape(y, view.shape)
    return _rearrange(reader, x, y, source, view)


def _read_strided_slice(reader: OperatorReader) -> Rearrange:
    options = reader.options("StridedSliceOptions")
    x, y, source = _input(reader, 4)
    if options.ellipsisMask or options.newAxisMask or options.offset:
        raise reader.unsupported("ellipsis, new axes and offsets")
    if options.shrinkAxisMask & options.beginMask:  # runtimes disagree which mask comes first
        raise reader.unsupported("an axis that is masked and shrunk")
    begin, end, strides = (
        [int(value) for value in reader.constant(position, "int32", "int64").ravel()]
        for position in (1, 2, 3)
    )
    _require_ranks(reader, x, begin, end, strides)
    index, kept = [], []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if step == 0:
            raise reader.error(f"strides must not be 0: got {strides}")
        if options.shrinkAxisMask & bit:
            if not -x.shape[axis] <= first < x.shape[axis]:
                raise reader.error(f"begin {begin} does not fit {list(x.shape)}")
            place = first % x.shape[axis]
            index.append(slice(place, place + 1))
        else:
            whole = options.beginMask & bit, options.endMask & bit
            index.append(slice(None if whole[0] else first, None if whole[1] else last, step))
            kept.append(axis)
    view = source[tuple(index)]
    reader.require_shape(y, tuple(view.shape[axis] for axis in kept))
    return _rearrange(reader, x, y, source, view)


def _require_ranks(reader: OperatorReader, x: Tensor, *lists: list[int]) -> None:
    for values in lists:
        if len(values) != len(x.shape):
            raise reader.error(f"expected {len(x.shape)} numbers, one per axis: got {values}")


def _read_transpose(reader: OperatorReader) -> Rearrange:
    x, y, source = _input(reader, 2)
    permutation = [int(axis) for axis in reader.constant(1, "int32", "int64").ravel()]
    if sorted(permutation) != list(range(len(x.shape))):
        raise reader.error(f"expected a permutation of {len(x.shape)} axes: got {permutation}")
    view = source.transpose(permutation)
    reader.require_shape(y, view.shape)
    return _rearrange(reader, x, y, source, view)


def _read_depth_to_space(reader: OperatorReader) -> Rearrange:
    """Channel (a * block + b) * C + c of a pixel goes to row a and column b of its block."""
    block = reader.options("DepthToSpaceOptions").blockSize
    x, y, source = _input(reader, 1, rank=4)
    batch, height, width, depth = x.shape
    if block < 1 or depth % block**2:
        raise reader.error(f"{depth} channels do not make blocks of {block} x {block} pixels")
    channels = depth // block**2
    reader.require_shape(y, (batch, height * block, width * block, channels))
    view = source.reshape(batch, height, width, block, block, channels)
    return _rearrange(reader, x, y, source, view.transpose(0, 1, 3, 2, 4, 5))


def _read_space_to_depth(reader: OperatorReader) -> Rearrange:
    """The reverse of `_read_depth_to_space`."""
    block = reader.options("SpaceToDepthOptions").blockSize
    x, y, source = _input(reader, 1, rank=4)
    batch, height, width, channels = x.shape
    if block < 1 or height % block or width % block:
        raise reader.error(f"{height}x{width} pixels do not make blocks of {block} x {block}")
    height, width = height // block, width // block
    reader.require_shape(y, (batch, height, width, block * block * channels))
    view = source.reshape(batch, height, block, width, block, channels)
    return _rearrange(reader, x, y, source, view.transpose(0, 1, 3, 2, 4, 5))


def _read_nearest(reader: OperatorReader) -> Rearrange:
    options = reader.options("ResizeNearestNeighborOptions")
    x, y, source = _input(reader, 2, rank=4)
    (batch, height, width, channels), (up, across) = x.shape, y.shape[1:3]
    reader.require_shape(y, (batch, *reader.constant(1, "int32").ravel().tolist(), channels))
    if up % height or across % width:
        raise reader.unsupported(f"{height}x{width} pixels to {up}x{across}: no whole factors")
    for before, after in ((height, up), (width, across)):
        nearest = _nearest(before, after, options)
        if not np.array_equal(nearest, np.arange(after) // (after // before)):
            raise reader.unsupported(f"{before} pixels to {after} with other than nearest pixels")
    shape = (batch, height, up // height, width, across // width, channels)
    view = np.broadcast_to(source[:, :, np.newaxis, :, np.newaxis, :], shape)
    return _rearrange(reader, x, y, source, view)


def _nearest(before: int, after: int, options: Any) -> Array:
    """The pixel that TFLite takes for each output along one axis, in its float32 arithmetic."""
    corners = options.alignCorners and after > 1
    scale = np.float32(before - corners) / np.float32(after - corners)
    half = np.float32(0.5 if options.halfPixelCenters else 0.0)
    place = (np.arange(after, dtype=np.float32) + half) * scale
    # std::round; places are not negative.
    whole = np.floor(place + np.float32(0.5)) if options.alignCorners else np.floor(place)
    return np.minimum(whole.astype(np.int64), before - 1)


def _run(op: Rearrange, inputs: Sequence[Array], output_shape: Shape, level: int) -> Array:
    # The operator is made for one sample; for a batch, each sample has its own view.
    samples = math.prod(output_shape) // math.prod(op.sizes)
    flat = np.ascontiguousarray(inputs[0]).reshape(samples, -1)
    return stride_tricks.as_strided(
        flat[:, op.offset :],
        (samples, *op.sizes),
        (flat.strides[0], *op.strides),
        writeable=False,
    ).copy()


def _output_elements(op: Rearrange, shape: Shape) -> int:
    return math.prod(op.sizes)


OPERATORS = (
    Registration(
        Rearrange,
        readers={
            "DEPTH_TO_SPACE": _read_depth_to_space,
            "RESIZE_NEAREST_NEIGHBOR": _read_nearest,
            "SLICE": _read_slice,
            "SPACE_TO_DEPTH": _read_space_to_depth,
            "STRIDED_SLICE": _read_strided_slice,
            "TRANSPOSE": _read_transpose,
        },
        run=_run,
        c_call=CCall(
            "nk_rearrange_s8", (elements, CArgument.INPUT, _output_elements, CArgument.OUTPUT)
        ),
    ),
)
