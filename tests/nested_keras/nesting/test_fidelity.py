import keras
import numpy as np
import pytest
from keras import layers

from nested_keras.nesting import fidelity

pytestmark = pytest.mark.slow


def run(*values):
    names = ("conv", "dense")
    return fidelity.Trace(
        tuple(map(np.asarray, values[2:])),
        tuple(zip(names, map(np.asarray, values[:2]), strict=True)),
    )


def test_random_inputs_have_the_shapes_and_dtypes_of_the_model():
    a = keras.Input((None, 5), batch_size=3, name="a", dtype="float16")
    b = keras.Input((2,), name="b", dtype="int32")
    outputs = [layers.Identity()(each) for each in (a, b)]
    batch = fidelity.example(keras.Model({"a": a, "b": b}, outputs))
    assert {name: each.shape for name, each in batch.items()} == {"a": (3, 32, 5), "b": (2, 2)}
    assert {name: each.dtype for name, each in batch.items()} == {"a": "float16", "b": "int32"}
    assert set(np.unique(batch["b"])) <= {0, 1}


def test_open_dimensions_get_a_size_that_fits():
    inputs = keras.Input((None, None, 1))
    large = keras.Model(inputs, layers.Conv2D(1, 65)(inputs))
    assert fidelity.example(large).shape == (2, 128, 128, 1)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(1, 64)(layers.Conv2D(1, 2)(inputs)))
    assert fidelity.example(keras.Model(inputs, pooled)).shape == (2, 128, 128, 1)
    too_large = keras.Model(inputs, layers.Conv2D(1, 300)(inputs), name="huge")
    with pytest.raises(ValueError, match=r"'huge' must take one of the sizes \(32, .*negative"):
        fidelity.example(too_large)


@pytest.mark.parametrize(
    ("got", "difference"),
    [
        (run([1.0, 2.0], [4.0], [0.0]), None),
        (run([1.0, 2.01], [4.0], [0.0]), None),
        (run([1.0, 2.03], [9.0], [0.0]), "layer 'conv' is off by 0.03, of values up to 2"),
        (run([1.0, 2.0], [4.1], [0.0]), "layer 'dense' is off by 0.1, of values up to 4"),
        (run([1.0, 2.0], [np.nan], [0.0]), "layer 'dense' is off by nan, of values up to 4"),
        (run([1.0, 2.0], [4.0], [1e-7]), None),
        (run([1.0, 2.0], [4.0], [1e-5]), "output 0 is off by 1e-05, of values up to 0"),
        (run([1.0, 2.0], [[4.0]], [0.0]), "layer 'dense' has shape (1, 1) in place of (1,)"),
    ],
)
def test_the_first_difference_is_named(got, difference):
    want = run([1.0, 2.0], [4.0], [0.0])
    assert fidelity.first_difference(want, got, share=0.01) == difference


def test_half_precision_has_a_wider_tolerance():
    def model(dtype):
        return keras.Sequential([keras.Input((2,)), layers.Dense(2, dtype=dtype), layers.Dense(2)])

    found = [fidelity.tolerance(model(d)) for d in ("float32", "mixed_float16", "mixed_bfloat16")]
    assert found == sorted(set(found))
    assert found[0] <= 1e-4
