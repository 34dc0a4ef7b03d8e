import keras
import numpy as np
import pytest

import nested_keras
from nested_keras.export import problems
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

L = keras.layers


@pytest.mark.parametrize("net", [nets.residual, nets.sequential, nets.mobile, nets.dense_net])
def test_a_good_model_has_no_problems(net):
    base = net()
    before = [weight.numpy() for weight in base.weights]
    assert nested_keras.supports(base, (0.8, 0.4)) == []
    for old, new in zip(before, base.weights, strict=True):
        np.testing.assert_array_equal(old, new)


class Custom(L.Layer):
    def call(self, inputs):
        return inputs * 2.0


def faulty():
    """Each layer from `one` to `five` has one problem; `four` has the same problem twice."""
    x = inputs = keras.Input((8, 8, 4), name="image")
    x = L.Conv2D(4, 3, name="good")(x)
    x = Custom(name="one")(x)
    x = L.GroupNormalization(2, name="two")(x)
    x = L.BatchNormalization(axis=1, name="three")(x)
    mean = L.Dropout(0.5, name="four")
    x = mean(mean(x, training=True), training=True)
    x = L.Conv2D(4, 3, activation=lambda v: v - keras.ops.mean(v), name="five")(x)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(3)(x))


def test_all_problems_are_found_and_not_the_first_alone():
    base = faulty()
    nodes = {layer.name: layer.input for layer in base.layers if layer.name != "four"}
    found = nested_keras.supports(base)
    assert len(found) == 5
    for name in ("one", "two", "three", "four", "five"):
        assert sum(f"layer {name!r}" in text for text in found) == 1, found
    # The calls that were checked are not calls of the layers of the user.
    assert all(layer.input is nodes[layer.name] for layer in base.layers if layer.name in nodes)
    with pytest.raises(ValueError, match="layer 'one'") as error:
        model.nest(base)
    assert str(error.value) in found


def test_problems_of_the_whole_model():
    wide = keras.Input((None, None, 3), name="wide")
    open_size = keras.Model(wide, L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(L.Conv2D(4, 3)(wide))))
    (text,) = nested_keras.supports(open_size)
    assert text.startswith("input 'wide' needs a fixed shape: got (None, None, None, 3) (give")
    with pytest.warns(UserWarning, match="refuse this model: input 'wide' needs"):
        model.nest(open_size)  # which can be trained
    level = keras.Input((8, 8, 3), name="level")
    base = keras.Model(level, L.Conv2D(4, 3)(L.Conv2D(4, 3)(level)))
    assert nested_keras.supports(base) == [
        "an input must not be named 'level': that is the level's name"
    ]
    (text,) = nested_keras.supports(keras.Sequential([keras.Input((4,)), L.Dense(3)]))
    assert text.startswith("model has no layer to nest")
    (text,) = nested_keras.supports(keras.Sequential([L.Dense(3)]))
    assert "must be built" in text
    (text,) = nested_keras.supports("model.keras")
    assert text.endswith("got str")
    text, _ = nested_keras.supports(model.nest(nets.dense_net()))
    assert "layer 'hidden' (NestedDense) must not be nested yet" in text


def test_a_dense_layer_has_no_more_inputs_than_the_format_can_hold():
    base = keras.Sequential([keras.Input((65536,)), L.Dense(2, name="large"), L.Dense(2)])
    with pytest.warns(UserWarning, match="export will refuse this model: layer 'large'"):
        model.nest(base, exclude=())
    (text,) = nested_keras.supports(base)
    assert "layer 'large' (Dense) may have 65,535 inputs at most to be nested: got 65,536" in text
    assert nested_keras.supports(base, exclude=("large",)) == []


def test_problems_of_the_arguments():
    (text,) = nested_keras.supports(nets.dense_net(), (0.5, 0.9))
    assert "sparsities must" in text
    (text,) = nested_keras.supports(nets.dense_net(), exclude=["nothing"])
    assert "exclude must name layers" in text
    overrides = {"hidden": {"block": 1}, "head": {"sparsities": (0.5,)}}
    keys, count = nested_keras.supports(nets.dense_net(), overrides=overrides)
    assert keys.startswith("overrides of 'hidden' must have the keys")
    assert count.startswith("overrides of 'head' must have 3 sparsities")


def test_a_level_that_export_gets_wrong_is_a_problem(monkeypatch):
    def refuse(state):
        raise ValueError("level 1 must compute what the Keras model does")

    monkeypatch.setattr(problems, "_STEPS", (*problems._STEPS[:-1], refuse))
    assert nested_keras.supports(nets.dense_net()) == [
        "level 1 must compute what the Keras model does"
    ]
