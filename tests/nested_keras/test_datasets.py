"""The data sets that installed packages ship."""

import sys

import numpy as np
import pytest

from nested_keras import datasets


def test_digits_are_real_images_split_by_class():
    data = datasets.digits(test_size=500, seed=0)
    assert data.x_train.shape == (1297, 8, 8, 1)
    assert data.x_test.shape == (500, 8, 8, 1)
    assert data.x_train.dtype == np.float32
    assert data.y_test.dtype == np.int32
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    assert data.num_classes == 10
    shares = np.bincount(data.y_test, minlength=10)
    assert shares.min() >= 45


def test_digits_depend_on_the_seed_alone():
    first, again, other = (datasets.digits(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.y_test, other.y_test)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'nested_keras\[demo\]'"):
        datasets.digits()
