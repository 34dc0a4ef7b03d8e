"""MobileNetV1 and MobileNetV2 with a width multiplier."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from nested_keras.applications.blocks import (
    check_width,
    classify,
    conv,
    conv_norm,
    depthwise,
    scaled,
)
from nested_keras.typing import KerasTensor

# Filters of the pointwise and strides of the depthwise convolution, block by block.
_V1_BLOCKS = (
    ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
    + 5 * ((512, 1),)
    + ((1024, 2), (1024, 1))
)
# Expansion, filters, repetitions, strides of the first repetition: Table 2 of Sandler et al.
_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1(
    input_shape: tuple[int, int, int] = (96, 96, 3),
    classes: int = 2,
    *,
    width: float = 0.25,
    stem_strides: int = 2,
    use_bias: bool = False,
    classifier_activation: str | None = "softmax",
) -> Any:
    """Returns MobileNetV1 (Howard et al., 2017).

    The defaults give the visual wake words network of MLPerf Tiny.

    Args:
        input_shape: (height, width, channels).
        classes: Outputs.
        width: Multiplier on the filters, > 0.
        stem_strides: Strides of the first convolution: 2, or 1 for images of 32x32 pixels.
        use_bias: Gives the convolutions a bias in front of their BatchNorm. The bias changes
            nothing but the training time; the published model of MLPerf Tiny has a bias, with
            221,794 parameters in all.
        classifier_activation: Activation of the last layer; None for logits.

    Returns:
        An untrained functional model, [n, *input_shape] -> [n, classes].

    Raises:
        ValueError: If width is not positive.
    """
    check_width(width)
    image = keras.Input(input_shape, name="image")
    x = conv(image, scaled(32, width), name="stem", strides=stem_strides, use_bias=use_bias)
    for block, (filters, strides) in enumerate(_V1_BLOCKS, start=1):
        name = f"block{block}"
        x = depthwise(x, name=f"{name}_depthwise", strides=strides, use_bias=use_bias)
        x = conv(x, scaled(filters, width), 1, name=f"{name}_pointwise", use_bias=use_bias)
    return keras.Model(image, classify(x, classes, classifier_activation), name="mobilenet_v1")


def mobilenet_v2(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    *,
    width: float = 1.0,
    stem_strides: int = 2,
    classifier_activation: str | None = "softmax",
) -> Any:
    """Returns MobileNetV2 (Sandler et al., 2018): inverted residuals with linear bottlenecks.

    Filters are multiples of 8 at every width, as in `keras.applications`. The parameter counts
    are the same: 3,538,984 at width 1 and 1,691,208 at 0.35, for 1000 classes.

    Args:
        input_shape: (height, width, channels).
        classes: Outputs.
        width: Multiplier on the filters, > 0; the last convolution grows only with a width above 1.
        stem_strides: Strides of the first convolution: 2, or 1 for images of 32x32 pixels.
        classifier_activation: Activation of the last layer; None for logits.

    Returns:
        An untrained functional model, [n, *input_shape] -> [n, classes].

    Raises:
        ValueError: If width is not positive.
    """
    check_width(width)
    image = keras.Input(input_shape, name="image")
    x = inverted_residuals(image, width=width, stem_strides=stem_strides)
    x = conv(x, multiple_of_8(1280 * max(1.0, width)), 1, name="last", max_value=6.0)
    return keras.Model(image, classify(x, classes, classifier_activation), name="mobilenet_v2")


def inverted_residuals(image: KerasTensor, *, width: float, stem_strides: int = 2) -> Any:
    """Applies the stem of MobileNetV2 and its seventeen blocks, the last at 1/32 of the image."""
    x = conv(image, multiple_of_8(32 * width), name="stem", strides=stem_strides, max_value=6.0)
    block = 0
    for expansion, filters, repetitions, strides in _V2_STAGES:
        for repetition in range(repetitions):
            block += 1
            x = _inverted_residual(
                x,
                multiple_of_8(filters * width),
                name=f"block{block}",
                expansion=expansion,
                strides=strides if repetition == 0 else 1,
            )
    return x


def _inverted_residual(
    x: KerasTensor, filters: int, *, name: str, expansion: int, strides: int
) -> Any:
    """Expands, filters each channel, projects; adds the input where the shapes agree."""
    channels = x.shape[-1]
    y = x
    if expansion > 1:
        y = conv(y, expansion * channels, 1, name=f"{name}_expand", max_value=6.0)
    y = depthwise(y, name=f"{name}_depthwise", strides=strides, max_value=6.0)
    y = conv_norm(y, filters, 1, name=f"{name}_project")
    if strides == 1 and channels == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def multiple_of_8(filters: float) -> int:
    """Rounds to a multiple of 8, never by more than 10 % down: the rule of the paper's code."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8
