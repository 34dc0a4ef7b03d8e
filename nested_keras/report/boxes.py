"""The boxes that a detector found in each input of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from nested_keras.detection import average_precision, decoding
from nested_keras.detection.average_precision import Truth
from nested_keras.detection.decoding import Detections

Boxes: TypeAlias = tuple[Detections, ...]
"""Of each input int32 [k, 6], as `Decoder.detect` returns them."""


def mean_precision(boxes: Boxes, truths: Sequence[Truth] | None, *, classes: int) -> float | None:
    """Returns the average precision at an overlap of 0.5, the mean over the classes.

    Args:
        boxes: The boxes of each input.
        truths: The objects of each input; None if they are not known.
        classes: The number of classes.

    Returns:
        0..1; None without objects.

    Raises:
        ValueError: If the numbers of inputs differ.
    """
    if truths is None:
        return None
    found = [decoding.found(each) for each in boxes]
    mean = average_precision.voc(truths, found, classes=classes).mean()
    return None if math.isnan(mean) else mean


def listed(detections: Detections) -> list[dict[str, Any]]:
    """Returns the boxes of an input as JSON."""
    found = decoding.found(detections)
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    return [{"box": box, "score": score, "class": index} for box, score, index in rows]
