"""Boxes from the float outputs of a detector: softmax, decoding, non-maximum suppression."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.detection import box_coding, matching
from nested_keras.detection.average_precision import Found

Numbers = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Finder:
    """Finds boxes.

    Attributes:
        anchors: [A, 4], as `Anchors.boxes` returns them.
        score: The least probability of a box. The default is low, as average precision wants it.
        overlap: Of two boxes of a class that overlap by more (IoU), the surer one stays.
        most: Boxes of an image, at most.
    """

    anchors: npt.NDArray[np.float32]
    score: float = 0.01
    overlap: float = 0.5
    most: int = 100

    def find(self, outputs: Mapping[str, Numbers]) -> list[Found]:
        """Finds the boxes of a batch.

        Args:
            outputs: `boxes` [n, A, 4] and `scores` [n, A, classes + 1].

        Returns:
            What was found in each image, the surest first; boxes are cut at the image's edges.
        """
        boxes = np.clip(box_coding.decode(outputs["boxes"], self.anchors), 0.0, 1.0)
        return [
            self._of_image(*pair) for pair in zip(boxes, _softmax(outputs["scores"]), strict=True)
        ]

    def _of_image(self, boxes: Numbers, probabilities: Numbers) -> Found:
        kept: list[tuple[int, int]] = []
        for label in range(1, probabilities.shape[1]):
            scores = probabilities[:, label]
            chosen = np.flatnonzero(scores >= self.score)
            chosen = chosen[np.argsort(-scores[chosen], kind="stable")][: 4 * self.most]
            kept += [(index, label) for index in self._apart(boxes, chosen)]
        rows = np.array(kept, np.int64).reshape(-1, 2)
        scores = probabilities[rows[:, 0], rows[:, 1]]
        order = np.argsort(-scores, kind="stable")[: self.most]
        rows = rows[order]
        return Found(boxes[rows[:, 0]], rows[:, 1] - 1, scores[order])

    def _apart(self, boxes: Numbers, chosen: npt.NDArray[np.int64]) -> list[int]:
        """Returns those of some boxes that no surer one covers."""
        overlaps = matching.iou(boxes[chosen], boxes[chosen])
        left = matching.area(boxes[chosen]) > 0
        kept = []
        for place, index in enumerate(chosen):
            if left[place]:
                kept.append(int(index))
                left &= overlaps[place] <= self.overlap
                if len(kept) == self.most:
                    break
        return kept


def _softmax(logits: Numbers) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
