import numpy as np
import pytest

from nested_keras.runtime import ModelError, ReferenceModel, lower
from nested_keras.runtime.runner import load_program
from tests.nested_keras.tflite.nested_models import conv_params, nested_model, random_layer

SHAPE = (1, 5, 3, 4)


@pytest.fixture(scope="module")
def model():
    return nested_model(random_layer(conv_params(), levels=2, seed=0), shapes=(SHAPE, SHAPE))


def test_a_program_is_loaded_from_bytes_a_path_or_itself(model, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    program = lower(model)
    assert load_program(program) is program
    x = np.random.default_rng(0).integers(-128, 128, (3, *SHAPE[1:]), np.int8)
    expected = ReferenceModel(model).run(x)
    for source in (model, bytearray(model), path, str(path), program):
        loaded = load_program(source)
        assert loaded.levels == 2
        np.testing.assert_array_equal(ReferenceModel(loaded).run(x), expected)


def test_damaged_bytes_are_refused(model):
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        load_program(b"PK\x03\x04 a zip archive")
