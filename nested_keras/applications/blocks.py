"""The parts of the networks: a convolution, its BatchNorm and its activation."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from nested_keras.typing import KerasTensor


def check_width(width: float) -> float:
    """Returns the width multiplier.

    Raises:
        ValueError: If the width is not positive.
    """
    if not width > 0.0:
        raise ValueError(f"width must be positive: got {width}")
    return width


def scaled(filters: int, width: float) -> int:
    """Returns the filters of a layer at a width multiplier, at least 1."""
    return max(1, int(filters * width))


def conv(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
    max_value: float | None = None,
) -> Any:
    """Applies Conv2D, BatchNormalization and ReLU.

    Args:
        x: Symbolic tensor [n, h, w, c].
        filters: Output channels.
        kernel_size: Height and width.
        name: The convolution's name. The other layers append "_norm" and "_relu".
        strides: In both directions.
        use_bias: Whether the convolution has a bias.
        max_value: 6 for ReLU6.

    Returns:
        A symbolic tensor [n, ceil(h / strides), ceil(w / strides), filters].
    """
    x = conv_norm(x, filters, kernel_size, name=name, strides=strides, use_bias=use_bias)
    return layers.ReLU(max_value, name=f"{name}_relu")(x)


def conv_norm(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
) -> Any:
    """Applies Conv2D and BatchNormalization; arguments as `conv`."""
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def depthwise(
    x: KerasTensor,
    *,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
    max_value: float | None = None,
) -> Any:
    """Applies a 3x3 DepthwiseConv2D, BatchNormalization and ReLU; arguments as `conv`."""
    x = layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same",
        use_bias=use_bias,
        # Keras counts all channels as the fan-in of a depthwise kernel; the true fan-in is 3x3.
        depthwise_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / 9)),
        name=name,
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(max_value, name=f"{name}_relu")(x)


def classify(x: KerasTensor, classes: int, activation: str | None) -> Any:
    """Averages over the image and applies the last Dense, "head"."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(classes, activation=activation, name="head")(x)
