"""Grouped and transposed convolutions as nodes and in the file."""

import keras
import numpy as np
import pytest

from nested_keras.export import forward, to_tflite
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.nesting import model
from nested_keras.runtime import lower
from nested_keras.tflite.operators import Conv2D, NestedSparseConv
from tests.nested_keras import nets

L = keras.layers


def kinds(graph):
    return [type(node).__name__ for node in graph.nodes.values()]


def test_batch_norm_and_relu_fold_past_the_moves_of_a_transposed_convolution():
    inputs = keras.Input((4, 3, 2))
    x = L.Conv2DTranspose(3, 3, (2, 3), padding="same", output_padding=0)(inputs)
    x = L.Cropping2D(1)(x)
    outputs = L.ReLU()(L.BatchNormalization()(x))
    base = nets.randomise(keras.Model(inputs, outputs), seed=0)
    nested = model.nest(base, (0.5, 0.2), exclude=())
    nested.prune()
    graph = fold(trace(nested))
    assert kinds(graph) == ["Input", "Linear", "DepthToSpace", "Crop", "Crop"]
    assert graph.linear_nodes()[0].activation == "relu"
    data = np.random.default_rng(0).normal(size=(3, 4, 3, 2)).astype(np.float32)
    for level in range(2):
        parameters = forward.level_parameters(level)
        (got,) = forward.run(graph, [data], parameters, lambda _, value: value)
        np.testing.assert_allclose(got, nested.at_level(level)(data), rtol=1e-4, atol=1e-5)


def test_a_result_that_is_read_twice_is_not_folded_into():
    inputs = keras.Input((4, 3, 2))
    x = L.Conv2DTranspose(3, 2, 2)(inputs)
    outputs = [L.ReLU()(x), L.UpSampling2D()(x)]
    graph = fold(trace(model.nest(keras.Model(inputs, outputs), (0.5,), exclude=())))
    assert "Unary" in kinds(graph)


@pytest.mark.slow
def test_layers_with_gaps_are_packed_where_they_stay_dense():
    inputs = keras.Input((5, 5, 4))
    x = L.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = L.Conv2D(8, 3, groups=8, padding="same", name="grouped")(x)
    x = L.Conv2DTranspose(4, 3, 2, padding="same", name="up")(x)
    x = L.Conv2D(4, 1, name="nested")(x)
    base = nets.randomise(keras.Model(inputs, x), seed=0)
    nested = model.nest(base, (0.5, 0.2), exclude=("stem", "grouped", "up"))
    nested.prune()
    data = np.random.default_rng(0).normal(size=(4, 5, 5, 4)).astype(np.float32)
    ops = lower(to_tflite(nested, representative_dataset=data)).ops
    streams = [op.layer for op in ops if isinstance(op, NestedSparseConv)]
    assert len([op for op in ops if isinstance(op, Conv2D)]) == 1
    stored = [[int(np.count_nonzero(layer.kernel(level))) for level in (0, 1)] for layer in streams]
    # As many weights as Keras has, but for those that int8 rounds to zero; the same at each level.
    for (first, last), weights in zip(stored, (8 * 9, 8 * 4 * 9), strict=False):
        assert first == last
        assert 0.98 * weights <= first <= weights
