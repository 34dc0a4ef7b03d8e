"""Permute becomes transpositions of few axes; the other layers are walked in test_supported.py."""

import keras
import numpy as np
import pytest

from nested_keras.export import forward
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.moving_layers import Transpose
from nested_keras.export.plain_layers import Reshape
from nested_keras.nesting import model

L = keras.layers


def traced(shape, dims):
    """A model with a Permute, and its graph."""
    inputs = keras.Input(shape)
    x = L.Permute(dims, name="swap")(L.Dense(shape[-1])(inputs))
    nested = model.nest(keras.Model(inputs, x), (0.5,), exclude=())
    return nested, fold(trace(nested))


@pytest.mark.parametrize(
    ("shape", "dims", "axes"),
    [
        ((4, 5, 3), (2, 1, 3), 4),
        ((4, 5, 3), (3, 1, 2), 4),  # rows and columns stay neighbours
        ((4, 1, 3), (3, 2, 1), 4),  # (length, channels) is an image of height one
        ((4, 3), (2, 1), 4),
        ((4, 5, 2, 2, 3), (1, 3, 2, 4, 5), 5),
        ((3, 4, 2, 3, 2), (5, 3, 1, 4, 2), 6),
        ((4, 5, 3), (1, 2, 3), None),
        ((4, 1, 3), (2, 1, 3), None),  # a reshape will do
    ],
)
def test_permute(shape, dims, axes):
    nested, graph = traced(shape, dims)
    found = [node for node in graph.nodes.values() if isinstance(node, Transpose)]
    assert [len(node.shape) for node in found] == ([] if axes is None else [axes])
    assert len([node for node in graph.nodes.values() if isinstance(node, Reshape)]) <= 4
    for batch in (1, 3):  # the converter has one example, calibration several
        data = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
        (got,) = forward.run(graph, [data], forward.level_parameters(0), lambda _, value: value)
        np.testing.assert_allclose(got, nested.at_level(0)(data), rtol=1e-4, atol=1e-5)


def test_permute_of_many_axes_is_refused_at_once():
    inputs = keras.Input((1, 2, 1, 2, 1, 4))
    x = L.Permute((6, 1, 2, 3, 4, 5), name="swap")(L.Dense(3)(inputs))
    with pytest.raises(ValueError, match=r"'swap' \(Permute\) must have inputs of at most 5 axes"):
        model.nest(keras.Model(inputs, x), (0.5,), exclude=())
