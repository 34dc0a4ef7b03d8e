"""Which anchor is responsible for which box of an image, and the targets that follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from nested_keras.detection import box_coding
from nested_keras.detection.box_coding import Boxes

BACKGROUND = -1
IGNORED = -2


def iou(first: Boxes, second: Boxes) -> Boxes:
    """Returns the intersection over the union of boxes.

    Args:
        first: [n, 4] of (y0, x0, y1, x1).
        second: [m, 4] of the same.

    Returns:
        [n, m] in 0..1; 0 where both boxes are empty.
    """
    shared = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def area(boxes: Boxes) -> Boxes:
    """Returns the areas of boxes [..., 4] of (y0, x0, y1, x1)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(first: Boxes, second: Boxes) -> Boxes:
    """Returns the areas [n, m] that boxes [n, 4] and [m, 4] of (y0, x0, y1, x1) share."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=-1)


def match(
    overlaps: Boxes, ignored: npt.NDArray[np.bool_], *, positive: float, negative: float
) -> npt.NDArray[np.int64]:
    """Gives each anchor a box, the background or nothing.

    Each box first gets an anchor of its own, the pair of highest overlap first. Each anchor left
    gets the box of its highest overlap where that is `positive` at least. What overlaps no box by
    `negative` is background; what lies between is left out of the loss.

    Args:
        overlaps: IoU [A, n] of the anchors and the boxes of an image.
        ignored: Boxes [n] that no anchor should find or miss, such as difficult ones.
        positive: The least overlap of an anchor with its box, 0..1.
        negative: The overlap from which on an anchor is no background, <= positive.

    Returns:
        [A]: the index of a box, BACKGROUND or IGNORED.
    """
    found = np.full(len(overlaps), BACKGROUND, np.int64)
    if not overlaps.shape[1]:
        return found
    best = overlaps.argmax(axis=1)
    highest = overlaps[np.arange(len(overlaps)), best]
    found[highest >= negative] = IGNORED
    clear = (highest >= positive) & ~ignored[best]
    found[clear] = best[clear]
    left = np.where(ignored[None, :], -1.0, overlaps)
    for _ in range(min(int(np.count_nonzero(~ignored)), len(overlaps))):
        anchor, box = np.unravel_index(left.argmax(), left.shape)
        if left[anchor, box] <= 0.0:  # an empty box, or one between all anchors
            break
        found[anchor] = box
        left[anchor, :] = left[:, box] = -1.0
    return found


@dataclasses.dataclass(frozen=True)
class Matcher:
    """Makes the targets of a detector.

    Attributes:
        anchors: [A, 4], as `Anchors.boxes` returns them.
        positive: The least overlap of an anchor with its box, 0..1.
        negative: The overlap from which on an anchor is no background, 0..positive.

    Raises:
        ValueError: If the overlaps are out of range.
    """

    anchors: Boxes
    positive: float = 0.5
    negative: float = 0.4

    def __post_init__(self) -> None:
        """Refuses overlaps out of range."""
        if not 0.0 < self.negative <= self.positive <= 1.0:
            raise ValueError(
                "overlaps must be 0 < negative <= positive <= 1: got "
                f"{self.negative} and {self.positive}"
            )

    def targets(
        self,
        boxes: Boxes,
        classes: npt.NDArray[np.int64],
        ignored: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Returns the targets of one image, for `BoxLoss` and `ScoreLoss`.

        Args:
            boxes: [n, 4] of (y0, x0, y1, x1) in 0..1.
            classes: [n], class indices from 0.
            ignored: [n], boxes that no anchor should find or miss; None for none.

        Returns:
            float32 [A, 5]: the offsets, and 1 where the anchor has a box, else 0. float32 [A]: the
            class index plus 1, 0 for the background, -1 where the anchor is left out.
        """
        none = np.zeros(len(boxes), np.bool_)
        overlaps = iou(box_coding.corners(self.anchors), boxes.astype(np.float32))
        found = match(
            overlaps,
            none if ignored is None else ignored,
            positive=self.positive,
            negative=self.negative,
        )
        has = found >= 0
        offsets = np.zeros((len(found), 5), np.float32)
        offsets[has, :4] = box_coding.encode(boxes[found[has]], self.anchors[has])
        offsets[has, 4] = 1.0
        scores = np.where(found == IGNORED, -1.0, 0.0).astype(np.float32)
        scores[has] = classes[found[has]] + 1
        return offsets, scores
