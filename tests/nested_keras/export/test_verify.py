import dataclasses

import numpy as np
import pytest

from nested_keras.export import ExportError, build, pack, steps
from nested_keras.export.idle import drop_idle
from nested_keras.format import Stream
from tests import zoo

pytestmark = pytest.mark.slow


def test_a_wrong_table_is_found_and_named(monkeypatch):
    """One bias of one level of the second layer is off: the level and the layer are named."""
    original = steps.pack

    def spoiled(layers, program):
        packed = list(original(layers, program))
        victim = packed[1]
        weights = victim.stream.weights
        bias = weights.bias.copy()
        bias[1] += 40 * np.abs(bias[1]).max()
        stream = Stream.pack(dataclasses.replace(weights, bias=bias))
        packed[1] = dataclasses.replace(victim, stream=stream)
        return tuple(packed)

    monkeypatch.setattr(steps, "pack", spoiled)
    made = zoo.make("residual_relu")
    with pytest.raises(
        ExportError, match=r"^level 1: \d+ of \d+ values of output .* first at layer 'conv2d_1'$"
    ):
        build(made.model, representative_dataset=made.data)


def test_packed_streams_keep_every_weight_that_matters_in_its_level():
    made = zoo.make("gammas_flipped")
    streams = []
    original = pack.pack

    def record(layers, program):
        packed = original(layers, program)
        streams.extend(packed)
        return packed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "pack", record)
        build(made.model, representative_dataset=made.data)
    for layer in streams:
        weights = layer.stream.weights
        filters = layer.converted.filter
        level_map = np.where(filters != 0, layer.converted.node.level_map, 3).astype(np.uint8)
        whole = dataclasses.replace(weights, weights=filters, level_map=level_map)
        np.testing.assert_array_equal(weights.level_map, drop_idle(whole).level_map)
        np.testing.assert_array_equal(weights.multiplier, layer.tables.multiplier)
