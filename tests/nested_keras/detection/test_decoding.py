"""Boxes in integers, against the same in real numbers."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nested_keras.detection import decoding
from tests.nested_keras.detection.detectors import random_anchors, random_decoder, random_outputs

ANCHORS = np.array([[0.5, 0.5, 0.25, 0.5], [0.25, 0.75, 0.5, 0.25]], np.float32)
SETTINGS = {"boxes_scale": 0.05, "boxes_zero_point": 0, "scores_scale": 0.1, "classes": 2}
NEVER, SURE = -128, 127


def scores(*classes, count=2):
    """Scores of one image [1, 2, 3]: each anchor is sure of the class given, None for none."""
    values = np.full((1, count, 3), NEVER, np.int8)
    for anchor, index in enumerate(classes):
        values[0, anchor, 0 if index is None else index + 1] = SURE
    return values


def softmax(logits):
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def real_boxes(offsets, anchors):
    """The boxes of real offsets, cut at the edges of the image; docs/detection.md."""
    centre = anchors[:, :2] + 0.1 * offsets[:, :2] * anchors[:, 2:]
    half = 0.5 * anchors[:, 2:] * np.exp(0.2 * offsets[:, 2:])
    return np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, 1)


def test_offsets_of_zero_give_the_anchors():
    decoder = decoding.decoder(ANCHORS, **SETTINGS)
    (detections,) = decoder.detect(np.zeros((1, 2, 4), np.int8), scores(0, 1))
    assert detections.dtype == np.int32
    found = decoding.found(detections)
    wanted = [[0.375, 0.25, 0.625, 0.75], [0, 0.625, 0.5, 0.875]]
    np.testing.assert_array_equal(found.boxes, wanted)
    np.testing.assert_allclose(found.scores, [1, 1], atol=1e-6)
    assert found.classes.tolist() == [0, 1]


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-4, 0.12),
    point=st.integers(-128, 127),
)
def test_boxes_differ_from_real_ones_by_less_than_a_thousandth(seed, scale, point):
    """docs/detection.md: while 0.1 * offset is below 4 and a box is below 32 anchors."""
    rng = np.random.default_rng(seed)
    anchors = random_anchors(rng, 50)
    decoder = decoding.decoder(
        anchors, **{**SETTINGS, "boxes_scale": scale, "boxes_zero_point": point}
    )
    offsets = rng.integers(-128, 128, (50, 4)).astype(np.int8)
    real = scale * (offsets.astype(np.float64) - point)
    real[:, 2:] = np.minimum(real[:, 2:], np.log(32) / 0.2)
    offsets[:, 2:] = np.minimum(offsets[:, 2:], np.log(32) / 0.2 / scale + point)
    real = scale * (offsets.astype(np.float64) - point)
    found = decoder.corners(offsets, np.arange(50)) / 2**decoding.COORDINATE_BITS
    assert np.abs(found - real_boxes(real, anchors)).max() < 1e-3


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 254), scale=st.floats(1e-3, 2))
def test_scores_differ_from_softmax_by_less_than_a_millionth_for_each_sixteen_classes(
    seed, classes, scale
):
    rng = np.random.default_rng(seed)
    decoder = decoding.decoder(
        random_anchors(rng, 1), **{**SETTINGS, "scores_scale": scale, "classes": classes},
        limits=decoding.Limits(score_threshold=2.0**-24, iou_threshold=1.0, max_boxes=254),
    )  # fmt: skip
    values = rng.integers(-128, 128, (1, 1, classes + 1)).astype(np.int8)
    offsets = np.full((1, 1, 4), -decoder.offset, np.int8)
    (found,) = decoder.detect(offsets, values)
    wanted = softmax(scale * values[0, 0].astype(np.float64))[1:]
    got = np.zeros(classes)
    got[found[:, 5]] = found[:, 4] / 2**24
    assert np.abs(got - wanted).max() <= (classes + 3) * 2.0**-25


def plain_detections(decoder, boxes, values):
    """One candidate at a time, in Python's integers."""
    places = []
    for anchor, row in enumerate(values.tolist()):
        exps = [int(decoder.exp_table[max(row) - value]) for value in row]
        for index, exp in enumerate(exps[1:]):
            score = ((exp << 24) + sum(exps) // 2) // sum(exps)
            if score >= decoder.score_threshold:
                places.append((-score, anchor, index))
    kept = []
    for minus_score, anchor, index in sorted(places)[: decoder.max_candidates]:
        box = decoder.corners(boxes[[anchor]], np.array([anchor]))[0].tolist()
        room = (box[2] - box[0]) * (box[3] - box[1])
        for other in kept:
            height = min(box[2], other[2]) - max(box[0], other[0])
            width = min(box[3], other[3]) - max(box[1], other[1])
            shared = max(height, 0) * max(width, 0)
            union = room + (other[2] - other[0]) * (other[3] - other[1]) - shared
            if other[5] == index and shared * 2**14 > decoder.iou_threshold * union:
                break
        else:
            if room and len(kept) < decoder.max_boxes:
                kept.append([*box, -minus_score, index])
    return np.array(kept, np.int32).reshape(-1, 6)


@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0, 3, 127]),
    limits=st.sampled_from([(1, 1), (3, 5), (50, 400)]),
    iou=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_the_boxes_are_those_of_a_plain_search(seed, spread, limits, iou):
    rng = np.random.default_rng(seed)
    decoder = random_decoder(
        rng, iou_threshold=iou, score_threshold=0.2, max_boxes=limits[0], max_candidates=limits[1]
    )
    boxes, values = random_outputs(rng, decoder, spread=spread)
    (found,) = decoder.detect(boxes, values)
    np.testing.assert_array_equal(found, plain_detections(decoder, boxes[0], values[0]))


def test_of_equal_boxes_of_a_class_the_first_stays():
    anchors = np.repeat(ANCHORS[:1], 2, axis=0)
    decoder = decoding.decoder(anchors, **SETTINGS)
    zeros = np.zeros((1, 2, 4), np.int8)
    (found,) = decoder.detect(zeros, scores(1, 1))
    assert len(found) == 1
    (found,) = decoder.detect(zeros, scores(1, 0))
    assert found[:, 5].tolist() == [1, 0]


def test_an_image_without_objects_has_no_boxes():
    decoder = decoding.decoder(ANCHORS, **SETTINGS)
    (found,) = decoder.detect(np.zeros((1, 2, 4), np.int8), scores(None, None))
    assert found.shape == (0, 6)


def test_a_box_outside_the_image_is_left_out():
    decoder = decoding.decoder(ANCHORS, **{**SETTINGS, "boxes_scale": 1.0})
    offsets = np.zeros((1, 2, 4), np.int8)
    offsets[0, 0, 0] = 127
    (found,) = decoder.detect(offsets, scores(0, 0))
    assert len(found) == 1
    assert found[0, :4].tolist() == [0, 10240, 8192, 14336]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_boxes": 0}, "max_boxes must be in 1..4096: got 0"),
        ({"max_boxes": 9, "max_candidates": 8}, "max_candidates must be in 9..32768: got 8"),
        ({"score_threshold": 0.0}, "score_threshold must be in"),
        ({"score_threshold": float("nan")}, "score_threshold must be in"),
        ({"iou_threshold": 1.1}, "iou_threshold must be in 0..1: got 1.1"),
    ],
)
def test_limits_out_of_range_are_refused(changes, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        decoding.Limits(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": 0}, "classes must be in 1..254: got 0"),
        ({"classes": 255}, "classes must be in 1..254: got 255"),
        ({"boxes_zero_point": 128}, "boxes_zero_point must be in -128..127: got 128"),
        ({"boxes_scale": 0.0}, "boxes_scale must be finite and above 0: got 0.0"),
        ({"scores_scale": float("inf")}, "scores_scale must be finite and above 0: got inf"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        decoding.decoder(ANCHORS, **{**SETTINGS, **changes})


@pytest.mark.parametrize(
    ("anchors", "text"),
    [
        (np.zeros((0, 4)), "anchors must be [A, 4] with A >= 1: got [0, 4]"),
        (np.zeros((3, 5)), "anchors must be [A, 4] with A >= 1: got [3, 5]"),
        (np.array([[0.5, 0.5, 4.5, 1]]), "in 0..4 of the image: got [0.5, 0.5, 4.5, 1.0]"),
        (np.array([[0.5, np.nan, 1, 1]]), "in 0..4 of the image: got [0.5, nan, 1.0, 1.0]"),
    ],
)
def test_wrong_anchors_are_refused(anchors, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        decoding.decoder(anchors, **SETTINGS)


def test_wrong_outputs_are_refused():
    decoder = decoding.decoder(ANCHORS, **SETTINGS)
    boxes = np.zeros((1, 2, 4), np.int8)
    with pytest.raises(ValueError, match=re.escape("'boxes' must be int8 [n, 2, 4]: got float32")):
        decoder.detect(boxes.astype(np.float32), scores(0, 0))
    with pytest.raises(ValueError, match=re.escape("'scores' must be int8 [n, 2, 3]: got int8 [1")):
        decoder.detect(boxes, scores(0, 0)[:, :, :2])
    with pytest.raises(ValueError, match="expected as many boxes as scores: got 1, 0"):
        decoder.detect(boxes, scores(0, 0)[:0])
