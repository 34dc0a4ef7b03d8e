"""A saved model loads bit for bit, on every promised Keras, whatever it is made of."""

import keras
import numpy as np
import pytest

from nested_keras import export, load_model
from nested_keras.distillation import Distillation
from nested_keras.nesting import model
from tests.nested_keras import nets
from tests.nested_keras.saved import make

pytestmark = pytest.mark.slow

GOLDEN = sorted(path.name for path in make.FOLDER.glob("*.keras"))


def batch(nested):
    """A batch of the shape and structure that a model takes, and targets that fit its outputs."""
    x = keras.tree.map_structure(lambda t: nets.images(8, t.shape[1:]), nested.input)
    y = keras.tree.map_structure(lambda t: np.zeros((8, t.shape[-1]), "float32"), nested.output)
    return x, y


def regularised():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", bias_regularizer="l1")(inputs)
    x = keras.layers.BatchNormalization(gamma_regularizer="l2", axis=3)(x)
    x = keras.layers.Conv2D(4, 3, activity_regularizer="l2", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_constraint="non_neg")(x))


def two_inputs():
    a, b = keras.Input((12,), name="a"), keras.Input((12,), name="b")
    x = keras.layers.Dense(12, activation="relu")(keras.layers.Add()([a, b]))
    return keras.Model([a, b], keras.layers.Dense(3)(keras.layers.Concatenate()([x, b])))


def mixed(net, policy):
    """A net of layers that compute in half precision."""

    def make_net():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return net()
        finally:
            keras.config.set_dtype_policy(before)

    return make_net


_OWN = {"overrides": {"head": {"sparsities": (0.5, 0.4, 0.1)}}}
_IN_PLACE = {"distillation": Distillation(in_place=True), "sandwich": True, "routing": 0.5}
FEATURES = {
    "dropout": (nets.sequential, {}, {}),
    "sub-models": (nets.submodels, {}, {}),
    "dicts": (nets.branches, {}, {}),
    "regularisers": (regularised, {"block_shape": (1, 2)}, {}),
    "shared gamma and beta": (nets.mobile, {"shared_affine": True}, {}),
    "one level": (nets.shared, {"sparsities": (0.5,)}, {}),
    "sparsities and objectives": (nets.dense_net, _OWN, _IN_PLACE),
    "split batch of two inputs": (two_inputs, {}, {"split_batch": True}),
    "bfloat16": (mixed(two_inputs, "mixed_bfloat16"), {}, {}),
    "float16": (mixed(nets.residual, "mixed_float16"), {}, {}),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_saved_model_is_the_same_bits_and_trains_on(feature, tmp_path):
    net, nest_options, compile_options = FEATURES[feature]
    nested = model.nest(nets.randomise(net(), seed=0), **nest_options)
    nested.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True, **compile_options)
    x, y = batch(nested)
    nested.train_on_batch(x, y)
    nested.prune()
    nested.train_on_batch(x, y)
    nested.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert type(loaded) is model.NestedModel
    assert loaded.get_compile_config() == nested.get_compile_config()
    for mine, theirs in zip(variables(nested), variables(loaded), strict=True):
        assert mine.path.split("/")[-1] == theirs.path.split("/")[-1]
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    for level in range(nested.levels):
        assert_equal(loaded.at_level(level)(x), nested.at_level(level)(x))
    loaded.train_on_batch(x, y)
    assert int(loaded.optimizer.iterations) == 3


def assert_equal(outputs, expected):
    keras.tree.map_structure(np.testing.assert_array_equal, outputs, expected)


def variables(nested):
    return [*nested.variables, *nested.optimizer.variables]


@pytest.mark.parametrize("net", [nets.residual, nets.branches, nets.submodels])
def test_a_clone_has_layers_of_its_own_and_the_compiled_settings(net):
    nested = model.nest(net())
    nested.compile("sgd", "mse", routing=0.25)
    clone = keras.models.clone_model(nested)
    assert type(clone) is model.NestedModel
    assert not {id(v) for v in clone.variables} & {id(v) for v in nested.variables}
    assert clone.get_compile_config() == nested.get_compile_config()
    clone.set_weights(nested.get_weights())
    x, _ = batch(nested)
    assert_equal(clone.at_level(0)(x), nested.at_level(0)(x))


def test_ranges_of_quantisation_aware_training_are_saved(tmp_path):
    nested = model.nest(nets.randomise(make.base(), seed=0))
    nested.prune()
    x = nets.images(8)
    export.quantize_aware(nested, representative_dataset=x)
    nested.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.quantization == nested.quantization
    assert export.to_tflite(loaded, representative_dataset=x) == export.to_tflite(
        nested, representative_dataset=x
    )


def test_there_is_a_file_of_an_older_keras():
    assert GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
def test_files_of_older_keras_load_and_train_on(name):
    path = make.FOLDER / name
    expected = np.load(path.with_suffix(".npz"))
    nested = load_model(path)
    assert type(nested) is model.NestedModel
    assert nested.sparsities == (0.75, 0.5)
    assert [nested.level_sparsity(level) for level in range(2)] == pytest.approx(
        [0.75, 0.5], abs=0.01
    )
    # The last bit of a convolution is TensorFlow's, whose versions differ.
    np.testing.assert_allclose(make.outputs(nested), expected["before"], rtol=1e-5, atol=1e-6)
    assert int(nested.optimizer.iterations) == 3
    nested.train_on_batch(*make.batch())
    np.testing.assert_allclose(make.outputs(nested), expected["after"], rtol=1e-3, atol=1e-4)
