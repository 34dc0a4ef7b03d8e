"""SSDLite on MobileNetV2: the paper's object detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from nested_keras.applications.blocks import check_width, conv, depthwise
from nested_keras.applications.mobilenet import inverted_residuals, multiple_of_8
from nested_keras.detection import Anchors
from nested_keras.typing import KerasTensor

# The feature maps: two expansions of the backbone at 1/8 and 1/16 of the image, its end at 1/32,
# and the extra layers, each half as large as the one before. SSDLite begins at 1/16, of images of
# 320x320; at 160x160 the map at 1/8 finds the small objects.
_EXPANSIONS = ("block7_expand_relu", "block14_expand_relu")
_EXTRA_FILTERS = (256, 128)
_SCALES = (0.08, 0.18, 0.35, 0.55, 0.75, 0.95)


def ssd_anchors(
    input_shape: Sequence[int] = (160, 160, 3), scales: Sequence[float] = _SCALES
) -> Anchors:
    """Returns the anchors of `ssd_mobilenet_v2`, four at each place.

    Args:
        input_shape: (height, width, channels) of the model.
        scales: Sides of the square anchors as shares of the image, one for each of the five
            feature maps and one more; smaller ones for data with small objects.

    Returns:
        Anchors in the ratios 1, 2 and 1/2, and larger squares.
    """
    maps = []
    for steps in (3, 4, 5, 6, 7):  # halvings of the image, each rounded up
        height, width = (-(-size // 2**steps) for size in input_shape[:2])
        maps.append((height, width))
    return Anchors.ssd(maps, scales)


def ssd_mobilenet_v2(
    input_shape: tuple[int, int, int] = (160, 160, 3),
    classes: int = 10,
    *,
    width: float = 0.5,
    anchors: Anchors | None = None,
) -> Any:
    """Returns a MobileNetV2 with the heads of SSDLite (Sandler et al., 2018).

    The heads are depthwise separable, on five feature maps from 1/8 to 1/128 of the image. Names
    of the backbone's layers are those of `mobilenet_v2`.

    Args:
        input_shape: (height, width, channels).
        classes: Classes of objects, >= 1, without the background.
        width: Multiplier on the filters, > 0.
        anchors: Anchors on these feature maps; None for `ssd_anchors(input_shape)`.

    Returns:
        An untrained functional model with the outputs `boxes` [n, A, 4] (offsets,
        `nested_keras.detection.box_coding`) and `scores` [n, A, classes + 1] (logits, 0 is the
        background).

    Raises:
        ValueError: If width or classes are not positive, or the feature maps of the anchors are
            other than those of the model.
    """
    check_width(width)
    if classes < 1:
        raise ValueError(f"classes must be 1 or more: got {classes}")
    anchors = anchors or ssd_anchors(input_shape)
    image = keras.Input(input_shape, name="image")
    features = inverted_residuals(image, width=width)
    backbone = keras.Model(image, features)
    maps = [*(backbone.get_layer(name).output for name in _EXPANSIONS), features]
    for number, filters in enumerate(_EXTRA_FILTERS, start=1):
        maps.append(_extra(maps[-1], multiple_of_8(filters * width), name=f"extra{number}"))
    sizes = tuple(tuple(each.shape[1:3]) for each in maps)
    if sizes != anchors.feature_maps:
        raise ValueError(
            f"anchors must be on the feature maps {sizes} of the model: got {anchors.feature_maps}"
        )
    outputs = {}
    for name, values in (("boxes", 4), ("scores", classes + 1)):
        parts = [
            _head(each, len(shapes), values, name=f"{name}{number}")
            for number, (each, shapes) in enumerate(zip(maps, anchors.shapes, strict=True))
        ]
        outputs[name] = layers.Concatenate(axis=1, name=name)(parts)
    return keras.Model(image, outputs, name="ssd_mobilenet_v2")


def _extra(x: KerasTensor, filters: int, *, name: str) -> Any:
    """Halves a feature map: squeezes its channels, filters each of them, expands again."""
    x = conv(x, max(8, filters // 2), 1, name=f"{name}_squeeze", max_value=6.0)
    x = depthwise(x, name=f"{name}_depthwise", strides=2, max_value=6.0)
    return conv(x, filters, 1, name=f"{name}_expand", max_value=6.0)


def _head(x: KerasTensor, anchors: int, values: int, *, name: str) -> Any:
    """Predicts some values for each anchor: [n, h, w, c] -> [n, h * w * anchors, values]."""
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    y = layers.BatchNormalization(name=f"{name}_depthwise_norm")(y)
    y = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(y)
    y = layers.Conv2D(anchors * values, 1, name=f"{name}_predict")(y)
    height, width = x.shape[1:3]
    return layers.Reshape((height * width * anchors, values), name=f"{name}_reshape")(y)
