"""Weights carried between models, widths as level maps, tf_keras twins."""

import keras
import numpy as np
import pytest

from benchmarks.accuracy import fitting, legacy, methods, recipe
from nested_keras import nest
from tests.benchmarks.accuracy.test_data import images
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

NETWORKS = ("resnet8", "mobilenet_v1")


def build(network, width=1.0):
    small = recipe.Recipe(network=network, width=0.25)
    return recipe.build(small, images(size=8), width=width)


@pytest.mark.parametrize("network", recipe.NETWORKS)
def test_networks_fit_the_data_and_the_policy(network):
    before = keras.config.dtype_policy().name
    model = recipe.build(
        recipe.Recipe(network=network, width=0.1), images(size=8), policy="mixed_bfloat16"
    )
    assert (model.input_shape, model.output_shape) == ((None, 8, 8, 3), (None, 10))
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize("network", NETWORKS)
def test_transfer_is_the_inverse_of_nest(network):
    base = nets.randomise(build(network), seed=1)
    back = build(network)
    fitting.transfer(nest(base, (0.0,)), back)
    for weight, expected in zip(back.weights, base.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_transfer_gives_each_level_the_values_of_the_source():
    alone = nest(nets.randomise(build("resnet8"), seed=1), (0.5,))
    alone.prune()
    target = nest(build("resnet8"), (0.9, 0.5))
    fitting.transfer(alone, target)
    target.prune()
    x = nets.images(3, (8, 8, 3))
    np.testing.assert_allclose(target.at_level(1)(x), alone(x), rtol=1e-6)
    assert target.level_sparsity(1) == alone.level_sparsity(0)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_level_set_by_widths_computes_what_the_narrow_model_computes(network):
    widths = (0.5, 0.75, 1.0)
    narrow = [build(network, width=width) for width in widths]
    model = nest(build(network), (0.75, 0.4, 0.0), exclude=())
    methods.set_widths(model, narrow)
    nets.randomise(model, seed=2)
    x = nets.images(3, (8, 8, 3))
    for level, base in enumerate(narrow):
        fitting.transfer(model, base, level=level)
        outputs = base(x).numpy()
        np.testing.assert_allclose(model.at_level(level)(x), outputs, rtol=1e-4, atol=1e-6)
    assert base.count_params() > 2 * narrow[0].count_params()


@pytest.mark.parametrize("network", ["resnet8", "resnet9", "mobilenet_v1", "mobilenet_v2"])
def test_the_twin_in_tf_keras_computes_the_same(network):
    base = recipe.build(recipe.Recipe(network=network, width=0.1), images(size=8))
    x = nets.images(3, (8, 8, 3))
    twin = legacy.to_tf_keras(base)
    np.testing.assert_allclose(twin(x).numpy(), base(x).numpy(), rtol=1e-4, atol=1e-6)


def test_the_twin_refuses_layers_that_it_does_not_know():
    with pytest.raises(TypeError, match=r"flatten: expected one of Add, .*, got Flatten"):
        legacy.to_tf_keras(
            keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(name="flatten")])
        )
