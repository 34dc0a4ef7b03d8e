"""Small Keras models of series [length, channels], as sensors and sound give them."""

from __future__ import annotations

from typing import Any

import keras

layers = keras.layers


def _conv_bn(x: Any, filters: int, kernel: int = 3, *, relu: Any = "relu", **kwargs: Any) -> Any:
    x = layers.Conv1D(filters, kernel, use_bias=False, **{"padding": "same", **kwargs})(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(relu)(x) if relu else x


def activity(length: int = 21, channels: int = 3) -> Any:
    """Convolutions and pooling, as for accelerometers."""
    x = inputs = keras.Input((length, channels))
    x = layers.SpatialDropout1D(0.2)(layers.MaxPooling1D(2)(_conv_bn(x, 6, 5)))
    x = layers.AveragePooling1D(3, strides=2, padding="same")(_conv_bn(x, 5, 4, strides=2))
    x = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, x)


def sensor() -> Any:
    """A vector of features as a series; its end is flattened."""
    return keras.Sequential(
        [
            keras.Input((48,)),
            layers.Reshape((16, 3)),
            layers.Conv1D(6, 5, activation="relu"),
            layers.ZeroPadding1D((0, 3)),
            layers.Conv1D(4, 3, dilation_rate=2, padding="same", activation=layers.LeakyReLU(0.1)),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def causal() -> Any:
    """Causal convolutions with growing dilation and residual additions; one output per step."""
    x = inputs = keras.Input((19, 2))
    x = layers.Conv1D(5, 1)(x)
    for dilation in (1, 2, 4):
        y = _conv_bn(x, 5, padding="causal", dilation_rate=dilation)
        y = layers.Conv1D(5, 2, padding="causal", dilation_rate=dilation)(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.TimeDistributed(layers.Dense(3, activation="sigmoid"))(x)
    return keras.Model(inputs, x)


def keywords() -> Any:
    """Depthwise and separable convolutions, as for frames of sound."""
    x = inputs = keras.Input((18, 5))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv1D(6, 4, strides=2)(x)))
    x = layers.SeparableConv1D(7, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv1D(3, dilation_rate=2, depth_multiplier=2, padding="same")(x)
    x = layers.ReLU()(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalMaxPooling1D()(x)))


def branches() -> Any:
    """Series joined along their length, gated, normalised alone; to an image and back."""
    x = inputs = keras.Input((12, 4), name="series")
    a = layers.Conv1D(6, 3, padding="same")(x)
    x = layers.Concatenate(axis=1)([layers.MaxPooling1D(2)(a), layers.AveragePooling1D(2)(a), a])
    x = layers.BatchNormalization(name="joined")(x)
    gate = layers.GlobalAveragePooling1D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv1D(6, 1, activation="sigmoid")(gate)])
    x = layers.Conv2D(5, 3, activation="relu")(layers.Reshape((6, 4, -1))(x))
    x = layers.Conv1D(4, 2, strides=2)(layers.Reshape((-1, 5))(x))
    return keras.Model(inputs, [x, layers.Dense(2)(layers.GlobalMaxPooling1D()(x))])


def autoencoder() -> Any:
    """Down and up again with a connection across, groups and a transposition, as a U-Net has."""
    x = inputs = keras.Input((15, 4))
    across = x = _conv_bn(layers.Cropping1D((1, 0))(x), 6, groups=2)
    x = _conv_bn(layers.MaxPooling1D(2)(x), 7)
    x = layers.Permute((2, 1))(x)
    x = layers.Conv1D(6, 3, padding="same", activation="tanh")(layers.Permute((2, 1))(x))
    x = layers.Concatenate()([layers.UpSampling1D(2)(x), across])
    x = layers.AveragePooling1D(3, strides=3, padding="same")(_conv_bn(x, 5))
    x = layers.Conv1DTranspose(4, 4, strides=3, padding="same", use_bias=False, name="up")(x)
    x = layers.Conv1DTranspose(5, 3, activation="relu")(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Conv1D(4, 3, padding="same")(layers.ZeroPadding1D((1, 0))(x)))
