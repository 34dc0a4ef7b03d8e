"""What a detector predicts of a box: its offsets against an anchor, as in SSD and Faster R-CNN.

Of an anchor (cy, cx, h, w) and a box with the centre (by, bx) and the size (bh, bw), and with the
variances (0.1, 0.1, 0.2, 0.2) that bring all four to a like size::

    ty = (by - cy) / h / 0.1        th = log(bh / h) / 0.2
    tx = (bx - cx) / w / 0.1        tw = log(bw / w) / 0.2
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

VARIANCES = (0.1, 0.1, 0.2, 0.2)

Boxes = npt.NDArray[Any]


def corners(boxes: Boxes) -> Boxes:
    """Returns boxes [..., 4] of (centre y, centre x, height, width) as (y0, x0, y1, x1)."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def centres(boxes: Boxes) -> Boxes:
    """Returns boxes [..., 4] of (y0, x0, y1, x1) as (centre y, centre x, height, width)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def encode(boxes: Boxes, anchors: Boxes) -> npt.NDArray[np.float32]:
    """Codes boxes against anchors.

    Args:
        boxes: [..., 4] of (y0, x0, y1, x1) in 0..1, with positive sizes.
        anchors: [..., 4] of (centre y, centre x, height, width), one for each box.

    Returns:
        The offsets float32 [..., 4]: ty, tx, th, tw.
    """
    box, anchor = centres(boxes.astype(np.float64)), anchors.astype(np.float64)
    shift = (box[..., :2] - anchor[..., :2]) / anchor[..., 2:]
    offsets = np.concatenate([shift, np.log(box[..., 2:] / anchor[..., 2:])], axis=-1)
    return (offsets / np.array(VARIANCES)).astype(np.float32)


def decode(offsets: Boxes, anchors: Boxes) -> npt.NDArray[np.float32]:
    """Returns the boxes of offsets; the inverse of `encode`.

    Args:
        offsets: [..., A, 4]: ty, tx, th, tw.
        anchors: [A, 4] of (centre y, centre x, height, width).

    Returns:
        Boxes float32 [..., A, 4] of (y0, x0, y1, x1), which may reach out of the image.
    """
    scaled = offsets.astype(np.float32) * np.array(VARIANCES, np.float32)
    centre = scaled[..., :2] * anchors[..., 2:] + anchors[..., :2]
    size = np.exp(scaled[..., 2:]) * anchors[..., 2:]
    return corners(np.concatenate([centre, size], axis=-1)).astype(np.float32)
