"""Layers for operators that move, cut or sum up the axes of tensors."""

from __future__ import annotations

import math
import sys
from typing import Any

import keras
import numpy as np

from nested_keras.nesting import supported
from nested_keras.nesting.arithmetic import identity, merged, rescale
from nested_keras.nesting.graph_call import Compute, Entry, GraphCall, RefusedError
from nested_keras.nesting.shape_layers import PadAxes, Slice
from nested_keras.typing import KerasLayer, KerasTensor

L = keras.layers


def _softmax(call: GraphCall) -> Compute:
    _require_axis(call, [len(call.shape) - 1], "the last one")
    return call.layer(L.Softmax)


def _require_axis(call: GraphCall, wanted: list[int], words: str) -> None:
    axis = call.operation.axis
    if not isinstance(axis, int | np.integer) or axis % len(call.shape) not in wanted:
        raise RefusedError(f"must have another axis, {words}: got {axis}")


def _concatenate(call: GraphCall) -> Compute:
    (operands,) = call.arguments.values()
    if len(call.tensors) != len(operands):
        raise RefusedError("must have outputs of layers alone as operands")
    _require_axis(call, list(range(1, len(call.shape))), "not the axis of the batch")
    return merged(call, L.Concatenate, axis=call.operation.axis)


def _stack(call: GraphCall) -> Compute:
    rank = len(call.output.shape)
    axis = call.operation.axis % rank
    (operands,) = call.arguments.values()
    if axis == 0 or len(call.tensors) != len(operands):
        raise RefusedError(
            "must have outputs of layers alone as operands, and not make a batch axis"
        )
    shape = (*call.shape[:axis], 1, *call.shape[axis:])
    expanded = keras.KerasTensor(shape, call.output.dtype)
    expand = call.shape_of(expanded, "_expand")
    join = call.layer(L.Concatenate, axis=axis)
    if text := supported.call_refusal(join, join.name, ([expanded],), {}):
        raise RefusedError(f"is not supported, because {text}")
    return lambda *tensors: join([expand(each) for each in tensors])


def _tile(call: GraphCall) -> Compute:
    repeats = tuple(np.atleast_1d(call.operation.repeats).tolist())
    counts = (*(1,) * (len(call.shape) - len(repeats)), *repeats)
    if len(counts) != len(call.shape) or counts[0] != 1:
        raise RefusedError(f"must leave the batch and the number of axes as they are: got {counts}")
    axes = [axis for axis, count in enumerate(counts) if count != 1]
    if not axes:
        return identity(call)
    joins = [
        (
            counts[axis],
            merged(call, L.Concatenate, "" if axis == axes[-1] else f"_axis_{axis}", axis=axis),
        )
        for axis in axes
    ]

    def compute(x: KerasTensor) -> Any:
        for count, join in joins:
            x = join(*[x] * count)
        return x

    return compute


def _reshape(call: GraphCall) -> Compute:
    before, after = call.shape, tuple(call.output.shape)
    sizes = [math.prod(size or 1 for size in shape[1:]) for shape in (before, after)]
    # With two open sizes, elements could move from one open axis to the other.
    open_sizes = {shape[1:].count(None) for shape in (before, after)}
    if before[0] != after[0] or len(set(sizes)) > 1 or open_sizes not in ({0}, {1}):
        raise RefusedError(f"must keep the batch apart: got {before} to {after}")
    return call.shape_of(call.output)


def _permute(call: GraphCall) -> Compute:
    """Transpose, swapaxes, moveaxis: NumPy says where the axes go."""
    operation, kind = call.operation, type(call.operation).__name__
    sizes = np.empty(range(1, len(call.shape) + 1), np.int8)
    moved = {
        "Transpose": lambda: np.transpose(sizes, operation.axes),
        "Swapaxes": lambda: np.swapaxes(sizes, operation.axis1, operation.axis2),
        "Moveaxis": lambda: np.moveaxis(sizes, operation.source, operation.destination),
    }[kind]()
    batch, *axes = (size - 1 for size in moved.shape)
    if batch != 0:
        raise RefusedError("must leave the axis of the batch the first one")
    return call.layer(L.Permute, dims=axes)


def _pad(call: GraphCall) -> Compute:
    operation, rank = call.operation, len(call.shape)
    value = call.arguments.get("constant_values")
    if operation.mode != "constant" or value:
        raise RefusedError(f"must pad with zeros: got mode={operation.mode!r}, value={value}")
    paddings = np.asarray(operation.pad_width)
    if paddings.shape != (rank, 2) or paddings[0].any() or (paddings < 0).any():
        raise RefusedError(
            f"must have {rank} pairs of sizes, zeros for the batch: got {operation.pad_width}"
        )
    _, *rest = paddings.tolist()
    if rank == 4 and rest[-1] == [0, 0]:
        return call.layer(L.ZeroPadding2D, padding=rest[:-1], data_format="channels_last")
    return call.layer(PadAxes, paddings=rest)


def _get_item(call: GraphCall) -> Compute:
    rank, key = len(call.shape), call.arguments["key"]
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    place = parts.index(Ellipsis)
    taken = sum(part is not None for part in parts) - 1
    parts[place : place + 1] = [slice(None)] * (rank - taken)
    bounds = []
    for part in (part for part in parts if part is not None):
        if isinstance(part, int | np.integer):
            part = slice(int(part), int(part) + 1 or None)
        if not isinstance(part, slice) or any(
            not isinstance(each, int | None) for each in (part.start, part.stop, part.step)
        ):
            raise RefusedError(
                f"must have numbers and slices as its key: got {type(part).__name__}"
            )
        bounds.append([part.start, part.stop, part.step])
    first, *rest = bounds
    batch = call.shape[0] or sys.maxsize
    if parts[0] is None or slice(*first).indices(batch) != (0, batch, 1):
        raise RefusedError(f"must leave the axis of the batch whole: got {key}")
    output = call.output
    reshapes = any(not isinstance(part, slice) for part in parts)
    whole = all(each in ([None, None, None], [None, None, 1]) for each in rest)
    cut = None if whole else call.layer(Slice, "_slice" if reshapes else "", bounds=rest)
    shape = call.shape_of(output) if reshapes else None
    if cut is None and shape is None:
        return identity(call)
    return _in_a_row(cut, shape)


def _split(call: GraphCall) -> Compute:
    _require_axis(call, list(range(1, len(call.shape))), "not the axis of the batch")
    axis = call.operation.axis % len(call.shape)
    sizes = [output.shape[axis] for output in call.outputs]
    if None in sizes:
        raise RefusedError("must cut an axis whose size is known")
    ends = np.cumsum(sizes).tolist()
    bounds = [[end - size, end, 1] for size, end in zip(sizes, ends, strict=True)]
    whole = [[None, None, None]] * (len(call.shape) - 1)
    cuts = [
        call.layer(
            Slice,
            "" if index == len(bounds) - 1 else f"_{index}",
            bounds=[*whole[: axis - 1], each, *whole[axis:]],
        )
        for index, each in enumerate(bounds)
    ]
    return lambda x: [cut(x) for cut in cuts]


def _reduce(over_image: type[Any], over_window: type[Any], over_series: type[Any]) -> Entry:
    """The mean or the maximum over neighbouring axes."""
    return lambda call: _over(call, "", over_image, over_window, over_series)


def _over(
    call: GraphCall,
    part: str,
    over_image: type[Any],
    over_window: type[Any],
    over_series: type[Any],
) -> Compute:
    operation, rank = call.operation, len(call.shape)
    if getattr(operation, "initial", None) is not None:
        raise RefusedError(f"must have no initial value: got {operation.initial}")
    axes = _axes(call)
    keepdims = {"keepdims": operation.keepdims, "data_format": "channels_last"}
    if rank == 4 and axes == [1, 2]:
        return call.layer(over_image, part, **keepdims)
    if rank == 3 and axes == [1]:
        return call.layer(over_series, part, **keepdims)
    sizes = _known_sizes(call, axes)
    if rank == 4 and axes in ([1], [2]):
        window = tuple(size if axis in axes else 1 for axis, size in enumerate(sizes, 1))[:2]
        given: dict[str, Any] = {"pool_size": window, "strides": 1, "data_format": "channels_last"}
        if operation.keepdims:
            return call.layer(over_window, part, **given)
        return _in_a_row(
            call.layer(over_window, f"{part}_pool", **given), call.shape_of(call.output, part)
        )
    # The axes become the steps of a series, and all other values the channels.
    before, over, after = (
        math.prod(sizes[start:end])
        for start, end in ((0, axes[0] - 1), (axes[0] - 1, axes[-1]), (axes[-1], None))
    )
    moves = []
    if before > 1:
        shape = [before, over, after]
        moves.append(call.layer(L.Reshape, f"{part}_axes", target_shape=shape))
        moves.append(call.layer(L.Permute, f"{part}_move", dims=(2, 1, 3)))
    shape = [over, before * after]
    return _in_a_row(
        *moves,
        call.layer(L.Reshape, f"{part}_series", target_shape=shape),
        call.layer(over_series, f"{part}_reduce", data_format="channels_last"),
        call.shape_of(call.output, part),
    )


def _axes(call: GraphCall) -> list[int]:
    """The axes that an operator reduces, in order; none where it reduces all."""
    axes, rank = call.operation.axis, len(call.shape)
    given = axes if isinstance(axes, tuple | list) else [] if axes is None else [axes]
    return sorted({axis % rank for axis in given})


def _known_sizes(call: GraphCall, axes: list[int]) -> list[int]:
    """Returns the sizes of all axes behind the batch; refuses axes that are not neighbours."""
    sizes = [size for size in call.shape[1:] if size is not None]
    neighbours = axes and axes == list(range(axes[0], axes[-1] + 1))
    if not neighbours or 0 in axes or len(sizes) < len(call.shape) - 1:
        raise RefusedError(
            "must go over neighbouring axes behind the batch, whose sizes are known: got axis "
            f"{call.operation.axis} of shape {call.shape}"
        )
    return sizes


def _in_a_row(*layers: KerasLayer) -> Compute:
    """Returns the layers one after another; None stands for no layer."""

    def compute(x: KerasTensor) -> Any:
        for layer in layers:
            x = x if layer is None else layer(x)
        return x

    return compute


def _least(call: GraphCall) -> Compute:
    """The minimum, as the maximum of the negative."""
    minus = rescale(call, -1.0, part="_minus")
    largest = _over(call, "_max", *_MAXIMUM)
    least = rescale(call, -1.0)
    return lambda x: least(largest(minus(x)))


def _sum(call: GraphCall) -> Compute:
    axes = _axes(call)
    sizes = _known_sizes(call, axes)
    mean = _over(call, "_mean", *_MEAN)
    scale = rescale(call, float(math.prod(sizes[axes[0] - 1 : axes[-1]])))
    return lambda x: scale(mean(x))


def _pool(over_images: type[Any], over_series: type[Any]) -> Entry:
    """`keras.ops.max_pool` and `average_pool`."""

    def entry(call: GraphCall) -> Compute:
        operation = call.operation
        kind = {4: over_images, 3: over_series}.get(len(call.shape))
        if kind is None:
            raise RefusedError(f"must pool 3 or 4 dimensions: got {len(call.shape)}")
        names = ("pool_size", "strides", "padding", "data_format")
        return call.layer(kind, **{name: getattr(operation, name) for name in names})

    return entry


def _flip(call: GraphCall) -> Compute:
    rank = len(call.shape)
    axis = call.operation.axis
    axes = {each % rank for each in (axis if isinstance(axis, tuple | list) else [axis or 0])}
    if 0 in axes:
        raise RefusedError(f"must have another axis, not the axis of the batch: got {axis}")
    bounds = [[None, None, -1 if each in axes else None] for each in range(1, rank)]
    return call.layer(Slice, bounds=bounds)


def _resize(call: GraphCall) -> Compute:
    """`keras.ops.image.resize` by whole factors."""
    operation, (_, *sizes, _) = call.operation, call.shape
    wanted = tuple(operation.size)
    changed = [
        name
        for name in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
        if getattr(operation, name)
    ]
    if len(sizes) != 2 or None in sizes or changed:
        raise RefusedError(f"must resize images of known sizes alone: got {call.shape}, {changed}")
    factors = [new / (old or 1) for new, old in zip(wanted, sizes, strict=True)]
    if any(factor != int(factor) for factor in factors):
        raise RefusedError(f"must resize by whole factors: got {tuple(sizes)} to {wanted}")
    layer = call.layer(
        L.UpSampling2D,
        size=[int(factor) for factor in factors],
        interpolation=operation.interpolation,
        data_format="channels_last",
    )
    if text := supported.call_refusal(layer, layer.name, call.tensors, {}):
        raise RefusedError(f"is not supported, because {text}")
    return layer


def _blocks(call: GraphCall) -> Compute:
    """Depth to space, or space to depth: rows and columns of blocks change places."""
    block, (_, height, width, channels) = call.operation.block_size, call.shape
    if height is None or width is None or call.operation.data_format == "channels_first":
        raise RefusedError(f"must have images of known sizes, channels last: got {call.shape}")
    parts: tuple[int | None, ...]
    if type(call.operation).__name__ == "DepthToSpace":
        parts = (height, width, block, block, -1)
    else:
        parts = (height // block, block, width // block, block, channels)
    apart = call.layer(L.Reshape, "_blocks", target_shape=parts)
    dims = (1, 3, 2, 4, 5)
    move = call.layer(L.Permute, "_move", dims=dims)
    join = call.shape_of(call.output)
    return lambda x: join(move(apart(x)))


_MEAN = (L.GlobalAveragePooling2D, L.AveragePooling2D, L.GlobalAveragePooling1D)
_MAXIMUM = (L.GlobalMaxPooling2D, L.MaxPooling2D, L.GlobalMaxPooling1D)

OPERATORS: dict[str, Entry] = {
    "Softmax": _softmax,
    "Concatenate": _concatenate,
    "Stack": _stack,
    "Tile": _tile,
    **dict.fromkeys(("ExpandDims", "Reshape", "Squeeze"), _reshape),
    **dict.fromkeys(("Moveaxis", "Swapaxes", "Transpose"), _permute),
    "Pad": _pad,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _blocks),
    "Resize": _resize,
    "Flip": _flip,
    "GetItem": _get_item,
    "Split": _split,
    "Mean": _reduce(*_MEAN),
    **dict.fromkeys(("Amax", "Max"), _reduce(*_MAXIMUM)),
    **dict.fromkeys(("Amin", "Min"), _least),
    "Sum": _sum,
    "MaxPool": _pool(L.MaxPooling2D, L.MaxPooling1D),
    "AveragePool": _pool(L.AveragePooling2D, L.AveragePooling1D),
}
