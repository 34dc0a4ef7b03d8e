"""What layers cost; how near that comes to what is counted: bench/test_budget.py."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from nested_keras import allocation, applications
from nested_keras.allocation import Sensitivity, budget
from nested_keras.allocation.budget import cycles, stored_bytes
from nested_keras.cortex_m.cycles import ImageSize
from nested_keras.format import LayerKind
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


def test_kernel_shapes_are_what_the_kernels_see():
    rows = budget.kernel_shapes(model.nest(nets.residual(), block_shape=(1, 2)))
    conv, nested, *_, last = rows
    assert (conv.params.kind, conv.params.filter_shape, conv.nested) == (
        *(LayerKind.CONV, (4, 3, 3, 3), False),
    )
    assert conv.sizes == (ImageSize(1, 6, 6, 6, 6),)
    assert (conv.weights, conv.macs) == (108, 36 * 108)
    assert (conv.params.block_size, nested.params.block_size, nested.nested) == (1, 2, True)
    strided = next(row for row in rows if row.params.stride_h == 2)
    assert (strided.params.stride_w, strided.sizes) == (2, (ImageSize(1, 6, 6, 3, 3),))
    assert (last.params.kind, last.nested, last.macs) == (LayerKind.FULLY_CONNECTED, False, 24)
    rows = budget.kernel_shapes(model.nest(nets.mobile()))
    depthwise = [row.params for row in rows if row.params.kind is LayerKind.DEPTHWISE]
    assert [(row.out_channels, row.depth_multiplier) for row in depthwise] == [(8, 2), (16, 2)]
    shared = budget.kernel_shapes(model.nest(nets.shared()))
    assert [len(row.sizes) for row in shared] == [1, 2, 1], "two calls of a shared layer"


def test_series_are_images_of_height_one():
    inputs = keras.Input((20, 4))
    x = keras.layers.Conv1D(6, 5, strides=2)(inputs)
    x = keras.layers.SeparableConv1D(8, 3, dilation_rate=2, padding="same")(x)
    rows = budget.kernel_shapes(model.nest(keras.Model(inputs, x), exclude=()))
    kernels = [row.params.filter_shape for row in rows]
    assert kernels == [(6, 1, 5, 4), (6, 1, 3, 1), (8, 1, 1, 6)]
    assert [row.sizes for row in rows] == [
        (ImageSize(1, 1, 20, 1, 8),),
        (ImageSize(1, 1, 8, 1, 8),),
        (ImageSize(1, 1, 8, 1, 8),),
    ]
    assert [row.macs for row in rows] == [8 * 120, 8 * 18, 8 * 48]
    depthwise = rows[1].params
    assert (depthwise.dilation_h, depthwise.dilation_w, rows[0].params.stride_w) == (1, 2, 2)


def test_a_dense_on_a_series_is_a_convolution_of_1x1():
    inputs = keras.Input((20, 4))
    x = keras.layers.TimeDistributed(keras.layers.Dense(6))(inputs)
    x = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    series, last = budget.kernel_shapes(model.nest(keras.Model(inputs, x), exclude=()))
    assert (series.params.kind, series.sizes) == (LayerKind.CONV, (ImageSize(1, 1, 20, 1, 20),))
    assert series.macs == 20 * 24
    assert (last.params.kind, last.macs) == (LayerKind.FULLY_CONNECTED, 360)


def test_blocks_that_do_not_divide_the_channels_count_as_single_weights():
    inputs = keras.Input((4, 4, 6))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    y = keras.layers.Conv2D(2, 3)(inputs)
    x = keras.layers.Conv2D(4, 1, name="last")(keras.layers.Concatenate()([x, y]))
    rows = budget.kernel_shapes(model.nest(keras.Model(inputs, x), block_shape=(1, 4)))
    assert rows[-1].params.block_size == 1


def test_the_zeros_of_grouped_and_transposed_kernels_cost_nothing():
    inputs = keras.Input((5, 4, 8))
    x = keras.layers.Conv2D(12, 3, groups=4, name="grouped")(inputs)
    x = keras.layers.Conv2DTranspose(4, 3, 2, padding="same", name="up")(x)
    nested = model.nest(keras.Model(inputs, x), (0.5, 0.0), exclude=["grouped"])
    grouped, up = budget.kernel_shapes(nested)
    assert (grouped.params.filter_shape, grouped.weights) == ((12, 3, 3, 8), 9 * 2 * 12)
    assert (grouped.nested, grouped.has_gaps) == (False, True)
    assert grouped.macs == 3 * 2 * grouped.weights
    # Blocks of four pixels are made from 2 x 2 input pixels each.
    assert (up.params.filter_shape, up.weights) == ((16, 2, 2, 12), 9 * 4 * 12)
    assert up.sizes == (ImageSize(1, 3, 2, 3, 2),)
    assert stored_bytes(grouped, (0.0,)) == 2 * grouped.weights + 9 * 12
    assert stored_bytes(up, (0.0,)) == 2 * up.weights + 9 * 16
    filled = dataclasses.replace(up, weights=math.prod(up.params.filter_shape))
    assert cycles(up, (0.5,)) < cycles(filled, (0.5,))
    assert cycles(up, (0.5,)) < cycles(up, (0.0,))


def test_a_transposed_series_costs_what_an_image_of_one_row_does():
    series, image = keras.Input((7, 8)), keras.Input((1, 7, 8))
    up = keras.layers.Conv1DTranspose(4, 4, 3, padding="same", name="up")(series)
    like = keras.layers.Conv2DTranspose(4, (1, 4), (1, 3), padding="same", name="up")(image)
    (row,), (want,) = (
        budget.kernel_shapes(model.nest(keras.Model(*ends), (0.5,)))
        for ends in ((series, up), (image, like))
    )
    assert row == want


def test_shapes_must_be_known():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3, name="stem")(inputs))
    with pytest.warns(UserWarning, match="fixed shape"):
        nested = model.nest(keras.Model(inputs, x))
    with pytest.raises(ValueError, match="layer 'stem' must have outputs of a fixed size: got"):
        budget.kernel_shapes(nested)


def test_costs_grow_with_density_and_with_levels():
    shapes = budget.kernel_shapes(model.nest(applications.resnet8()))
    kernel = max(shapes, key=lambda shape: shape.weights)
    for cost in (cycles, stored_bytes):
        by_sparsity = [cost(kernel, (sparsity,)) for sparsity in (1.0, 0.95, 0.9, 0.8, 0.7, 0.6)]
        assert by_sparsity == sorted(set(by_sparsity))
        by_level = [cost(kernel, (0.98, 0.94, 0.9)[3 - count :]) for count in (1, 2, 3)]
        assert by_level == sorted(set(by_level))
        stem = shapes[0]
        assert cost(stem, (0.9,)) == cost(stem, (0.0,)), "it stays dense"


def test_cycles_are_those_of_what_is_stored():
    shapes = budget.kernel_shapes(model.nest(applications.resnet8()))
    kernel = max(shapes, key=lambda shape: shape.weights)
    # Stored dense where that is faster: then the sparsity does not matter.
    assert cycles(kernel, (0.0,)) == cycles(kernel, (0.1,)) < cycles(kernel, (0.1, 0.0))
    # A level that adds nothing has no segment.
    assert cycles(kernel, (0.8, 0.8)) == cycles(kernel, (0.8,)) < cycles(kernel, (0.9, 0.8))
    assert cycles(kernel, (1.0, 0.8)) == cycles(kernel, (0.8,))
    assert cycles(kernel, (1.0,)) < cycles(kernel, (0.99,))


def test_budgets_in_cycles_are_met():
    nested = model.nest(applications.resnet8(), (0.9, 0.8, 0.7))
    budgets = budget.total(nested, cycles)
    rng = np.random.default_rng(0)
    found = Sensitivity(
        (0.5, 0.8, 0.95),
        {layer.name: tuple(np.cumsum(rng.uniform(0, 1, 3))) for layer in nested.nested_layers},
    )
    nested.set_sparsities(allocation.allocate(nested, found, budgets))
    got = budget.total(nested, cycles)
    assert all(spent <= limit for spent, limit in zip(got, budgets, strict=True))
    np.testing.assert_allclose(got, budgets, rtol=1e-3)  # weights are whole
    assert len({layer.sparsities for layer in nested.nested_layers}) > 1


def test_budgets_are_used_up_where_layers_are_equal_at_several_levels():
    """Such layers cost less than levels that all add weights, which the search starts from."""
    nested = model.nest(applications.resnet8(), (0.9, 0.8, 0.7))
    budgets = budget.total(nested, cycles)
    # One cheap layer takes all that is pruned, the others stay as they are.
    names = [layer.name for layer in nested.nested_layers]
    found = Sensitivity(
        (0.5, 0.7, 0.9, 0.99),
        {name: (0.1, 0.2, 0.3, 0.4) if i % 2 else (10, 20, 30, 40) for i, name in enumerate(names)},
    )
    chosen = allocation.allocate(nested, found, budgets)
    assert any(values[0] == values[1] for values in chosen.values())
    nested.set_sparsities(chosen)
    got = np.asarray(budget.total(nested, cycles))
    assert (got <= budgets).all()
    np.testing.assert_allclose(got, budgets, rtol=1e-3)
