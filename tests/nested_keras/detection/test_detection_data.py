import numpy as np
import pytest

from nested_keras.detection import detection_data, read_voc
from nested_keras.detection.average_precision import Truth
from tests.nested_keras.detection import pictures


def truth(*boxes):
    count = len(boxes)
    return Truth(np.array(boxes, np.float32), np.arange(count), np.zeros(count, bool))


def test_cut_moves_clips_and_ignores():
    given = truth((0.5, 0.5, 0.7, 0.7), (0.4, 0.5, 0.6, 0.6), (0.3, 0.5, 0.6, 0.6), (0, 0, 0.4, 1))
    got = detection_data.cut(given, (0.5, 0.5, 1.0, 1.0))
    # Whole; half of it inside; a third inside: ignored; outside: gone.
    assert got.classes.tolist() == [0, 1, 2]
    assert got.ignored.tolist() == [False, False, True]
    np.testing.assert_allclose(got.boxes[0], (0, 0, 0.4, 0.4), atol=1e-6)
    np.testing.assert_allclose(got.boxes[1], (0, 0, 0.2, 0.2), atol=1e-6)


def test_cut_may_look_beyond_the_image():
    got = detection_data.cut(truth((0, 0, 1, 1)), (-0.5, -1.0, 1.5, 1.0))
    np.testing.assert_allclose(got.boxes, [(0.25, 0.5, 0.75, 1.0)])


def test_windows_cover_the_image_and_hold_its_objects(tmp_path):
    data = read_voc(pictures.voc_folder(tmp_path / "d", train=2, test=1), "trainval")
    cut = data.windows(30)  # of 48x64: two rows, three columns
    origins = [each.origin for each in cut.examples[:6]]
    assert origins == [(0, 0), (0, 30), (0, 34), (18, 0), (18, 30), (18, 34)]
    assert {each.size for each in cut.examples} == {(30, 30)}
    for window in cut.examples:
        (whole,) = (each for each in data.examples if each.image == window.image)
        corner = np.array(window.origin * 2)
        pixels = whole.truth.boxes * np.array([48, 64] * 2)
        for box, ignored in zip(window.truth.boxes, window.truth.ignored, strict=True):
            inside = np.clip(pixels - corner, 0, 30)
            row = np.abs(inside - box * 30).max(axis=1).argmin()
            np.testing.assert_allclose(inside[row], box * 30, atol=1e-3)
            share = np.prod(inside[row, 2:] - inside[row, :2])
            share /= np.prod(pixels[row, 2:] - pixels[row, :2])
            assert ignored == (share < 0.5)


def test_a_small_image_is_one_window(tmp_path):
    data = read_voc(pictures.voc_folder(tmp_path / "d", train=1, test=1), "test")
    (window,) = data.windows(100).examples
    assert (window.size, window.origin) == ((48, 64), (0, 0))
    np.testing.assert_array_equal(window.truth.boxes, data.examples[0].truth.boxes)
    with pytest.raises(ValueError, match="side of a window must be 1 or more: got 0"):
        data.windows(0)
