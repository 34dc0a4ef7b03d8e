import numpy as np
import pytest

from benchmarks.accuracy import data


def images(count=50, size=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    y = np.arange(count, dtype=np.int32) % 10
    return data.Data(x, y, data.normalised(x[:4]), y[:4], classes=10)


def test_load_reads_the_first_images_and_flattens_labels(tmp_path):
    x = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    y = np.arange(5)[:, np.newaxis]
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    loaded = data.load(tmp_path / "d.npz", train_images=4, test_images=2)
    np.testing.assert_array_equal(loaded.x_train, x[:4])
    np.testing.assert_array_equal(loaded.y_train, [0, 1, 2, 3])
    np.testing.assert_allclose(loaded.x_test, x[:2] / 255.0, atol=1e-6)
    assert (loaded.classes, loaded.y_test.tolist()) == (5, [0, 1])


def test_load_refuses_images_that_are_scaled_already(tmp_path):
    x = np.zeros((2, 2, 2, 3), np.float32)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[0, 1])
    with pytest.raises(ValueError, match="expected uint8 images, got float32"):
        data.load(tmp_path / "d.npz")


def test_augmented_images_are_crops_of_the_padded_image_or_its_mirror_image():
    x = images(30).x_train
    cropped = data.augmented(x, np.random.default_rng(1))
    assert (cropped.shape, cropped.dtype) == (x.shape, np.float32)
    seen = set()
    for image, crop in zip(data.normalised(x), cropped, strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        found = [
            (top, left, mirror)
            for top in range(9)
            for left in range(9)
            for mirror in (1, -1)
            if np.array_equal(padded[top : top + 6, left : left + 6][:, ::mirror], crop)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 20
    assert {mirror for _, _, mirror in seen} == {1, -1}


def test_an_epoch_depends_on_seed_and_number_alone():
    def epoch(number, seed=3):
        epochs = data.Epochs(images(), batch_size=16, seed=seed)
        epochs.epoch = number
        return [np.concatenate(parts) for parts in zip(*epochs, strict=True)]

    x, y = epoch(2)
    assert (len(x), np.unique(y).size) == (48, 10), "three batches of 16; two images are left out"
    np.testing.assert_array_equal(epoch(2)[0], x)
    assert not np.array_equal(epoch(1)[0], x)
    assert not np.array_equal(epoch(2, seed=4)[0], x)


def test_the_dataset_gives_the_epoch_that_is_set_when_it_is_iterated():
    epochs = data.Epochs(images(), batch_size=16, seed=3)
    dataset = epochs.dataset()
    assert int(dataset.cardinality()) == epochs.steps == 3
    for number in (1, 0):
        epochs.epoch = number
        got = [x for x, _ in dataset.as_numpy_iterator()]
        np.testing.assert_array_equal(got, [x for x, _ in epochs])


def test_images_for_statistics_are_whole_batches_of_the_first_epoch():
    epochs = data.Epochs(images(), batch_size=16, seed=3)
    epochs.epoch = 5
    assert len(epochs.images(20)) == 32
    assert len(epochs.images(1000)) == 48
    np.testing.assert_array_equal(epochs.images(10), next(iter(epochs))[0])
