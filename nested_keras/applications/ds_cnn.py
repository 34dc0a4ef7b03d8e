"""DS-CNN, the keyword spotting network of MLPerf Tiny."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from nested_keras.applications.blocks import check_width, classify, conv, depthwise, scaled


def ds_cnn(
    input_shape: tuple[int, int, int] = (49, 10, 1),
    classes: int = 12,
    *,
    width: float = 1.0,
    use_bias: bool = False,
    classifier_activation: str | None = "softmax",
) -> Any:
    """Returns DS-CNN: a stem of 10x4 and four depthwise separable blocks of 64 filters.

    The keyword spotting network of MLPerf Tiny (Banbury et al., 2021), after Zhang et al., "Hello
    Edge" (2017): 49 frames of 10 MFCC features.

    Args:
        input_shape: (frames, features, 1).
        classes: Outputs.
        width: Multiplier on the filters, > 0.
        use_bias: Gives the convolutions a bias in front of their BatchNorm. The bias changes
            nothing but the training time; the published model has a bias, with 24,908 parameters in
            all.
        classifier_activation: Activation of the last layer; None for logits.

    Returns:
        An untrained functional model, [n, *input_shape] -> [n, classes].

    Raises:
        ValueError: If width is not positive.
    """
    check_width(width)
    filters = scaled(64, width)
    features = keras.Input(input_shape, name="features")
    x = conv(features, filters, (10, 4), name="stem", strides=2, use_bias=use_bias)
    x = layers.Dropout(0.2, name="stem_dropout")(x)
    for block in range(1, 5):
        x = depthwise(x, name=f"block{block}_depthwise", use_bias=use_bias)
        x = conv(x, filters, 1, name=f"block{block}_pointwise", use_bias=use_bias)
    x = layers.Dropout(0.4, name="dropout")(x)
    return keras.Model(features, classify(x, classes, classifier_activation), name="ds_cnn")
