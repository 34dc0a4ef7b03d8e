import keras
import numpy as np
import pytest
from keras import layers

from nested_keras import export
from nested_keras.export import compare, graph
from nested_keras.export.export_errors import ExportError
from nested_keras.export.fold import fold
from nested_keras.nesting.model import nest
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


def network():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.LeakyReLU(0.3, name="leaky")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.5)(layers.Conv2D(4, 3, activation="relu", name="second")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    nested = nest(nets.randomise(keras.Model(inputs, layers.Dense(3, name="head")(x)), seed=0))
    nested.prune()
    return nested


def test_a_right_graph_passes_and_a_wrong_layer_is_named(monkeypatch):
    nested, data = network(), (nets.images(3),)
    compare.compare(nested, fold(graph.trace(nested)), data)
    wrong = {**graph.TRACES, layers.LeakyReLU: graph.TRACES[layers.Softmax]}
    monkeypatch.setattr(graph, "TRACES", wrong)
    with pytest.raises(
        ExportError, match=r"level 0 must .*: layer 'leaky' is off by [0-9.]+, of v"
    ):
        compare.compare(nested, fold(graph.trace(nested)), data)


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_an_operand_that_keras_takes_for_a_bias_is_no_difference(channels):
    """Keras adds [n, 1] to [n, channels] along the wrong axis, where n is `channels`."""
    inputs = keras.Input((5,))
    wide, narrow = layers.Dense(channels, name="wide")(inputs), layers.Dense(1)(inputs)
    outputs = layers.Dense(3)(layers.Average()([wide, narrow]))
    nested = nest(nets.randomise(keras.Model(inputs, outputs), seed=0))
    data = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    for count in (2, 4, 7, 8):
        compare.compare(nested, fold(graph.trace(nested)), (data[:count],))


def test_a_wrong_fold_is_found_though_no_layer_differs(monkeypatch):
    nested = network()
    traced = graph.trace(nested)
    with pytest.raises(ExportError, match=r"level 0 must compute .*: output 0 is off by [0-9.]+"):
        compare.compare(nested, fold(without_norm(traced)), (nets.images(3),))


def without_norm(traced):
    """The graph with the statistics of level 0 of its BatchNorm wrong."""
    import dataclasses

    norm = traced.nodes["norm"]
    wrong = dataclasses.replace(norm, bias=norm.bias + 1.0)
    return dataclasses.replace(traced, nodes={**traced.nodes, "norm": wrong})


def test_a_model_that_rounds_as_int8_is_compared_in_float():
    nested = network()
    data = nets.images(8)
    export.quantize_aware(nested, representative_dataset=data)
    assert np.abs(nested.at_level(0)(data) - nested.float_level(0)(data)).max() > 0
    compare.compare(nested, fold(graph.trace(nested)), (data,))
