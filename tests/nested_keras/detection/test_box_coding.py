import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.detection import box_coding


def boxes(rng, count):
    low = rng.uniform(-0.2, 0.8, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.01, 0.6, (count, 2))], axis=1)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_decode_inverts_encode(seed):
    rng = np.random.default_rng(seed)
    given, anchors = boxes(rng, 20), box_coding.centres(boxes(rng, 20)).astype(np.float32)
    offsets = box_coding.encode(given, anchors)
    assert offsets.dtype == np.float32
    got = box_coding.decode(offsets, anchors)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, given, atol=2e-6)


def test_offsets_by_hand():
    anchor = np.array([[0.5, 0.5, 0.2, 0.4]])
    box = np.array([[0.4, 0.4, 0.8, 0.6]])  # centre (0.6, 0.5), size (0.4, 0.2)
    want = [0.1 / 0.2 / 0.1, 0.0, np.log(2.0) / 0.2, np.log(0.5) / 0.2]
    assert box_coding.encode(box, anchor)[0] == pytest.approx(want, abs=1e-6)


def test_no_offset_is_the_anchor_in_every_image_of_a_batch():
    anchors = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0]], np.float32)
    got = box_coding.decode(np.zeros((3, 2, 4), np.float32), anchors)
    np.testing.assert_array_equal(got, np.stack(3 * [box_coding.corners(anchors)]))


def test_corners_and_centres_are_inverse():
    given = boxes(np.random.default_rng(0), 9)
    np.testing.assert_allclose(box_coding.corners(box_coding.centres(given)), given)
