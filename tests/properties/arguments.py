"""Random arguments of the layers in the table, and operators between layers."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nested_keras.nesting import supported
from nested_keras.nesting.numeric_functions import GELU_TANH
from tests.nested_keras.nesting import layer_variants

L = keras.layers
Shape = tuple[int, ...]
OTHER_FUNCTIONS = ("tf.nn.relu6", "keras.ops.tanh", "tf.nn.silu", "keras.ops.gelu", "tf.nn.gelu")
LAYER_FUNCTIONS = ("L.LeakyReLU(0.3)", "L.ReLU(6.0)", "L.ReLU(negative_slope=0.1)")
# Operators between layers, on tensors of any rank. `height` and `width` are multiples of those of
# x, `size` is the number of its values. A function that grows without bounds has its steep part
# left out, where one step of int8 means any number.
OPERATORS: tuple[str, ...] = (
    "{x} + 3.0",
    "1.5 - {x}",
    "0.5 * {x}",
    "{x} / 6.0",
    "{x} + keras.ops.reshape(keras.ops.linspace(-1.0, 2.0, {size}), {x}.shape[1:])",
    "{x} / keras.ops.linspace(1.0, 2.0, {x}.shape[1])[(..., *[None] * (len({x}.shape) - 2))]",
    "-{x}",
    "keras.ops.power({x}, 1)",
    "keras.ops.sqrt(keras.ops.relu({x}))",
    "(keras.ops.relu6({x}) + 0.1) ** 0.5",
    "keras.ops.rsqrt(keras.ops.relu({x}) + 0.2)",
    "(0.5 + keras.ops.sigmoid({x})) ** -0.5",
    "keras.ops.log(keras.ops.relu({x}) + 0.2)",
    "keras.ops.log2(keras.ops.softplus({x}) + 0.1)",
    "keras.ops.log10(1.5 - keras.ops.tanh({x}))",
    "keras.ops.log1p(keras.ops.relu({x}))",
    "keras.ops.expm1(keras.ops.minimum({x}, 0.5))",
    "keras.ops.exp(keras.ops.clip({x}, -3, 1))",
    "keras.ops.reciprocal(keras.ops.relu({x}) + 0.3)",
    "(keras.ops.softplus({x}) + 0.2) ** -1",
    "0.5 / (keras.ops.exp(keras.ops.tanh({x})) + 1.0)",
    "keras.ops.maximum({x}, keras.ops.linspace(-0.5, 0.5, {x}.shape[-1]))",
    "keras.ops.minimum(keras.ops.reshape(keras.ops.linspace(-1, 1, {size}), {x}.shape[1:]), {x})",
    "keras.ops.maximum({x}, 0.0)",
    "keras.ops.minimum({x}, -0.2)",
    "keras.ops.clip({x}, 0, 6)",
    "keras.ops.clip({x}, -0.5, 0.7)",
    "keras.ops.relu({x})",
    "keras.ops.relu6(2.0 * {x})",
    "keras.ops.leaky_relu({x})",
    "keras.ops.sigmoid({x})",
    "keras.ops.silu({x})",
    "keras.ops.log_sigmoid({x})",
    "keras.ops.celu({x})",
    "keras.ops.squareplus({x})",
    "keras.ops.hard_tanh({x})",
    "keras.ops.soft_shrink({x})",
    "keras.ops.sparse_plus({x})",
    "keras.ops.sin({x})",
    "keras.ops.arctan({x})",
    "keras.ops.softmax({x})",
    "keras.ops.gelu({x})",
    "{x}[:, 1:]",
    "{x}[..., :2]",
    "{x}[:, ::-1]",
    "{x}[:, :, None]",
    "keras.ops.expand_dims({x}, 1)",
    "keras.ops.flip({x}, 1)",
)
# Those that join tensors: TFLite has no sums and concatenations of more axes.
JOINS: tuple[str, ...] = (
    "{x} + {y}",
    "{x} - {y}",
    "{x} * {y}",
    "abs({x})",
    "{x}**2",
    "{x} ** 3",
    "keras.ops.square({x})",
    "{x} / (keras.ops.relu({y}) + 0.5)",
    "keras.ops.divide({x}, keras.ops.sigmoid({y}) + 0.5)",
    "keras.ops.tile({x}, (1, 2, *(1,) * (len({x}.shape) - 2)))",
    "keras.ops.tile({x}, 2)",
    "keras.ops.maximum({x}, {y})",
    "keras.ops.concatenate([{x}, {y}], -1)",
    "keras.ops.concatenate(({y}, {x}, {y}), axis=1)",
)
SERIES_OPERATORS: tuple[str, ...] = (
    "{x}[:, -1]",
    "{x}[:, ::2, 1:]",
    "keras.ops.stack([{x}, {y}], 1)",
    "keras.ops.stack([{y}, {x}, {x}], -1)",
    "keras.ops.tile({x}, (1, 2, 3))",
    "keras.ops.mean({x}, 1)",
    "keras.ops.max({x}, 1, keepdims=True)",
    "keras.ops.transpose({x}, (0, 2, 1))",
    "keras.ops.pad({x}, ((0, 0), (1, 2), (0, 1)))",
)
IMAGE_OPERATORS: tuple[str, ...] = (
    "{x}[:, ::2, 1:-1:3]",
    "{x}[:, 0]",
    "{x}[:, -1, 1:3, 1]",
    "keras.ops.split({x}, 2, axis=-1)[1]",
    "keras.ops.tile({x}, (1, 2, 1, 2))",
    "keras.ops.mean({x}, axis=(1, 2))",
    "keras.ops.mean({x}, -1, keepdims=True)",
    "keras.ops.max({x}, -1)",
    "keras.ops.sum({x}, (2, 3))",
    "keras.ops.mean({x}, 2, keepdims=True)",
    "keras.ops.max({x}, (1, 2))",
    "keras.ops.sum({x}, (1, 2), keepdims=True)",
    "keras.ops.max_pool({x}, 3, 1, 'same')",
    "keras.ops.average_pool({x}, (2, 3), 2, 'valid')",
    "keras.ops.transpose({x}, (0, 3, 1, 2))",
    "keras.ops.swapaxes({x}, 1, 3)",
    "keras.ops.image.resize({x}, ({height}, {width}))",
    "keras.ops.image.resize({x}, ({height}, {width}), 'nearest')",
    "keras.ops.pad({x}, ((0, 0), (1, 2), (0, 1), (0, 0)))",
)


class Code(str):
    """A value that is written into a line as it stands."""


def source(value: Any) -> str:
    """Returns the code of an argument."""
    if isinstance(value, Code):
        return value
    if isinstance(value, keras.layers.Layer):
        return _layer_source(value)
    if callable(value):
        places = {"keras.activations": keras.activations, "keras.ops": keras.ops, "tf.nn": tf.nn}
        name = value.__name__
        if value is GELU_TANH:
            return "keras.ops.gelu"
        return next(f"{at}.{name}" for at, of in places.items() if getattr(of, name, None) is value)
    return repr(value)


def _layer_source(layer: Any) -> str:
    """Returns code that makes a layer without weights, or a Dense, again."""
    config = layer.get_config()
    given = {
        key: config[key]
        for key, parameter in inspect.signature(type(layer).__init__).parameters.items()
        if key in config
        and isinstance(config[key], int | float | str | list | tuple)
        and config[key] != parameter.default
    }
    texts = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return f"L.{type(layer).__name__}({texts})"


def operators(rank: int) -> tuple[str, ...]:
    """Returns the operators that take tensors of so many axes beside the batch."""
    joins = JOINS if rank <= 3 else ()
    return (*OPERATORS, *joins, *{2: SERIES_OPERATORS, 3: IMAGE_OPERATORS}.get(rank, ()))


def of(kind: type, draw: random.Random, shapes: Sequence[Shape]) -> dict[str, Any]:
    """Draws arguments of a layer.

    Args:
        kind: The class of the layer.
        draw: The source of the draws.
        shapes: Shapes of the tensors that the layer reads, without the batch.
    """
    if kind not in _DRAWS or (kind not in (L.Concatenate, L.Rescaling) and draw.random() < 0.2):
        return dict(draw.choice(layer_variants.of(kind)))
    return _DRAWS[kind](draw, shapes[0])


def _activation(draw: random.Random) -> Any:
    """Draws an activation; None most often."""
    return draw.choices(
        (
            None,
            draw.choice(tuple(supported.ACTIVATIONS.values())),
            Code(draw.choice(OTHER_FUNCTIONS)),
            Code(draw.choice(LAYER_FUNCTIONS)),
        ),
        (8, 8, 1, 2),
    )[0]


def _size(draw: random.Random, axes: int, largest: int) -> Any:
    """Draws one number for all axes, or one for each."""
    if axes == 1 or draw.random() < 0.6:
        return draw.randint(1, largest)
    return tuple(draw.randint(1, largest) for _ in range(axes))


def _window(draw: random.Random, shape: Shape) -> dict[str, Any]:
    axes = len(shape) - 1
    chosen: dict[str, Any] = {
        "kernel_size": _size(draw, axes, 4),
        "padding": draw.choice(("same", "valid")),
        "use_bias": draw.random() < 0.7,
    }
    if draw.random() < 0.35:
        chosen["strides"] = _size(draw, axes, 3)
    elif draw.random() < 0.2:
        chosen["dilation_rate"] = _size(draw, axes, 3)
    if (activation := _activation(draw)) is not None:
        chosen["activation"] = activation
    return chosen


def _convolution(draw: random.Random, shape: Shape) -> dict[str, Any]:
    chosen = {"filters": draw.choice((1, 2, 3, 4, 5, 6, 8, 12)), **_window(draw, shape)}
    if len(shape) == 2 and draw.random() < 0.2:
        chosen["padding"] = "causal"
    divisors = [n for n in range(2, 9) if shape[-1] % n == 0]
    if divisors and draw.random() < 0.06:  # slow: Keras compiles each call
        groups = draw.choice(divisors)
        chosen.update(groups=groups, filters=groups * draw.randint(1, 3))
    return chosen


def _transposed(draw: random.Random, shape: Shape) -> dict[str, Any]:
    chosen = {"filters": draw.choice((1, 2, 3, 4, 8)), **_window(draw, shape)}
    if draw.random() < 0.2 and "strides" in chosen:
        # TensorFlow's own layer fails where it would make fewer pixels than the strides ask for.
        even = any(size % 2 == 0 for size in np.atleast_1d(chosen["kernel_size"]))
        fewest = 1 if even and chosen["padding"] == "same" else 0
        chosen["output_padding"] = max(fewest, draw.randint(0, 1))
    return chosen


def _depthwise(draw: random.Random, shape: Shape) -> dict[str, Any]:
    chosen = _window(draw, shape)
    if isinstance(chosen.get("strides"), tuple):
        chosen["strides"] = chosen["strides"][0]  # TensorFlow has no other
    if draw.random() < 0.25:
        chosen["depth_multiplier"] = draw.randint(2, 3)
    return chosen


def _separable(draw: random.Random, shape: Shape) -> dict[str, Any]:
    return {"filters": draw.choice((1, 3, 4, 8)), **_depthwise(draw, shape)}


def _dense(draw: random.Random, shape: Shape) -> dict[str, Any]:
    chosen: dict[str, Any] = {"units": draw.choice((1, 2, 3, 4, 5, 8, 10))}
    if (activation := _activation(draw)) is not None:
        chosen["activation"] = activation
    return chosen | ({"use_bias": False} if draw.random() < 0.25 else {})


def _pool(draw: random.Random, shape: Shape) -> dict[str, Any]:
    axes = len(shape) - 1
    chosen: dict[str, Any] = {
        "pool_size": _size(draw, axes, 4),
        "padding": draw.choice(("same", "valid")),
    }
    if draw.random() < 0.5:
        chosen["strides"] = _size(draw, axes, 3)
    return chosen


def _sides(key: str) -> Callable[[random.Random, Shape], dict[str, Any]]:
    """Draws what is added or cut before and after each axis."""

    def sides(draw: random.Random, shape: Shape) -> dict[str, Any]:
        pairs = [(draw.randint(0, 2), draw.randint(0, 2)) for _ in shape[:-1]]
        return {key: tuple(pairs) if len(pairs) == 2 else pairs[0]}

    return sides


def _permute(draw: random.Random, shape: Shape) -> dict[str, Any]:
    dims = list(range(1, len(shape) + 1))
    draw.shuffle(dims)
    return {"dims": tuple(dims)}


def _reshape(draw: random.Random, shape: Shape) -> dict[str, Any]:
    """Draws axes that hold as much: one split, or two joined."""
    axes = list(shape)
    place = draw.randrange(len(axes))
    divisors = [n for n in range(1, axes[place] + 1) if axes[place] % n == 0]
    if draw.random() < 0.5 and len(axes) < 4:
        part = draw.choice(divisors)
        axes[place : place + 1] = [part, axes[place] // part]
    elif len(axes) > 1:
        place = draw.randrange(len(axes) - 1)
        axes[place : place + 2] = [axes[place] * axes[place + 1]]
    else:
        axes = [1, *axes]
    if draw.random() < 0.3:
        axes[draw.randrange(len(axes))] = -1
    return {"target_shape": tuple(axes)}


def _concatenate(draw: random.Random, shape: Shape) -> dict[str, Any]:
    axis = draw.randint(1, len(shape))
    return {"axis": draw.choice((axis, axis - 1 - len(shape)))}


def _rescaling(draw: random.Random, shape: Shape) -> dict[str, Any]:
    if draw.random() < 0.5:
        return {"scale": draw.choice((1 / 127.5, 2.0, -0.5)), "offset": draw.choice((0.0, -1.0))}
    values = [round(draw.uniform(-2, 2), 2) for _ in range(shape[-1])]
    return {"scale": values, "offset": draw.choice((0.0, 1.0))}


_DRAWS: dict[Any, Callable[[random.Random, Shape], dict[str, Any]]] = {
    L.Conv1D: _convolution,
    L.Conv2D: _convolution,
    L.Conv2DTranspose: _transposed,
    L.DepthwiseConv1D: _depthwise,
    L.DepthwiseConv2D: _depthwise,
    L.SeparableConv1D: _separable,
    L.SeparableConv2D: _separable,
    L.Dense: _dense,
    L.AveragePooling1D: _pool,
    L.AveragePooling2D: _pool,
    L.MaxPooling1D: _pool,
    L.MaxPooling2D: _pool,
    L.ZeroPadding1D: _sides("padding"),
    L.ZeroPadding2D: _sides("padding"),
    L.Cropping1D: _sides("cropping"),
    L.Cropping2D: _sides("cropping"),
    L.Concatenate: _concatenate,
    L.Permute: _permute,
    L.Rescaling: _rescaling,
    L.Reshape: _reshape,
}
