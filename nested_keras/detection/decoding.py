"""Boxes from the int8 outputs of a detector, in integers: the arithmetic of `nk_detection_s8`.

docs/detection.md derives the arithmetic and its error bounds. Coordinates are whole numbers of
1/16384 of the image, scores whole numbers of 2**-24. Only the tables need real numbers, and they
are made once; so NumPy and C give the same boxes, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from nested_keras.detection.average_precision import Found
from nested_keras.detection.box_coding import VARIANCES
from nested_keras.int8.fixed_point import quantize_multiplier

COORDINATE_BITS = 14  # 1.0, the whole height or width of the image, is 2**14
SCORE_BITS = 24  # a probability of 1 is 2**24
SIZE_BITS = 16  # a size of 1 anchor is 2**16
MAX_CLASSES = 254  # so that a sum of MAX_CLASSES + 1 exponentials stays below 2**32
MAX_BOXES = 4096
MAX_CANDIDATES = 2**15

Detections = npt.NDArray[np.int32]
"""Boxes [k, 6] of one image: ymin, xmin, ymax, xmax, score, class."""

_CENTRE_VARIANCE, _SIZE_VARIANCE = VARIANCES[0], VARIANCES[2]  # the same for y and x
_ONE = 1 << COORDINATE_BITS
_LARGEST_ANCHOR = (2**16 - 1) / _ONE


@dataclasses.dataclass(frozen=True)
class Limits:
    """Which boxes count.

    Attributes:
        score_threshold: The least score of a box, above 0 and at most 1.
        iou_threshold: Of two boxes of a class whose intersection over union is larger than this,
            the one with the higher score stays; 0..1.
        max_boxes: The most boxes of an image, 1..4096.
        max_candidates: So many of the best scores are looked at, `max_boxes` at least.

    Raises:
        ValueError: If a number is out of its range.
    """

    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    max_boxes: int = 50
    max_candidates: int = 400

    def __post_init__(self) -> None:
        """Refuses numbers out of range."""
        _require("score_threshold", self.score_threshold, 2.0**-SCORE_BITS, 1)
        _require("iou_threshold", self.iou_threshold, 0, 1)
        _require("max_boxes", self.max_boxes, 1, MAX_BOXES)
        _require("max_candidates", self.max_candidates, self.max_boxes, MAX_CANDIDATES)


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
    """What the decoding of one detector needs; the fields of `nk_detection_params`.

    Attributes:
        anchors: uint16 [A, 4]: centre y, centre x, height, width in 1/16384 of the image.
        classes: Number of classes without the background, 1..254.
        exp_table: uint32 [256]: exp(-d * scale of the scores) in 2**-24, for differences d.
        size_table: uint32 [256]: for each int8 value + 128 of a size offset the size of the box,
            in 2**-16 of the anchor's.
        offset: Minus the zero point of the boxes.
        multiplier: Q31: what a step of a centre offset moves the box, in sizes of the anchor.
        shift: Its power of two, positive = left.
        score_threshold: The least score, in 2**-24.
        iou_threshold: The most that two boxes of a class may overlap, in 2**-14.
        max_candidates: So many of the best scores are looked at.
        max_boxes: So many boxes at most are found in an image.
    """

    anchors: npt.NDArray[np.uint16]
    classes: int
    exp_table: npt.NDArray[np.uint32]
    size_table: npt.NDArray[np.uint32]
    offset: int
    multiplier: int
    shift: int
    score_threshold: int
    iou_threshold: int
    max_candidates: int
    max_boxes: int

    def detect(
        self, boxes: npt.NDArray[np.int8], scores: npt.NDArray[np.int8]
    ) -> tuple[Detections, ...]:
        """Finds the boxes of a batch of images.

        Args:
            boxes: int8 [n, A, 4], the output `boxes` of the detector.
            scores: int8 [n, A, classes + 1], the output `scores`, with the background first.

        Returns:
            For each image int32 [k, 6]: ymin, xmin, ymax, xmax in 1/16384 of the image, score in
            2**-24, class from 0; the highest score first, and of equal scores the first anchor.

        Raises:
            ValueError: If an output has another type or shape.
        """
        count = len(self.anchors)
        for name, values, last in (("boxes", boxes, 4), ("scores", scores, self.classes + 1)):
            if values.dtype != np.int8 or values.ndim != 3 or values.shape[1:] != (count, last):
                raise ValueError(
                    f"the output {name!r} must be int8 [n, {count}, {last}]: got {values.dtype} "
                    f"{list(values.shape)}"
                )
        if len(boxes) != len(scores):
            raise ValueError(f"expected as many boxes as scores: got {len(boxes)}, {len(scores)}")
        return tuple(self._detect(*pair) for pair in zip(boxes, scores, strict=True))

    def corners(
        self, offsets: npt.NDArray[np.int8], anchors: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Returns boxes [n, 4] of ymin, xmin, ymax, xmax, cut at the edges of the image.

        Args:
            offsets: int8 [n, 4]: ty, tx, th, tw.
            anchors: [n], the index of each box's anchor.
        """
        anchor = self.anchors[anchors].astype(np.int64)
        size = anchor[:, 2:]
        moved = (offsets[:, :2].astype(np.int64) + self.offset) * size * self.multiplier
        right = COORDINATE_BITS + 16 - self.shift  # twice the centre needs one bit less than 31
        half = (1 << right) >> 1
        centre = 2 * anchor[:, :2] + ((moved + half) >> right)
        factor = self.size_table[offsets[:, 2:].astype(np.int64) + 128].astype(np.int64)
        extent = (size * factor + (1 << (SIZE_BITS - 1))) >> SIZE_BITS
        edges = np.concatenate([centre - extent, centre + extent], axis=1)
        return np.clip((edges + 1) >> 1, 0, _ONE)

    def _candidates(self, scores: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Returns score and place, anchor * classes + class, of the best scores: [n, 2]."""
        wide = scores.astype(np.int64)
        terms = self.exp_table[wide.max(axis=1, keepdims=True) - wide].astype(np.int64)
        total = terms.sum(axis=1, keepdims=True)
        score = ((terms[:, 1:] << SCORE_BITS) + (total >> 1)) // total
        flat = score.reshape(-1)
        places = np.flatnonzero(flat >= self.score_threshold)
        order = np.argsort(-flat[places], kind="stable")[: self.max_candidates]
        return np.stack([flat[places[order]], places[order]], axis=1)

    def _detect(self, boxes: npt.NDArray[np.int8], scores: npt.NDArray[np.int8]) -> Detections:
        candidates = self._candidates(scores)
        anchors, classes = np.divmod(candidates[:, 1], self.classes)
        corners = self.corners(boxes[anchors], anchors)
        areas = _areas(corners)
        kept: list[int] = []
        for index in np.flatnonzero(areas > 0):
            if len(kept) == self.max_boxes:
                break
            others = [other for other in kept if classes[other] == classes[index]]
            low = np.maximum(corners[others, :2], corners[index, :2])
            high = np.minimum(corners[others, 2:], corners[index, 2:])
            shared = np.maximum(high - low, 0).prod(axis=1)
            union = areas[others] + areas[index] - shared
            if not (shared << COORDINATE_BITS > union * self.iou_threshold).any():
                kept.append(int(index))
        columns = [corners[kept], candidates[kept, :1], classes[kept, None]]
        return np.concatenate(columns, axis=1).astype(np.int32)


def decoder(
    anchors: npt.NDArray[np.float32],
    *,
    boxes_scale: float,
    boxes_zero_point: int,
    scores_scale: float,
    classes: int,
    limits: Limits | None = None,
) -> Decoder:
    """Makes the tables of a detector.

    Args:
        anchors: [A, 4]: centre y, centre x, height, width as shares of the image.
        boxes_scale: Scale of the int8 output `boxes`.
        boxes_zero_point: Its zero point.
        scores_scale: Scale of the int8 output `scores`. Softmax does not need the zero point.
        classes: Number of classes without the background, 1..254.
        limits: Which boxes count; None for the defaults.

    Returns:
        The decoder.

    Raises:
        ValueError: If a number is out of its range, or the anchors have a wrong shape.
    """
    anchors = np.asarray(anchors)
    if anchors.ndim != 2 or anchors.shape[1:] != (4,) or not len(anchors):
        raise ValueError(f"anchors must be [A, 4] with A >= 1: got {list(anchors.shape)}")
    inside = (anchors >= 0) & (anchors <= _LARGEST_ANCHOR)
    if not inside.all():
        worst = anchors[~inside.all(axis=1)][0].tolist()
        raise ValueError(
            f"anchors must be (cy, cx, height, width) in 0..{_LARGEST_ANCHOR:.4g} of the image: "
            f"got {worst}"
        )
    limits = limits or Limits()
    _require("classes", classes, 1, MAX_CLASSES)
    _require("boxes_zero_point", boxes_zero_point, -128, 127)
    for name, value in (("boxes_scale", boxes_scale), ("scores_scale", scores_scale)):
        if not 0.0 < value < math.inf:
            raise ValueError(f"{name} must be finite and above 0: got {value}")
    multiplier, shift = quantize_multiplier(_CENTRE_VARIANCE * boxes_scale)
    exps = [math.exp(-scores_scale * step) for step in range(256)]
    steps = [step - boxes_zero_point for step in range(-128, 128)]
    sizes = [math.exp(min(_SIZE_VARIANCE * boxes_scale * step, 11.0)) for step in steps]
    return Decoder(
        anchors=_fixed(anchors, COORDINATE_BITS).astype(np.uint16),
        classes=classes,
        exp_table=_fixed(exps, SCORE_BITS),
        size_table=_fixed(sizes, SIZE_BITS),
        offset=-boxes_zero_point,
        multiplier=multiplier,
        shift=shift,
        score_threshold=round(limits.score_threshold * 2**SCORE_BITS),
        iou_threshold=round(limits.iou_threshold * _ONE),
        max_candidates=limits.max_candidates,
        max_boxes=limits.max_boxes,
    )


def found(detections: Detections) -> Found:
    """Returns the boxes [k, 6] of an image in real numbers, coordinates and scores in 0..1."""
    boxes, scores, classes = np.split(detections, (4, 5), axis=1)
    return Found(
        boxes=boxes / np.float32(2**COORDINATE_BITS),
        classes=classes[:, 0],
        scores=scores[:, 0] / np.float64(2**SCORE_BITS),
    )


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be in {low:g}..{high:g}: got {value}")


def _fixed(values: npt.ArrayLike, bits: int) -> npt.NDArray[np.uint32]:
    """Returns real numbers >= 0 as whole numbers of 2**-bits, rounded to nearest."""
    return np.floor(np.asarray(values, np.float64) * 2.0**bits + 0.5).astype(np.uint32)


def _areas(corners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (corners[:, 2:] - corners[:, :2]).prod(axis=1)
