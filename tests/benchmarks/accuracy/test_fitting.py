"""Weights of models that were trained elsewhere."""

import keras
import numpy as np
import pytest

import nested_keras
from benchmarks.accuracy import fitting
from nested_keras.applications import blocks

pytestmark = pytest.mark.slow


def network(*, use_bias, filters=6):
    x = image = keras.Input((8, 8, 3))
    x = blocks.conv(x, 4, name="stem", use_bias=use_bias)
    x = blocks.conv(x, filters, name="conv", use_bias=use_bias)
    return keras.Model(image, blocks.classify(x, 5, None))


def test_a_model_from_elsewhere_goes_on_giving_its_outputs():
    rng = np.random.default_rng(0)
    source = network(use_bias=True)
    source.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in source.get_weights()])
    target = nested_keras.nest(network(use_bias=False), (0.0,))
    fitting.adopt(source, target, input_scale=255.0)
    x = rng.uniform(0.0, 1.0, (4, 8, 8, 3)).astype(np.float32)
    expected = source(255.0 * x)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the outputs do depend on the images
    np.testing.assert_allclose(target(x), expected, rtol=1e-3)


def test_a_model_of_other_layers_is_refused():
    target = nested_keras.nest(network(use_bias=False), (0.0,))
    headless = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
    with pytest.raises(ValueError, match="expected 5 layers with weights, got 1"):
        fitting.adopt(headless, target, input_scale=1.0)
    with pytest.raises(ValueError, match="shape"):
        fitting.adopt(network(use_bias=True, filters=7), target, input_scale=1.0)
