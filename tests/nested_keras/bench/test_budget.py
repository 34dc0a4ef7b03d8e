"""Budgets in cycles against what the benchmark counts."""

import keras
import numpy as np
import pytest

from nested_keras import applications, callbacks, export
from nested_keras.allocation import budget
from nested_keras.bench import whole_model
from nested_keras.nesting import model

pytestmark = pytest.mark.arm

# Of the cost model (benchmarks/kernels.md), and for weights that are not spread evenly.
TOLERANCE = 0.05
KERNELS = {"NestedSparseConv", "Conv2D", "DepthwiseConv2D", "FullyConnected"}


@pytest.mark.parametrize(
    "make", [applications.resnet8, applications.mobilenet_v1, applications.ds_cnn]
)
def test_the_cycles_of_whole_models_are_predicted(make):
    keras.utils.set_random_seed(0)
    nested = model.nest(make(), (0.9, 0.7))
    nested.prune()
    images = np.random.default_rng(0).normal(size=(64, *nested.input_shape[1:])).astype("float32")
    # Levels of like scale, as training leaves them: channels a thousand times smaller than others
    # would take the kernels' exact requantisation, which the prediction does not count.
    callbacks.reestimate_batch_norm(nested, images, batch_size=32)
    counted = whole_model.run(export.to_tflite(nested, representative_dataset=images[:8]))
    layers = [sum(op.cycles for op in cost.ops if op.kind in KERNELS) for cost in counted.levels]
    assert layers[0] > 0.7 * counted.levels[0].cycles
    np.testing.assert_allclose(budget.total(nested, budget.cycles), layers, rtol=TOLERANCE)
