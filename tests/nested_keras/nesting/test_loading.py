import json
import re

import h5py
import keras
import numpy as np
import pytest

import nested_keras
from tests.nested_keras import nets

pytestmark = pytest.mark.slow


def net():
    x = inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Conv2DTranspose(2, 2)(x)
    x = keras.layers.SeparableConv2D(4, 3)(x)
    return nets.randomise(keras.Model(inputs, keras.layers.Flatten()(x)), 0)


@pytest.fixture
def old_file(tmp_path):
    """A function that writes an .h5 file as Keras 2 does: `groups` in every convolution."""

    def write(groups):
        model, path = net(), tmp_path / "old.h5"
        model.save(path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            for layer in config["config"]["layers"]:
                if "Conv" in layer["class_name"]:
                    layer["config"]["groups"] = groups
            file.attrs["model_config"] = json.dumps(config)
        return model, path

    return write


def test_files_of_keras_2_are_read(old_file, tmp_path):
    model, path = old_file(groups=1)
    loaded = nested_keras.load_model(path, compile=False)
    x = nets.images(2)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    loaded.save(tmp_path / "new.keras")
    np.testing.assert_array_equal(nested_keras.load_model(tmp_path / "new.keras")(x), model(x))


def test_groups_that_mean_something_are_refused(old_file):
    _, path = old_file(groups=2)
    with pytest.raises(ValueError, match=r"old.h5: no model that Keras can load: .*groups"):
        nested_keras.load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a .keras or .h5 file: got a file of another kind"),
        (b"\x1c\0\0\0TFL3", "expected a .keras or .h5 file: got a file of another kind"),
        (b"PK\x03\x04 cut", "no model that Keras can load: "),
        (b"\x89HDF\r\n\x1a\n cut", "no model that Keras can load: "),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_files_are_named(content, message, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"model{suffix}: {message}")) as raised:
        nested_keras.load_model(path)
    assert len(str(raised.value).splitlines()) == 1


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.keras or \.h5 file: got a folder"):
        nested_keras.load_model(tmp_path)
    with pytest.raises(FileNotFoundError):
        nested_keras.load_model(tmp_path / "none.keras")


def test_a_model_of_keras_2_is_named():
    model = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()
    with pytest.raises(TypeError, match=r"got a tf_keras \(Keras 2\) model; save it as .h5"):
        nested_keras.nest(model)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_a_nested_model_comes_back_from_an_h5_file(tmp_path):
    nested = nested_keras.nest(nets.randomise(nets.residual(), seed=0), (0.8, 0.5))
    nested.prune()
    nested.save(tmp_path / "nested.h5")
    copy = nested_keras.load_model(tmp_path / "nested.h5")
    x = np.random.default_rng(0).normal(size=(4, *nested.input_shape[1:]))
    for level in range(2):
        np.testing.assert_array_equal(copy.at_level(level)(x), nested.at_level(level)(x))
