"""Boxes drawn into images."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from nested_keras.detection import drawing
from nested_keras.detection.average_precision import Found

RED, GREEN = (0xE6, 0x19, 0x4B), (0x3C, 0xB4, 0x4B)


def found(*boxes):
    """Boxes of the classes 0, 1, ... with the score 0.5."""
    count = len(boxes)
    return Found(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.arange(count),
        scores=np.full(count, 0.5),
    )


def opened(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_box_is_drawn_where_it_is():
    image = np.full((400, 600, 3), 255, np.uint8)
    picture = opened(drawing.draw(image, found((0.25, 0.5, 0.75, 1.0), (0, 0, 0.2, 0.2))))
    assert picture.shape == (400, 600, 3)
    assert tuple(picture[200, 300]) == tuple(picture[299, 500]) == RED
    assert tuple(picture[79, 60]) == GREEN
    assert tuple(picture[250, 450]) == (255, 255, 255)


def test_a_small_image_is_enlarged_and_one_without_boxes_is_unchanged():
    image = np.arange(150, dtype=np.uint8).reshape(10, 15, 1)
    picture = opened(drawing.draw(image, found()))
    np.testing.assert_array_equal(picture, np.repeat(np.repeat(image, 32, 0), 32, 1).repeat(3, 2))


def test_labels_may_have_any_letter_and_boxes_any_size():
    image = np.zeros((400, 400, 1), np.uint8)
    boxes = found((0, 0, 1, 1), (1, 1, 1, 1), (0.5, 0.5, 0.5001, 0.5001))
    picture = opened(drawing.draw(image, boxes, ["κύτταρο", "Zelle"]))
    assert not np.array_equal(picture, opened(drawing.draw(image, boxes)))


def test_what_is_no_image_is_refused():
    text = "an image must be [height, width, 1 or 3]: got [4, 4, 2]"
    with pytest.raises(ValueError, match=re.escape(text)):
        drawing.draw(np.zeros((4, 4, 2), np.uint8), found())
