import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.detection import Anchors, Matcher, box_coding, matching
from nested_keras.detection.matching import BACKGROUND, IGNORED

ANCHORS = Anchors(((5, 5), (2, 2)), (((0.2, 0.2), (0.3, 0.15)), ((0.5, 0.5),))).boxes()


def boxes(rng, count):
    low = rng.uniform(0, 0.7, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.02, 0.3, (count, 2))], axis=1)


def test_iou_by_hand():
    first = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], float)
    second = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]], float)
    want = [[1 / 7, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(matching.iou(first, second), want)


def matched(overlaps, ignored=None, **thresholds):
    values = np.array(overlaps, float)
    flags = np.zeros(values.shape[1], bool) if ignored is None else np.array(ignored)
    return matching.match(values, flags, **{"positive": 0.5, "negative": 0.4, **thresholds})


def test_match_by_threshold():
    got = matched([[0.9, 0], [0.5, 0.2], [0.45, 0], [0.39, 0.1], [0, 0.3]])
    assert got.tolist() == [0, 0, IGNORED, BACKGROUND, 1]


def test_each_box_gets_an_anchor_of_its_own_the_best_pair_first():
    # Both boxes like anchor 0 best; the second has to take anchor 1.
    assert matched([[0.9, 0.8], [0.1, 0.3], [0.0, 0.1]]).tolist() == [0, 1, BACKGROUND]


def test_ignored_boxes_are_neither_found_nor_background():
    got = matched([[0.9, 0], [0.6, 0.55], [0.1, 0.0]], [True, False])
    assert got.tolist() == [IGNORED, 1, BACKGROUND]


def test_a_box_that_overlaps_no_anchor_gets_none():
    assert matched([[0.0], [0.0]]).tolist() == [BACKGROUND, BACKGROUND]


def test_no_boxes():
    assert matched(np.zeros((3, 0))).tolist() == 3 * [BACKGROUND]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 12))
def test_targets(seed, count):
    rng = np.random.default_rng(seed)
    objects, classes = boxes(rng, count), rng.integers(0, 5, count)
    offsets, scores = Matcher(ANCHORS).targets(objects, classes)
    assert (offsets.dtype, scores.dtype) == (np.float32, np.float32)
    has = offsets[:, 4] == 1
    assert ((scores > 0) == has).all()
    assert not offsets[~has].any()
    overlaps = matching.iou(box_coding.corners(ANCHORS), objects.astype(np.float32))
    best = overlaps.max(axis=1, initial=0.0)
    assert has[best >= 0.5].all()
    assert (best[scores == 0] < 0.4).all()
    # What an anchor is to predict is a box of its class; each box is found.
    got = box_coding.decode(offsets[:, :4], ANCHORS)[has]
    near = np.abs(got[:, None] - objects[None]).max(axis=2) < 1e-5
    assert near.any(axis=1).all()
    assert near.any(axis=0).all() or len(ANCHORS) < count
    for row, label in zip(near, scores[has] - 1, strict=True):
        assert label in classes[row]


@pytest.mark.parametrize("pair", [(0.5, 0.6), (1.2, 0.4), (0.5, 0.0)])
def test_wrong_overlaps_are_refused(pair):
    positive, negative = pair
    with pytest.raises(ValueError, match="overlaps must be 0 < negative <= positive <= 1: got"):
        Matcher(ANCHORS, positive=positive, negative=negative)
