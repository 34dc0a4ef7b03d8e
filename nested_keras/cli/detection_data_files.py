"""The data of a detector on the command line: a folder in the layout of Pascal VOC or COCO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nested_keras.detection import coco, voc
from nested_keras.detection.detection_data import DetectionData


def load(
    folder: Path,
    *,
    classes: Sequence[str] | None = None,
    leave_others: bool = False,
    window: int | None = None,
) -> tuple[DetectionData, DetectionData]:
    """Reads the training and the test part of a data set.

    Args:
        folder: The folder.
        classes: The names of the classes in the order of the model's outputs; None for those of the
            training part, sorted.
        leave_others: Whether objects of other classes are left out; else they are an error.
        window: Cut the images into square windows of so many pixels; None to keep them whole.

    Raises:
        ValueError: If the folder has another layout, or a file is missing or broken; the text
            names the file.
    """
    files = coco.parts(folder)
    if voc.is_voc(folder):
        one, two = voc.parts(folder)
        train = voc.read_voc(folder, one, classes=classes, leave_others=leave_others)
        test = voc.read_voc(folder, two, classes=train.classes, leave_others=leave_others)
    elif files is not None:
        train = coco.read_coco(files[0], classes=classes, leave_others=leave_others)
        test = coco.read_coco(files[1], classes=train.classes, leave_others=leave_others)
    else:
        raise ValueError(
            f"{folder}: expected Annotations, JPEGImages and ImageSets of Pascal VOC, or "
            "annotations/*train*.json and annotations/*val*.json of COCO"
        )
    return (train, test) if window is None else (train.windows(window), test.windows(window))
