"""Which functions are seen to act on each value alone."""

import functools
import re

import keras
import pytest
import tensorflow as tf
from keras import ops

from nested_keras.nesting.user_functions import depends_on_others


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: ops.clip(x, -1.0, 1.0),
        lambda x: ops.erf(x) * ops.tanh(ops.exp(x)),
        ops.log,  # NaN below zero
        lambda x: ops.cast(ops.cast(x, "int32"), "float32"),
        ops.ones_like,
        tf.sin,
        functools.partial(keras.activations.relu, max_value=1.0),
    ],
)
def test_a_function_of_each_value_alone(function):
    assert depends_on_others(function) is None


def over_the_largest(x):
    return x / ops.maximum(1.0, ops.max(ops.abs(x)))


def over_the_image(x):
    axes = tuple(range(1, len(x.shape) - 1))
    return x - ops.mean(x, axes, keepdims=True) if axes else x


@pytest.mark.parametrize(
    "function",
    [
        over_the_largest,
        over_the_image,
        lambda x: x - ops.mean(x, -1, keepdims=True),
        lambda x: x - ops.mean(x, 0, keepdims=True),
        lambda x: ops.flip(x, 1),
        lambda x: ops.where(ops.max(x) > 500.0, x, 0.0 * x),
        lambda x: x * ops.arange(x.shape[-1], dtype="float32"),
        lambda x: x * x.shape[-1],
        lambda x: x + keras.random.normal(x.shape),
    ],
)
def test_a_function_of_others_too(function):
    assert "among others and" in depends_on_others(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x > 0.0, r"gives bool\[1, 1\] for float32\[1, 1\]"),
        (lambda x: ops.max(x, -1), r"gives float32\[1\] for float32\[1, 1\]"),
        (lambda x: x * ops.ones(8), r"gives float32\[1, 8\] for"),
        (keras.activations.glu, "raises ValueError for other shapes"),
    ],
)
def test_another_type_or_shape(function, message):
    assert re.search(message, depends_on_others(function))


def test_while_a_graph_is_traced():
    @tf.function
    def traced():
        assert depends_on_others(tf.nn.softplus) is None
        assert depends_on_others(tf.nn.softmax) is not None
        return 0

    traced()
