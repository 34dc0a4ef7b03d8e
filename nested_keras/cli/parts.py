"""Read parts of labelled data, and set a part apart for tests."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras.detection.anchors import Anchors

SECOND_PART = ("test", "val", "validation")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images and CSV are read.

    Attributes:
        pixels: The values of black and white for the model.
        label: The column of a CSV with the labels.
        validation: The share of each class that is set apart for testing.
        classes: The names of the classes that a model was trained for, in the order of its outputs;
            empty where they are not known yet.
        anchors: The anchors of a detector; None for a classifier.
        window: Side in pixels of the windows that a detector's images are cut into; None for whole
            images.
        kept: Whether this was kept with a model.
    """

    pixels: tuple[float, float] = (0.0, 1.0)
    label: str = "label"
    validation: float = 0.2
    classes: tuple[str, ...] = ()
    anchors: Anchors | None = None
    window: int | None = None
    kept: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Examples for training or for testing.

    Attributes:
        x: Inputs [n, ...]: int8 or float32.
        y: Class indices [n]; None for data without labels.
        classes: The names of the classes; empty for classes without names.
        name: The begin of errors.
        x_name: The name of the inputs in errors.
        y_name: The name of the labels in errors.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any] | None
    classes: tuple[str, ...]
    name: str
    x_name: str = "the inputs"
    y_name: str = "the labels"


def set_apart(labels: npt.NDArray[Any], part: str, *, share: float) -> npt.NDArray[np.int64]:
    """Returns the indices of one part, for data that are not in two parts.

    Args:
        labels: The label [n] of each example; whole numbers.
        part: "train" or "test".
        share: The share of each class that is set apart for testing. Of two examples or more, at
            least one example is set apart, and never all.

    Returns:
        Increasing indices. Every call gives the same two parts.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.random.default_rng(0).permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[members[:count]] = True
    return np.flatnonzero(chosen if part == "test" else ~chosen)


def class_names(found: set[str], reading: Reading, *, where: str) -> tuple[str, ...]:
    """Returns the names of the classes in the order of the model's outputs.

    Args:
        found: The names in the data.
        reading: How the data are read.
        where: The name of the data in errors.

    Raises:
        ValueError: If there is only one class, or a class that the model does not have.
    """
    if reading.classes:
        foreign = sorted(found - {*reading.classes})
        if foreign:
            raise ValueError(
                f"{where}: expected the classes that the model was trained for "
                f"({', '.join(reading.classes)}): got {foreign[0]!r}"
            )
        return reading.classes
    if len(found) < 2:
        raise ValueError(f"{where}: expected two classes or more: got {', '.join(found) or 'none'}")
    return tuple(sorted(found))
