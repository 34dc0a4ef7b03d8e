"""Average precision of detections: the measure of Pascal VOC and that of COCO."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.detection.matching import area, intersection

Numbers = npt.NDArray[Any]

COCO_OVERLAPS = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
_COCO_RECALLS = np.linspace(0.0, 1.0, 101)
_COCO_MOST = 100  # detections of a class and image that count


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The objects of one image.

    Attributes:
        boxes: [n, 4] of (y0, x0, y1, x1).
        classes: [n], class indices from 0.
        ignored: bool [n]: objects that need not be found, difficult ones of VOC or crowds of COCO.
    """

    boxes: Numbers
    classes: Numbers
    ignored: Numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a detector found in one image.

    Attributes:
        boxes: [n, 4] of (y0, x0, y1, x1).
        classes: [n], class indices from 0.
        scores: [n], the higher the surer.
    """

    boxes: Numbers
    classes: Numbers
    scores: Numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Precision:
    """Average precision.

    Attributes:
        table: [overlaps, classes], 0..1; NaN for a class without objects.
        overlaps: The overlap (IoU) that a detection must have with its object, row by row.
    """

    table: Numbers
    overlaps: tuple[float, ...]

    def mean(self, overlap: float | None = None) -> float:
        """Returns the mean over the classes, at one overlap or over all; NaN without objects."""
        rows = self.table if overlap is None else self.table[[self.overlaps.index(overlap)]]
        known = rows[~np.isnan(rows)]
        return float(known.mean()) if known.size else float("nan")


def voc(
    truths: Sequence[Truth], found: Sequence[Found], *, classes: int, overlap: float = 0.5
) -> Precision:
    """Measures as Pascal VOC since 2010: the area under the curve of precision over recall.

    Sizes are without the pixel that VOC's own code adds to them.

    Args:
        truths: The objects of each image.
        found: The detections of each image, as many.
        classes: The number of classes.
        overlap: The least IoU of a detection with its object.

    Raises:
        ValueError: If the numbers of images differ.
    """
    rows = _table(truths, found, classes, (overlap,), _match_voc, _area_under_curve, most=None)
    return Precision(rows, (overlap,))


def coco(
    truths: Sequence[Truth],
    found: Sequence[Found],
    *,
    classes: int,
    overlaps: Sequence[float] = COCO_OVERLAPS,
) -> Precision:
    """Measures as COCO: precision at 101 recalls, 100 detections of a class and image at most.

    The same as pycocotools' for boxes of all sizes.

    Args:
        truths: The objects of each image; those `ignored` are crowds.
        found: The detections of each image, as many.
        classes: The number of classes.
        overlaps: The least IoU of a detection with its object, one row of the table each.

    Raises:
        ValueError: If the numbers of images differ.
    """
    rows = _table(
        truths, found, classes, tuple(overlaps), _match_coco, _at_101_recalls, most=_COCO_MOST
    )
    return Precision(rows, tuple(overlaps))


Match = Callable[[Numbers, Numbers, float], tuple[Numbers, Numbers]]


def _table(
    truths: Sequence[Truth],
    found: Sequence[Found],
    classes: int,
    overlaps: tuple[float, ...],
    match: Match,
    summarise: Callable[[Numbers, int], float],
    *,
    most: int | None,
) -> Numbers:
    """Returns the average precision by overlap and class."""
    if len(truths) != len(found):
        raise ValueError(
            f"there must be detections of as many images as there are: got {len(found)} of "
            f"{len(truths)}"
        )
    table = np.full((len(overlaps), classes), np.nan)
    for index in range(classes):
        pairs = [_of_class(*pair, index, most) for pair in zip(truths, found, strict=True)]
        objects = sum(int(np.count_nonzero(~truth.ignored)) for truth, _ in pairs)
        if not objects:
            continue
        scores = np.concatenate([each.scores for _, each in pairs])
        order = np.argsort(-scores, kind="stable")
        common = [_overlaps(truth, each, crowd=match is _match_coco) for truth, each in pairs]
        for row, overlap in enumerate(overlaps):
            marks = [
                match(values, truth.ignored, overlap)
                for values, (truth, _) in zip(common, pairs, strict=True)
            ]
            hit = np.concatenate([each for each, _ in marks])[order]
            counted = np.concatenate([each for _, each in marks])[order]
            table[row, index] = summarise(hit[counted], objects)
    return table


def _of_class(truth: Truth, found: Found, index: int, most: int | None) -> tuple[Truth, Found]:
    """Returns the objects of a class, and its detections, the surest first."""
    own = truth.classes == index
    chosen = np.flatnonzero(found.classes == index)
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")][:most]
    return (
        Truth(truth.boxes[own], truth.classes[own], truth.ignored[own].astype(bool)),
        Found(found.boxes[chosen], found.classes[chosen], found.scores[chosen]),
    )


def _overlaps(truth: Truth, found: Found, *, crowd: bool) -> Numbers:
    """Returns the IoU [detections, objects]; with a crowd the share of the detection inside."""
    boxes, objects = found.boxes.astype(np.float64), truth.boxes.astype(np.float64)
    shared = intersection(boxes, objects)
    whole = area(boxes)[:, None] + np.where(crowd & truth.ignored, 0.0, area(objects) - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _match_coco(values: Numbers, ignored: Numbers, overlap: float) -> tuple[Numbers, Numbers]:
    """Gives each detection the best object left, a crowd only where there is no other.

    Returns:
        For each detection whether it is right, and whether it counts.
    """
    overlap = min(overlap, 1.0 - 1e-10)
    hit, counted = np.zeros(len(values), bool), np.ones(len(values), bool)
    free = ~ignored
    for number, row in enumerate(values):
        fits = (row >= overlap) & free
        if fits.any():
            # Of equal overlaps the last, as pycocotools.
            free[len(row) - 1 - np.argmax(np.where(fits, row, -1.0)[::-1])] = False
            hit[number] = True
        elif ((row >= overlap) & ignored).any():  # a crowd holds many
            counted[number] = False
    return hit, counted


def _match_voc(values: Numbers, ignored: Numbers, overlap: float) -> tuple[Numbers, Numbers]:
    """Compares each detection with its best object; a second one of an object is wrong.

    Returns:
        For each detection whether it is right, and whether it counts.
    """
    hit, counted = np.zeros(len(values), bool), np.ones(len(values), bool)
    taken = np.zeros(len(ignored), bool)
    for number, row in enumerate(values):
        if not row.size or row.max() < overlap:
            continue
        best = int(row.argmax())
        counted[number] = not ignored[best]
        hit[number] = not taken[best]
        taken[best] = True
    return hit, counted


def _curve(hit: Numbers, objects: int) -> tuple[Numbers, Numbers]:
    """Returns recall and precision, which falls with the recall, after each detection."""
    right = np.cumsum(hit)
    precision = right / (np.arange(len(hit)) + 1 + np.spacing(1))
    return right / objects, np.maximum.accumulate(precision[::-1])[::-1]


def _at_101_recalls(hit: Numbers, objects: int) -> float:
    recall, precision = _curve(hit, objects)
    places = np.searchsorted(recall, _COCO_RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def _area_under_curve(hit: Numbers, objects: int) -> float:
    recall, precision = _curve(hit, objects)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
