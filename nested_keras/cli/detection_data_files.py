"""The data of a detector on the command line: a folder in the layout of Pascal VOC or COCO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nested_keras.cli.parts import Part, Reading
from nested_keras.detection import coco, voc
from nested_keras.detection.detection_data import DetectionData
from nested_keras.detection.scenes import SceneReader


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


def is_detection(path: Path) -> bool:
    """Says whether a path is a folder of images with boxes."""
    return path.is_dir() and (voc.is_voc(path) or coco.parts(path) is not None)


def load_images(folder: Path, part: str, *, shape: Sequence[int | None], reading: Reading) -> Part:
    """Loads the images of one part, without the boxes.

    Args:
        folder: The folder.
        part: "train" or "test".
        shape: The shape of the model's input, [any, height, width, 1 or 3].
        reading: The names of the classes, the windows, the values of black and white.

    Raises:
        ValueError: As `load`, or if the model takes no images of a fixed size.
    """
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"{folder} holds images; the model must take [n, height, width, 1 or 3]: got "
            f"{['n', *shape[1:]]}"
        )
    height, width, channels = (int(size or 0) for size in shape[1:])
    reader = SceneReader((height, width, channels), pixels=reading.pixels)
    data = load(folder, classes=reading.classes or None, leave_others=True, window=reading.window)
    chosen = data[0] if part == "train" else data[1]
    return Part(reader.images(chosen), None, chosen.classes, name=f"{folder}: ")
