"""ResNet-8 of MLPerf Tiny and ResNet-9 of DAWNBench."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from nested_keras.applications.blocks import check_width, classify, conv, conv_norm, scaled


def resnet8(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    *,
    width: float = 1.0,
    use_bias: bool = False,
    classifier_activation: str | None = "softmax",
) -> Any:
    """Returns ResNet-8: a stem and three residual blocks of 16, 32 and 64 filters.

    The image classification network of MLPerf Tiny (Banbury et al., 2021), 12.5 million MACs on
    images of 32x32 pixels.

    Args:
        input_shape: (height, width, channels).
        classes: Outputs.
        width: Multiplier on the filters, > 0.
        use_bias: Gives the convolutions in front of a BatchNorm a bias too. The bias changes
            nothing but the training time; the published model has a bias, with 78,666 parameters in
            all.
        classifier_activation: Activation of the last layer; None for logits.

    Returns:
        An untrained functional model, [n, *input_shape] -> [n, classes].

    Raises:
        ValueError: If width is not positive.
    """
    check_width(width)
    image = keras.Input(input_shape, name="image")
    x = conv(image, scaled(16, width), name="stem", use_bias=use_bias)
    for block, (filters, strides) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        name, channels = f"block{block}", scaled(filters, width)
        y = conv(x, channels, strides=strides, name=f"{name}_conv1", use_bias=use_bias)
        y = conv_norm(y, channels, name=f"{name}_conv2", use_bias=use_bias)
        if strides > 1:
            # This bias counts, because no BatchNorm follows.
            x = layers.Conv2D(
                channels,
                1,
                strides=strides,
                kernel_initializer="he_normal",
                name=f"{name}_shortcut",
            )(x)
        x = layers.Add(name=f"{name}_add")([x, y])
        x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(image, classify(x, classes, classifier_activation), name="resnet8")


def resnet9(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    *,
    width: float = 1.0,
    classifier_activation: str | None = "softmax",
) -> Any:
    """Returns ResNet-9: four convolutions of 64 to 512 filters, two residual blocks, pooling.

    After David Page's DAWNBench entry ("How to train your ResNet", 2018), 6,573,120 parameters
    with a last layer without bias for 10 classes; this one has a bias there.

    Args:
        input_shape: (height, width, channels); height and width of 8 or more.
        classes: Outputs.
        width: Multiplier on the filters, > 0.
        classifier_activation: Activation of the last layer; None for logits.

    Returns:
        An untrained functional model, [n, *input_shape] -> [n, classes].

    Raises:
        ValueError: If width is not positive.
    """
    check_width(width)
    image = keras.Input(input_shape, name="image")
    x = conv(image, scaled(64, width), name="stem")
    for block, (filters, residual) in enumerate(((128, True), (256, False), (512, True)), start=1):
        name, channels = f"block{block}", scaled(filters, width)
        x = conv(x, channels, name=f"{name}_conv1")
        x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        if residual:
            y = conv(x, channels, name=f"{name}_conv2")
            y = conv(y, channels, name=f"{name}_conv3")
            x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation=classifier_activation, name="head")(x)
    return keras.Model(image, outputs, name="resnet9")
