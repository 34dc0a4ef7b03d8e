"""What allocation and options of training give is exported like anything else."""

import keras
import numpy as np
import pytest

from nested_keras import export
from nested_keras.nesting import model
from nested_keras.runtime import ReferenceModel
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


def convnet():
    x = inputs = keras.Input((6, 6, 3))
    for filters in (4, 6, 8):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.mark.parametrize("shared_affine", [False, True])
def test_layers_with_the_same_weights_at_several_levels(shared_affine):
    base = nets.randomise(convnet(), seed=0)
    nested = model.nest(base, (0.8, 0.6, 0.4), shared_affine=shared_affine)
    first, last = (layer.name for layer in nested.nested_layers)
    nested.set_sparsities({first: (0.5, 0.5, 0.5), last: (0.7, 0.0, 0.0)})
    nested.prune()
    x = nets.images(8)
    tflite = export.to_tflite(nested, representative_dataset=x)  # verifies every level
    reference = ReferenceModel(tflite)
    assert reference.levels == 3
    output = reference.output_details[0]
    for level in range(3):
        got = (reference.run(x, level=level).astype("float32") - output.zero_point) * output.scale
        assert np.abs(got - nested.at_level(level)(x).numpy()).max() < 0.1
