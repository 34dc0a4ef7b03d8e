"""Saved datasets that a command reads or refuses."""

import numpy as np
import pytest
import tensorflow as tf

from nested_keras.cli import saved_dataset
from nested_keras.cli.parts import Reading

SHAPE = (None, 3, 2)


def save(folder, x, y, *, batch=None):
    data = tf.data.Dataset.from_tensor_slices((x, y))
    (data if batch is None else data.batch(batch)).save(str(folder))


@pytest.mark.parametrize("batch", [None, 4])
def test_datasets_in_batches_or_not(batch, tmp_path):
    x = np.random.default_rng(0).random((10, 3, 2), np.float32)
    save(tmp_path / "data", x, np.arange(10) % 2, batch=batch)
    assert saved_dataset.is_saved(tmp_path / "data")
    found = [
        saved_dataset.load(tmp_path / "data", part, shape=SHAPE, reading=Reading())
        for part in ("train", "test")
    ]
    assert [part.x.shape for part in found] == [(8, 3, 2), (2, 3, 2)]
    assert sorted(np.concatenate([part.x for part in found]).ravel()) == sorted(x.ravel())


def test_two_folders_are_the_two_parts(tmp_path):
    for part, count in (("train", 4), ("validation", 3)):
        save(tmp_path / part, np.full((count, 3, 2), float(count)), np.zeros(count, int))
    assert saved_dataset.is_saved(tmp_path)
    for part, count in (("train", 4), ("test", 3)):
        found = saved_dataset.load(tmp_path, part, shape=SHAPE, reading=Reading())
        assert found.x.shape == (count, 3, 2)
        assert (found.x == count).all()


def test_bad_datasets_are_one_line(tmp_path):
    data = tf.data.Dataset.from_tensor_slices(np.zeros((4, 3, 2)))
    data.save(str(tmp_path / "alone"))
    with pytest.raises(ValueError, match=r"expected elements \(input, label\): got TensorSpec"):
        saved_dataset.load(tmp_path / "alone", "train", shape=SHAPE, reading=Reading())
    save(tmp_path / "one-hot", np.zeros((4, 3, 2)), np.eye(4))
    with pytest.raises(ValueError, match="must hold class indices"):
        saved_dataset.load(tmp_path / "one-hot", "train", shape=SHAPE, reading=Reading())
    save(tmp_path / "none", np.zeros((0, 3, 2)), np.zeros(0))
    with pytest.raises(ValueError, match="expected examples: got none"):
        saved_dataset.load(tmp_path / "none", "train", shape=SHAPE, reading=Reading())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset_spec.pb").write_text("no")
    with pytest.raises(ValueError, match=r"cannot be read as a saved tf.data.Dataset"):
        saved_dataset.load(tmp_path / "broken", "train", shape=SHAPE, reading=Reading())
    save(tmp_path / "parts" / "train", np.zeros((4, 3, 2)), np.zeros(4, int))
    with pytest.raises(ValueError, match="expected a saved dataset in the folder test: got none"):
        saved_dataset.load(tmp_path / "parts", "test", shape=SHAPE, reading=Reading())
