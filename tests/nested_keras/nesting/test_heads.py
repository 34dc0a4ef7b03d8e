import keras
import pytest
from keras import layers, ops

from nested_keras.nesting import model
from nested_keras.nesting.heads import head_of
from tests.nested_keras import nets


class Twisted(layers.Dense):
    """A user's own layer: its activation says nothing about its outputs."""

    def call(self, inputs):
        return ops.tanh(super().call(inputs))


def ending(*operations):
    x = inputs = keras.Input((4, 4, 3))
    for operation in operations:
        x = operation(x)
    return keras.Model(inputs, x)


def average(x):
    return layers.Average()([layers.Dense(3, activation="softmax")(x) for _ in range(2)])


def larger(x):
    return layers.Maximum()([layers.Dense(3)(x), layers.Dense(3)(x)])


def larger_softmax(x):
    return layers.Maximum()([layers.Dense(3, activation="softmax")(x) for _ in range(2)])


GAP = layers.GlobalAveragePooling2D

ENDS = {
    "softmax activation": ("softmax", [GAP(), layers.Dense(3, activation="softmax")]),
    "softmax layer": ("softmax", [GAP(), layers.Dense(3), layers.Softmax()]),
    "Activation layer": ("softmax", [GAP(), layers.Dense(3), layers.Activation("softmax")]),
    "layer as activation": ("softmax", [GAP(), layers.Dense(3, activation=layers.Softmax())]),
    "softmax operator": ("softmax", [GAP(), layers.Dense(3), ops.softmax]),
    "softmax of one pixel": (
        "softmax",
        [layers.Conv2D(3, 4), layers.Softmax(), layers.Flatten(), layers.Dropout(0.1)],
    ),
    "softmax, then linear": (
        "softmax",
        [GAP(), layers.Dense(3, activation="softmax"), layers.Activation("linear")],
    ),
    "mean of softmaxes": ("softmax", [GAP(), average]),
    "a model in the model": (
        "softmax",
        [keras.Sequential([keras.Input((4, 4, 3)), GAP(), layers.Dense(3, "softmax")])],
    ),
    "sigmoid activation": ("sigmoid", [GAP(), layers.Dense(1, activation="sigmoid")]),
    "sigmoid operator": ("sigmoid", [GAP(), layers.Dense(1), ops.sigmoid]),
    "dense": ("logits", [GAP(), layers.Dense(3)]),
    "a temperature": ("logits", [GAP(), layers.Dense(3), lambda x: x / 2.0]),
    "a factor": ("logits", [GAP(), layers.Dense(3), lambda x: ops.multiply(0.5, x) + 1.0]),
    "softmax of a temperature": ("softmax", [GAP(), layers.Dense(3), lambda x: ops.softmax(x / 4)]),
    "a scaled softmax": (None, [GAP(), layers.Dense(3, activation="softmax"), lambda x: x / 2.0]),
    "a product": (None, [GAP(), layers.Dense(3), lambda x: x * x]),
    "dense, linear layer": ("logits", [GAP(), layers.Dense(3), layers.Activation("linear")]),
    "convolution, pooling": ("logits", [layers.Conv2D(3, 1), GAP()]),
    "log-probabilities": ("logits", [GAP(), layers.Dense(3, activation="log_softmax")]),
    "norm": ("logits", [GAP(), layers.Dense(3), layers.BatchNormalization()]),
    "rescaled logits": ("logits", [GAP(), layers.Dense(3), layers.Rescaling(2.0)]),
    "maximum of logits": ("logits", [GAP(), larger]),
    "maximum of softmaxes": (None, [GAP(), larger_softmax]),
    "softmax of another axis": (None, [layers.Conv2D(3, 1), layers.Softmax(axis=1), GAP()]),
    "softmax, reshaped": (
        None,
        [GAP(), layers.Dense(6, activation="softmax"), layers.Reshape((2, 3))],
    ),
    "rescaled softmax": (
        None,
        [GAP(), layers.Dense(3, activation="softmax"), layers.Rescaling(2.0)],
    ),
    "tanh": (None, [GAP(), layers.Dense(3, activation="tanh")]),
    "tanh layer": (None, [GAP(), layers.Dense(3), layers.Activation("tanh")]),
    "own function": (None, [GAP(), layers.Dense(3, activation=lambda x: ops.softmax(x))]),
    "own layer": (None, [GAP(), Twisted(3)]),
    "Lambda": (None, [GAP(), layers.Dense(3), layers.Lambda(lambda x: x)]),
}


@pytest.mark.parametrize("name", ENDS)
def test_head_is_read_from_the_last_operations(name):
    kind, operations = ENDS[name]
    assert head_of(ending(*operations)).kind == kind


def test_a_nested_model_ends_as_its_base_model():
    for base in (nets.sequential(), nets.residual(), nets.mobile()):
        assert head_of(model.nest(base, (0.5,))).kind == head_of(base).kind
    assert head_of(nets.residual()).kind == "softmax"


def test_a_model_without_a_graph_says_nothing():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    assert head_of(Own()).kind is None
    assert head_of(nets.branches()).kind is None
