"""The boxes of a run: average precision and JSON."""

import numpy as np
import pytest

from nested_keras.detection.average_precision import Truth
from nested_keras.report.boxes import listed, mean_precision

BOXES = np.array([[0, 0, 8192, 8192, 1 << 23, 1], [8192, 0, 16384, 8192, 1 << 22, 0]], np.int32)


def truth(*rows):
    """Objects (y0, x0, y1, x1, class)."""
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Truth(values[:, :4], values[:, 4].astype(np.int64), np.zeros(len(values), bool))


def test_boxes_are_listed_in_real_numbers():
    assert listed(BOXES) == [
        {"box": [0.0, 0.0, 0.5, 0.5], "score": 0.5, "class": 1},
        {"box": [0.5, 0.0, 1.0, 0.5], "score": 0.25, "class": 0},
    ]
    assert listed(BOXES[:0]) == []


def test_average_precision_is_the_mean_over_the_classes():
    both = truth((0, 0, 0.5, 0.5, 1), (0.5, 0, 1, 0.5, 0))
    assert mean_precision((BOXES,), [both], classes=3) == pytest.approx(1.0)
    assert mean_precision((BOXES[:1],), [both], classes=3) == pytest.approx(0.5)
    assert mean_precision((BOXES[:0],), [both], classes=3) == pytest.approx(0.0)


def test_without_objects_there_is_no_average_precision():
    assert mean_precision((BOXES,), None, classes=3) is None
    assert mean_precision((BOXES,), [truth()], classes=3) is None
    with pytest.raises(ValueError, match="1"):
        mean_precision((BOXES,), [truth(), truth()], classes=3)
