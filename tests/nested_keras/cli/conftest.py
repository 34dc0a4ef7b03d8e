"""A small model and its data, in one folder per module."""

import numpy as np
import pytest

from tests import zoo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def model(folder):
    path = folder / "model.tflite"
    path.write_bytes(zoo.exported("four_levels_default_exclude").tflite)
    return path


@pytest.fixture(scope="module")
def data(folder):
    """Test inputs of the model with labels."""
    x = zoo.data("four_levels_default_exclude")
    path = folder / "data.npz"
    np.savez(path, x_test=x, y_test=np.arange(len(x)) % 3)
    return path
