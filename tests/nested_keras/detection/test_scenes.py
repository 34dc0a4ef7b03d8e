import itertools

import numpy as np
import pytest

from nested_keras.detection import (
    Anchors,
    Finder,
    Matcher,
    SceneChanges,
    SceneReader,
    dataset,
    read_voc,
)
from nested_keras.detection.detection_data import WHOLE
from tests.nested_keras.detection import pictures

ANCHORS = Anchors.ssd(((6, 8), (3, 4)), (0.3, 0.4, 0.5))
MATCHER = Matcher(ANCHORS.boxes())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = pictures.voc_folder(tmp_path_factory.mktemp("scenes") / "d", objects=1)
    return read_voc(folder, "trainval")


def inside(image, box, margin=0.2):
    """Returns the mean colour of the middle of a box."""
    height, width = image.shape[:2]
    y0, x0, y1, x1 = box * np.array([height, width] * 2)
    dy, dx = margin * (y1 - y0), margin * (x1 - x0)
    return image[int(y0 + dy) : int(y1 - dy) + 1, int(x0 + dx) : int(x1 - dx) + 1].mean((0, 1))


def shows(image, truth, classes):
    """Says whether each box that is not ignored holds the colour of its class."""
    for box, label, ignored in zip(truth.boxes, truth.classes, truth.ignored, strict=True):
        red, _, blue = inside(image, box)
        if not ignored and (red > blue) != (classes[label] == "red"):
            return False
    return True


def test_images_are_resized_and_scaled(data):
    reader = SceneReader((24, 32, 3), pixels=(-1.0, 1.0))
    images = reader.images(data)
    assert (images.shape, images.dtype) == ((6, 24, 32, 3), np.float32)
    assert images.min() >= -1.0
    assert images.max() <= 1.0
    for image, example in zip(images, data.examples, strict=True):
        assert shows(image, example.truth, data.classes)
    assert SceneReader((24, 32, 1)).images(data).shape == (6, 24, 32, 1)


def test_a_region_beyond_the_image_is_filled_with_its_mean(data):
    reader = SceneReader((40, 40, 3))
    image = reader.read(data.examples[0], (-1.0, -1.0, 1.0, 1.0))
    np.testing.assert_allclose(
        image[:20], np.broadcast_to(image[20:, 20:].mean((0, 1)), (20, 40, 3)), rtol=1e-4
    )
    np.testing.assert_array_equal(image[20:, 20:], SceneReader((20, 20, 3)).read(data.examples[0]))


@pytest.mark.parametrize(
    "changes",
    [
        SceneChanges(cut=0.5, shrink=1.0, flip=False, colour=0.0),
        SceneChanges(cut=1.0, shrink=2.5, flip=False, colour=0.0),
        SceneChanges(cut=1.0, shrink=1.0, flip=True, turn=True, colour=0.0),
        SceneChanges(colour=0.3),
    ],
)
def test_boxes_follow_the_image(data, changes):
    reader = SceneReader((64, 64, 3))
    for seed, example in itertools.product(range(15), data.examples):
        image, truth = reader.changed(example, changes, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert 0.0 <= image.min() <= image.max() <= 255.0
        assert len(truth.boxes) == 1
        assert shows(image, truth, data.classes)


def test_regions_are_of_all_three_kinds(data):
    changes = SceneChanges(cut=0.5, shrink=2.0)
    rng = np.random.default_rng(0)
    regions = [changes.region(data.examples[0].truth, rng) for _ in range(60)]
    sizes = np.array([(y1 - y0, x1 - x0) for y0, x0, y1, x1 in regions])
    assert WHOLE in regions
    assert (sizes < 0.9).any()
    assert (sizes > 1.1).any()


def test_wrong_changes_are_refused():
    with pytest.raises(ValueError, match=r"changes must have 0 < cut <= 1.*got 0.0, 2.0 and 0.5"):
        SceneChanges(cut=0.0)


def epochs(found, count):
    return [
        [(x.numpy(), y["boxes"].numpy(), y["scores"].numpy()) for x, y in found]
        for _ in range(count)
    ]


def same(one, two):
    return all(
        np.array_equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(first, second, strict=True)
    )


def test_batches_in_order_are_the_images_and_their_targets(data):
    reader = SceneReader((24, 32, 3))
    found = dataset(data, reader, MATCHER, batch_size=4)
    assert len(found) == 2
    ((first, second),) = epochs(found, 1)
    assert [len(first[0]), len(second[0])] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]]), reader.images(data))
    finder = Finder(MATCHER.anchors)
    for boxes, scores, example in zip(first[1], first[2], data.examples, strict=False):
        logits = 20.0 * np.eye(3)[np.maximum(scores, 0).astype(int)]
        (got,) = finder.find({"boxes": boxes[None, :, :4], "scores": logits[None]})
        best = got.boxes[got.scores > 0.5]
        np.testing.assert_allclose(best, example.truth.boxes, atol=1e-5)


def test_order_and_changes_depend_on_seed_and_epoch_alone(data):
    reader, changes = SceneReader((24, 32, 3)), SceneChanges()
    make = {"batch_size": 4, "changes": changes, "seed": 3, "passes": 2}
    first = epochs(dataset(data, reader, MATCHER, **make), 3)
    assert [len(each) for each in first] == [3, 3, 3]
    assert not same(first[0], first[1])
    resumed = epochs(dataset(data, reader, MATCHER, **make, epoch=lambda: 2), 1)
    assert same(first[2], resumed[0])
    other = epochs(dataset(data, reader, MATCHER, **{**make, "seed": 4}), 1)
    assert not same(first[0], other[0])


def test_wrong_arguments_are_refused(data):
    reader = SceneReader((24, 32, 3))
    with pytest.raises(ValueError, match=r"batch_size in 1\.\.6: got 1 and 7"):
        dataset(data, reader, MATCHER, batch_size=7, seed=0)
    with pytest.raises(ValueError, match="passes must be at least 1"):
        dataset(data, reader, MATCHER, batch_size=2, passes=0)
    with pytest.raises(ValueError, match="changes must go with a seed: got None"):
        dataset(data, reader, MATCHER, batch_size=2, changes=SceneChanges())
    with pytest.raises(ValueError, match=r"height, width, 1 or 3\]: got \[8, 8, 2\]"):
        SceneReader((8, 8, 2))
