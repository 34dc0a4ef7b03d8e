"""Small Keras models of every shape that nest() takes, with weights that are all different."""

import keras
import numpy as np
from keras import layers


def randomise(model, seed):
    """Gives every weight a random value; variances stay positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.path else (-1.0, 1.0)
        if weight.dtype == "float32":
            weight.assign(rng.uniform(low, high, weight.shape))
    return model


def images(count, shape=(6, 6, 3), seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def evaluate(model, *data, **kwargs):
    """What evaluate() measures, by name, as numbers: Keras 3.12 gives tensors."""
    logs = model.evaluate(*data, verbose=0, return_dict=True, **kwargs)
    return {name: float(value) for name, value in logs.items()}


def _conv_norm(x, filters, size, **kwargs):
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **kwargs)(x)
    return layers.BatchNormalization()(x)


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(5, 3, strides=2, activation="relu"),
            layers.BatchNormalization(scale=False),
            layers.Flatten(),
            layers.Dense(6, activation="tanh"),
            layers.Dropout(0.5),
            layers.Dense(3, use_bias=False),
        ]
    )


def residual():
    x = inputs = keras.Input((6, 6, 3))
    x = layers.ReLU()(_conv_norm(x, 4, 3))
    y = layers.ReLU()(_conv_norm(x, 4, 3))
    x = layers.ReLU()(layers.Add()([_conv_norm(y, 4, 3), x]))
    x = layers.Add()([_conv_norm(x, 8, 3, strides=2), layers.Conv2D(8, 1, strides=2)(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="residual")


def mobile():
    x = inputs = keras.Input((6, 6, 3))
    x = layers.ReLU()(_conv_norm(x, 4, 3))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.SeparableConv2D(7, 3, activation="relu", depth_multiplier=2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def shared():
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same")(x)
    conv, norm = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    x = layers.ReLU()(norm(conv(x)))
    x = layers.ReLU()(norm(conv(x)))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def submodels():
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same", name="conv"), layers.ReLU()],
        name="inner",
    )
    deep = keras.Input((6, 6, 4))
    outer = keras.Model(deep, layers.BatchNormalization(name="norm")(inner(deep)), name="outer")
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = outer(outer(x))
    x = layers.GlobalAveragePooling2D()(inner(x))
    return keras.Model(inputs, layers.Dense(3)(x))


def branches():
    """Two inputs in a dict, two outputs in a dict."""
    left, right = keras.Input((6, 6, 3), name="left"), keras.Input((5,), name="right")
    x = layers.Conv2D(4, 3, name="stem")(left)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(x))
    x = layers.Concatenate()([x, layers.Dense(3, activation="relu", name="side")(right)])
    outputs = {
        "a": layers.Dense(2, name="a")(x),
        "b": layers.Dense(1, name="b", activation="sigmoid")(x),
    }
    return keras.Model({"left": left, "right": right}, outputs)


IMAGE_NETS = (sequential, residual, mobile, shared, submodels)


def dense_net(units=8, features=12, seed=0, **kwargs):
    """A tiny classifier whose first Dense nests."""
    model = keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(units, activation="relu", name="hidden", **kwargs),
            layers.Dense(3, name="head"),
        ]
    )
    return randomise(model, seed)
