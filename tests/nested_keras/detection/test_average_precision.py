import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nested_keras.detection import average_precision
from nested_keras.detection.average_precision import Found, Truth

SIDE = 100.0


def random_boxes(rng, count):
    low = rng.uniform(0, 70, (count, 2))
    return np.concatenate([low, low + rng.uniform(5, 30, (count, 2))], axis=1)


def random_case(seed, *, images, classes, crowds):
    """Objects, and detections near them and elsewhere; some scores are equal."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        count = rng.integers(0, 6)
        boxes = random_boxes(rng, count)
        truth = Truth(boxes, rng.integers(0, classes, count), rng.random(count) < crowds)
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 2, (2 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        far = random_boxes(rng, int(rng.integers(0, 4)))
        labels = np.concatenate([np.repeat(truth.classes, 2), rng.integers(0, classes, len(far))])
        scores = rng.integers(1, 20, len(labels)) / 20
        truths.append(truth)
        found.append(Found(np.concatenate([near, far]), labels, scores))
    return truths, found


def reference(truths, found, classes):
    """Returns the precision of pycocotools [overlap, class], NaN without objects."""

    def xywh(box):
        y0, x0, y1, x1 = (float(value) for value in box)
        return [x0, y0, x1 - x0, y1 - y0]

    objects = [
        {
            "image_id": image,
            "category_id": int(label) + 1,
            "bbox": xywh(box),
            "area": xywh(box)[2] * xywh(box)[3],
            "iscrowd": int(crowd),
        }
        for image, truth in enumerate(truths, start=1)
        for box, label, crowd in zip(truth.boxes, truth.classes, truth.ignored, strict=True)
    ]
    results = [
        {
            "image_id": image,
            "category_id": int(label) + 1,
            "bbox": xywh(box),
            "score": float(score),
        }
        for image, each in enumerate(found, start=1)
        for box, label, score in zip(each.boxes, each.classes, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [{"id": image + 1} for image in range(len(truths))],
            "categories": [{"id": index + 1, "name": str(index)} for index in range(classes)],
            "annotations": [{**each, "id": index + 1} for index, each in enumerate(objects)],
        }
        data.createIndex()
        run = COCOeval(data, data.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
    table = run.eval["precision"][:, :, :, 0, 2].mean(axis=1)
    return np.where(table < 0, np.nan, table)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), images=st.integers(2, 12), classes=st.integers(1, 4))
@pytest.mark.parametrize("crowds", [0.0, 0.3])
def test_coco_is_that_of_pycocotools(seed, images, classes, crowds):
    truths, found = random_case(seed, images=images, classes=classes, crowds=crowds)
    if not any(len(each.scores) for each in found):
        return  # pycocotools takes no empty list
    got = average_precision.coco(truths, found, classes=classes)
    want = reference(truths, found, classes)
    np.testing.assert_allclose(got.table, want, atol=1e-6, rtol=0)


def test_coco_counts_100_detections_of_a_class_and_image():
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 110)
    truth = Truth(boxes, np.zeros(110, int), np.zeros(110, bool))
    found = Found(boxes, np.zeros(110, int), rng.permutation(110) / 110)
    got = average_precision.coco([truth], [found], classes=1)
    np.testing.assert_allclose(got.table, reference([truth], [found], 1), atol=1e-6)
    assert got.mean(0.5) < 0.95


def case(*hits, objects=4):
    """An image with objects in a row, and detections: the index of an object, or None."""
    boxes = np.array([[0, 20 * i, 10, 20 * i + 10] for i in range(objects)], float)
    far = np.array([80, 80, 90, 90.0])
    places = np.array([far if hit is None else boxes[hit] for hit in hits]).reshape(-1, 4)
    zeros = np.zeros(len(hits), int)
    scores = 1.0 - np.arange(len(hits)) / 10
    return boxes, Found(places, zeros, scores)


@pytest.mark.parametrize(
    ("hits", "want"),
    [
        ((0, 1, 2, 3), 1.0),
        ((None, None), 0.0),
        ((), 0.0),
        ((0, None, 1), 0.25 + 0.25 * 2 / 3),
        ((0, 0, 1), 0.25 + 0.25 * 2 / 3),  # an object found again is an error
        ((None, 0, 1, 2), 0.75 * 3 / 4),  # precision falls with recall
    ],
)
def test_voc_by_hand(hits, want):
    boxes, found = case(*hits)
    truth = Truth(boxes, np.zeros(4, int), np.zeros(4, bool))
    got = average_precision.voc([truth], [found], classes=1)
    assert got.mean() == pytest.approx(want, abs=1e-12)


def test_voc_leaves_out_difficult_objects():
    boxes, found = case(0, 1, 1, None, 2)
    ignored = np.array([False, True, False, False])
    truth = Truth(boxes, np.zeros(4, int), ignored)
    # What remains: right, wrong, right, of three objects.
    got = average_precision.voc([truth], [found], classes=1)
    assert got.mean() == pytest.approx(1 / 3 + 1 / 3 * 2 / 3, abs=1e-12)


def test_a_class_without_objects_does_not_count():
    boxes, found = case(0, 1, 2, 3)
    truth = Truth(boxes, np.zeros(4, int), np.zeros(4, bool))
    got = average_precision.voc([truth], [found], classes=3)
    assert np.isnan(got.table[0, 1:]).all()
    assert got.mean() == 1.0


def test_mean_without_objects_is_nan():
    none = Truth(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool))
    _, found = case(None)
    assert np.isnan(average_precision.coco([none], [found], classes=2).mean(0.5))


def test_images_must_be_as_many():
    boxes, found = case(0)
    truth = Truth(boxes, np.zeros(4, int), np.zeros(4, bool))
    with pytest.raises(ValueError, match="detections of as many images as there are: got 1 of 2"):
        average_precision.voc([truth, truth], [found], classes=1)
