import numpy as np

from nested_keras.detection import Anchors, Finder

ANCHORS = Anchors(((1, 3),), (((0.5, 0.2), (0.5, 0.21)),)).boxes()


def found(scores, **limits):
    logits = np.log(np.maximum(np.array(scores, np.float32), 1e-9))[None]
    (image,) = Finder(ANCHORS, **limits).find({"boxes": np.zeros((1, 6, 4)), "scores": logits})
    return image


def test_of_two_boxes_of_a_class_the_surer_one_stays():
    image = found(
        [(0.1, 0.9, 0.0), (0.2, 0.8, 0), (0.4, 0.0, 0.6), (1, 0, 0), (1, 0, 0), (0.7, 0.3, 0)]
    )
    np.testing.assert_allclose(image.scores, [0.9, 0.6, 0.3], rtol=1e-6)
    assert image.classes.tolist() == [0, 1, 0]
    np.testing.assert_allclose(image.boxes[0], (0.25, 1 / 6 - 0.1, 0.75, 1 / 6 + 0.1), atol=1e-6)


def test_boxes_of_different_classes_both_stay():
    image = found([(0.2, 0.8, 0), (0.3, 0, 0.7)] + 4 * [(1, 0, 0)])
    assert image.classes.tolist() == [0, 1]


def test_limits():
    scores = [(0.5, 0.5)] * 2 + [(0.6, 0.4)] * 2 + [(0.7, 0.3)] * 2
    assert len(found(scores, score=0.35).scores) == 2
    assert len(found(scores, most=1).scores) == 1
    assert len(found(scores, overlap=0.99).scores) == 6


def test_nothing_found():
    image = found([(1.0, 0.0)] * 6)
    assert (image.boxes.shape, image.classes.shape, image.scores.shape) == ((0, 4), (0,), (0,))
