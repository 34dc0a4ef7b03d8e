import dataclasses

import keras
import numpy as np
import pytest

from nested_keras import export, nest
from nested_keras.export import forward
from nested_keras.export.equalize import equalize, measure_factors
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.nodes import Linear
from nested_keras.runtime import ReferenceModel

pytestmark = pytest.mark.slow

LEVELS = 2


def network(*, activation="relu", between=(), batch_norm=True, tap=False, multiplier=1):
    """A convolution whose channels differ a thousandfold, and a depthwise one that needs all."""
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="maker")(inputs)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="maker_norm")(x)
    x = made = keras.layers.Activation(activation)(x)
    for layer in between:
        x = layer(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=multiplier, name="reader")(x)
    x = keras.layers.BatchNormalization(name="reader_norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(5, name="head")(x)
    return keras.Model(inputs, [outputs, made] if tap else outputs)


def uneven(**options):
    keras.utils.set_random_seed(0)
    nested = nest(network(**options), (0.5, 0.2), exclude=("reader",))
    nested.prune()
    scales = np.array([1.0, 0.1, 0.01, 0.001])
    if options.get("batch_norm", True):
        norm = nested.get_layer("maker_norm")
        norm.gamma.assign(scales + 0 * norm.gamma)
        norm.beta.assign(0.1 * scales + 0 * norm.beta)
    else:
        maker = nested.get_layer("maker")
        maker.kernel.assign(maker.kernel.numpy() * scales)
    reader = nested.get_layer("reader")
    multiplier = reader.kernel.shape[-1]
    reader.kernel.assign(reader.kernel.numpy() / np.repeat(scales, multiplier).reshape(4, -1))
    return nested


def images(count=64, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 6, 6, 3)).astype("float32")


def run(graph, x, level):
    nodes = {}

    def keep(node, value):
        nodes[node.name] = np.asarray(value)
        return value

    outputs = forward.run(graph, [x], forward.level_parameters(level), keep)
    return [np.asarray(each) for each in outputs], nodes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "linear"},
        {"multiplier": 3},
        {"between": (keras.layers.ZeroPadding2D(1), keras.layers.MaxPooling2D(2))},
        {"between": (keras.layers.AveragePooling2D(2, padding="same"),)},
        {"batch_norm": False},
    ],
)
def test_channels_become_alike_and_the_outputs_stay(options):
    x = images()
    graph = fold(trace(uneven(**options)))
    factors = measure_factors(graph, (x,))
    assert list(factors) == ["maker"]
    even = equalize(graph, factors)
    largest = []
    for level in range(LEVELS):
        (before,), _ = run(graph, x, level)
        (after,), nodes = run(even, x, level)
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
        largest.append(np.abs(nodes["maker"]).max(axis=(0, 1, 2)))
    if options.get("batch_norm", True):
        np.testing.assert_allclose(largest, np.max(largest), rtol=1e-4)
    else:  # nothing of the maker's tables differs between levels: one factor for both
        np.testing.assert_allclose(np.max(largest, axis=0), np.max(largest), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu6"},
        {"activation": "sigmoid"},
        {"tap": True},
        {"between": (keras.layers.Conv2D(4, 1),)},
    ],
)
def test_channels_stay_where_factors_would_not_cancel(options):
    graph = fold(trace(uneven(**options)))
    factors = measure_factors(graph, (images(),))
    assert "maker" not in factors
    even = equalize(graph, {"maker": np.full((LEVELS, 4), 3.0)})
    np.testing.assert_array_equal(even.nodes["maker"].gain, graph.nodes["maker"].gain)


def test_factors_are_bounded_and_dead_channels_keep_theirs():
    nested = uneven()
    norm = nested.get_layer("maker_norm")
    scales = np.array([1.0, 0.1, 1e-9, 0.0])
    norm.gamma.assign(scales + 0 * norm.gamma)
    norm.beta.assign(0.1 * scales + 0 * norm.beta)
    reader = nested.get_layer("reader")
    reader.kernel.assign(reader.kernel.numpy() * np.array([1, 1, 10, 1]).reshape(4, 1))
    factors = measure_factors(fold(trace(nested)), (images(),))["maker"]
    assert (factors[:, 2] == 1024).all()
    assert (factors[:, 3] == 1).all()
    assert ((factors[:, :2] >= 1) & (factors[:, :2] < 30)).all()


@pytest.mark.parametrize("multiplier", [1, 3])
def test_a_channel_is_scaled_no_further_than_its_rounding_matters(multiplier):
    nested, x = uneven(multiplier=multiplier), images()
    reader = nested.get_layer("reader")
    smaller = np.repeat([1.0, 0.1, 0.01, 0.001], multiplier).reshape(4, -1)
    reader.kernel.assign(reader.kernel.numpy() * smaller)  # the small channels stay small
    graph = fold(trace(nested))
    factors = measure_factors(graph, (x,))["maker"]
    most = results = 0.0
    for level in range(LEVELS):
        _, nodes = run(graph, x, level)
        most = max(most, nodes["maker"].max())
        results = max(results, np.abs(nodes["reader"]).max())
    node = graph.nodes["reader"]
    sums = np.abs(node.gain) * np.abs(node.filter).sum(axis=(1, 2, 3))
    # In steps of the result; rounding moves a channel by half a step at most.
    moved = 0.5 * most / np.repeat(factors, multiplier, axis=1) * sums / results
    others = moved[:, multiplier:]  # the first channel is the largest, and stays
    assert 0.2 < others.max() <= 0.25 + 1e-5
    assert (factors[:, 3] < 20).all()  # a thousand would even it out
    assert (factors[:, 1] > 1).all()
    outputs = ReferenceModel(export.to_tflite(nested, representative_dataset=x))
    detail = outputs.output_details[0]
    for level in range(LEVELS):
        expected = np.asarray(nested.at_level(level)(x))
        got = (outputs.run(x, level=level).astype(float) - detail.zero_point) * detail.scale
        assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_nodes_that_are_the_same_at_all_levels_stay_so():
    graph = fold(trace(uneven()))
    nodes = dict(graph.nodes)
    for name in ("maker", "reader"):
        node = nodes[name]
        assert isinstance(node, Linear)
        nodes[name] = dataclasses.replace(
            node, per_level=False, gain=node.gain[[0, 0]], bias=node.bias[[0, 0]]
        )
    alike = dataclasses.replace(graph, nodes=nodes)
    even = equalize(alike, measure_factors(alike, (images(),)))
    for name in ("maker", "reader"):
        np.testing.assert_array_equal(even.nodes[name].gain[0], even.nodes[name].gain[1])


def test_int8_keeps_small_channels():
    """The smallest would have but a quarter of a step."""
    nested, x = uneven(), images()
    reference = ReferenceModel(export.to_tflite(nested, representative_dataset=x))
    detail = reference.output_details[0]
    for level in range(LEVELS):
        expected = np.asarray(nested.at_level(level)(x))
        got = (reference.run(x, level=level).astype(float) - detail.zero_point) * detail.scale
        assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_training_goes_on_with_the_same_factors(tmp_path):
    nested, x = uneven(), images()
    export.quantize_aware(nested, representative_dataset=x)
    assert list(nested.quantization["factors"]) == ["maker"]
    reference = ReferenceModel(export.to_tflite(nested, representative_dataset=x))
    detail = reference.output_details[0]
    for level in range(LEVELS):
        trained = np.asarray(nested.at_level(level)(x))
        got = (reference.run(x, level=level).astype(float) - detail.zero_point) * detail.scale
        assert np.abs(got - trained).max() < 2 * detail.scale
