"""Budgets in cycles against what the benchmark counts."""

import keras
import numpy as np
import pytest

from nested_keras import applications, callbacks, export
from nested_keras.allocation import budget
from nested_keras.bench import whole_model
from nested_keras.cortex_m import cycles
from nested_keras.nesting import model
from nested_keras.runtime.runner import load_program
from nested_keras.tflite.operators import NestedSparseConv

pytestmark = pytest.mark.arm

# Of the cost model (benchmarks/kernels.md), and for weights that are not spread evenly.
TOLERANCE = 0.05
KERNELS = {"NestedSparseConv", "Conv2D", "DepthwiseConv2D", "FullyConnected"}


def few_channels():
    """The first layer stays dense, and is faster as a list of all its weights."""
    model = keras.Sequential([keras.Input((8, 8, 2))])
    for strides in (1, 2):
        model.add(keras.layers.Conv2D(8, 3, strides, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(3))
    return model


@pytest.mark.parametrize(
    "make", [applications.resnet8, applications.mobilenet_v1, applications.ds_cnn]
)
def test_the_cycles_of_whole_models_are_predicted(make):
    keras.utils.set_random_seed(0)
    nested = model.nest(make(), (0.9, 0.7))
    nested.prune()
    images = np.random.default_rng(0).normal(size=(64, *nested.input_shape[1:])).astype("float32")
    # Levels of like scale, as training leaves them.
    callbacks.reestimate_batch_norm(nested, images, batch_size=32)
    counted = whole_model.run(export.to_tflite(nested, representative_dataset=images[:8]))
    # An addition runs joined with the convolution before it, and is counted with it.
    kinds = (*KERNELS, "Add")
    layers = [sum(op.cycles for op in cost.ops if op.kind in kinds) for cost in counted.levels]
    assert layers[0] > 0.7 * counted.levels[0].cycles
    assert counted.levels[0].cycles < counted.levels[1].cycles
    np.testing.assert_allclose(budget.total(nested, budget.cycles), layers, rtol=TOLERANCE)


def test_a_budget_is_what_inspect_says_of_the_file():
    keras.utils.set_random_seed(0)
    nested = model.nest(few_channels(), (0.9, 0.8))
    nested.prune()
    images = np.random.default_rng(0).normal(size=(64, 8, 8, 2)).astype("float32")
    callbacks.reestimate_batch_norm(nested, images, batch_size=32)
    layers = export.summarize_model(export.to_tflite(nested, representative_dataset=images))
    inspected = [sum(layer.cycles[level] for layer in layers) for level in range(2)]
    np.testing.assert_allclose(budget.total(nested, budget.cycles), inspected, rtol=0.03)


def test_levels_of_random_weights_cost_more_the_denser_they_are():
    """Without BatchNorm statistics the sparsest level has by far the smallest activations.

    They need no factors that move channels out of the kernels' short requantisation.
    """
    keras.utils.set_random_seed(0)
    nested = model.nest(applications.mobilenet_v1(), (0.9, 0.8, 0.7))
    nested.prune()
    images = np.random.default_rng(0).normal(size=(8, *nested.input_shape[1:])).astype("float32")
    program = load_program(export.to_tflite(nested, representative_dataset=images))
    layers = [op for op in program.ops if isinstance(op, NestedSparseConv)]
    predicted = [
        cycles.predict_levels(
            op.layer, cycles.ImageSize.of(op.layer.params.kind, *program.shapes(op))
        )
        for op in layers
    ]
    low, middle, high = np.sum(predicted, axis=0)
    assert low < 0.9 * middle < 0.9 * 0.9 * high
    channels = sum(op.layer.params.out_channels for op in layers)
    assert np.sum([cycles.exact_channels(op.layer) for op in layers]) < 0.01 * channels
