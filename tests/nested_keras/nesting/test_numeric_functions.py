"""Functions that Keras has as operators: a saved nested model leads back to them."""

import keras
import numpy as np

import nested_keras
from nested_keras.nesting.numeric_functions import FUNCTIONS

L = keras.layers


def test_a_saved_model_has_the_functions(tmp_path):
    inputs = keras.Input((5,))
    x = 0.5 + keras.ops.relu(L.Dense(4)(inputs))
    outputs = [getattr(keras.ops, function.__name__)(x) for function in FUNCTIONS.values()]
    nested = nested_keras.nest(keras.Model(inputs, outputs), (0.5,), exclude=())
    nested.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    batch = np.linspace(-1, 1, 10, dtype="float32").reshape(2, 5)
    for got, want in zip(again(batch), nested(batch), strict=True):
        np.testing.assert_array_equal(got, want)
