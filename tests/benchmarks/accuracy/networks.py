"""A network that trains and exports in seconds."""

import keras

from nested_keras.applications import blocks


def tiny(shape, classes, *, width):
    x = image = keras.Input(shape)
    x = blocks.conv(x, int(8 * width), name="stem", strides=2)
    x = blocks.depthwise(x, name="depthwise")
    x = blocks.conv(x, int(32 * width), 1, name="pointwise")
    return keras.Model(image, blocks.classify(x, classes, "softmax"))
