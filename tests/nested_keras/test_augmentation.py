"""Shifts and mirrored images, and which of them a model tolerates."""

import numpy as np
import pytest

from nested_keras.augmentation import FLIP, SHIFT, Augmentation, tolerated


@pytest.fixture
def images():
    return np.random.default_rng(0).random((50, 16, 8, 2), np.float32)


def test_each_image_is_shifted_whole(images):
    found = SHIFT(images, np.random.default_rng(0))
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    padded = np.pad(images, ((0, 0), (2, 2), (1, 1), (0, 0)), mode="edge")
    seen = set()
    for image, source in zip(found, padded, strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(3)
            if np.array_equal(source[top : top + 16, left : left + 8], image)
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 10  # of fifteen


def test_new_pixels_repeat_the_border(images):
    """Values that no image has, such as a black edge on light images, would mislead a model."""
    light = 0.5 + images
    found = Augmentation(shift=0.5)(light, np.random.default_rng(0))
    assert found.min() >= 0.5
    same = np.broadcast_to(light[:, :1, :1], light.shape)
    np.testing.assert_array_equal(SHIFT(same, np.random.default_rng(0)), same)


def test_half_of_the_images_are_mirrored(images):
    found = FLIP(images, np.random.default_rng(0))
    same = (found == images).all(axis=(1, 2, 3))
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 15 < mirrored.sum() < 35


def test_the_generator_decides(images):
    both = Augmentation(shift=0.25, flip=True)
    first, again, other = (both(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not Augmentation()
    assert both


def test_what_a_model_does_not_recognise_is_left_out():
    """A bar to the left or to the right of the middle, far from the border."""
    images = np.zeros((20, 16, 16, 1), np.float32)
    labels = np.arange(20) % 2
    images[labels == 0, :, 3:5] = 1
    images[labels == 1, :, 11:13] = 1

    def side(x):
        return float(np.mean((x[:, :, 8:].sum(axis=(1, 2, 3)) > 1) == labels))

    assert tolerated(side, images) == Augmentation(shift=0.125, flip=False)

    def anything(x):
        return float(np.mean(x.max(axis=(1, 2, 3)) == 1))

    assert tolerated(anything, images) == Augmentation(shift=0.125, flip=True)

    def exact(x):
        return float(np.mean([np.array_equal(a, b) for a, b in zip(x, images, strict=True)]))

    assert not tolerated(exact, images)
