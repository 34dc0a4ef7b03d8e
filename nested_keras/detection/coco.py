"""Data sets in the JSON of COCO."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nested_keras.detection import detection_data
from nested_keras.detection.detection_data import DetectionData, Example
from nested_keras.typing import Json

_PARTS = (("train",), ("test", "val", "valid", "validation"))


def read_coco(
    path: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    leave_others: bool = False,
) -> DetectionData:
    """Reads a data set in the JSON of COCO.

    Args:
        path: The JSON file.
        images: The folder of the images; None to look beside the file and in the folders above and
            beside it.
        classes: The names of the classes in their order; None for all that have objects, sorted.
        leave_others: Whether objects of other classes are left out; else they are an error.

    Returns:
        The images in the order of the file. Crowds are ignored.

    Raises:
        ValueError: If a file is missing or broken, a box reaches out of the image, or a
            class is unknown. The text names the file.
    """
    source = Path(path)
    value = _load(source)
    categories = {
        _field(source, each, "id"): str(_field(source, each, "name"))
        for each in value["categories"]
    }
    objects: dict[Any, list[tuple[str, list[float], bool]]] = {
        _field(source, each, "id"): [] for each in value["images"]
    }
    for each in value["annotations"]:
        image, category = (_field(source, each, key) for key in ("image_id", "category_id"))
        if image not in objects:
            raise ValueError(f"{source}: an annotation must be of an image: got image_id {image}")
        if category not in categories:
            raise ValueError(f"{source}: unknown class: got category_id {category}")
        box = _field(source, each, "bbox")
        crowd = bool(each.get("iscrowd", 0))
        objects[image].append((categories[category], _corners(source, box), crowd))
    found: dict[str, Path | str] = {
        name: source for rows in objects.values() for name, _, _ in rows
    }
    names = detection_data.class_names(found, classes, leave_others=leave_others)
    folders = _image_folders(source) if images is None else [Path(images)]
    notes: list[str] = []
    examples = []
    for each in value["images"]:
        image, size = _image(source, each, folders)
        rows = objects[each["id"]]
        boxes = detection_data.checked_boxes(
            [box for _, box, _ in rows],
            size,
            names=[name for name, _, _ in rows],
            where=f"{source}: {image.name}",
            notes=notes,
        )
        examples.append(Example(image, size, detection_data.truth_of(rows, boxes, names)))
    return DetectionData(names, tuple(examples), tuple(notes))


def parts(folder: str | os.PathLike[str]) -> tuple[Path, Path] | None:
    """Returns the JSON files to train on and to test on, or None where a folder has none.

    Those are annotations/*train*.json and annotations/*val*.json or *test*.json, or
    `_annotations.coco.json` in the folders `train` and `valid` or `test`.
    """
    root = Path(folder)
    found = []
    for names in _PARTS:
        paths = [
            path
            for name in names
            for path in (
                root / name / "_annotations.coco.json",
                *sorted((root / "annotations").glob(f"*{name}*.json")),
            )
            if path.is_file()
        ]
        found.append(next(iter(paths), None))
    train, test = found
    return None if train is None or test is None else (train, test)


def _load(path: Path) -> Json:
    """Returns the content of a file with its three lists."""
    if not path.is_file():
        raise ValueError(f"{path}: expected the JSON of COCO: no such file")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: broken JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(value, dict) or not isinstance(value.get(key), list):
            raise ValueError(f"{path}: expected the JSON of COCO, with a list {key!r}: got none")
    if not value["images"]:
        raise ValueError(f"{path}: expected one image or more: got none")
    return value


def _field(path: Path, node: Json, key: str) -> Any:
    if not isinstance(node, dict) or key not in node:
        raise ValueError(f"{path}: expected {key!r} in each entry: got {str(node)[:60]}")
    value = node[key]
    if key.endswith("id") and not isinstance(value, int | str):
        raise ValueError(f"{path}: expected a number as {key!r}: got {value!r}")
    return value


def _corners(path: Path, box: Json) -> list[float]:
    """Returns (y0, x0, y1, x1) of the (x, y, width, height) of COCO."""
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: expected a bbox of four numbers: got {box!r}") from None
    return [y, x, y + height, x + width]


def _image_folders(path: Path) -> list[Path]:
    """Returns where the images of a file may lie: `instances_train2017.json` names train2017."""
    here, above = path.parent, path.parent.parent
    split = path.stem.split("_")[-1]
    return [here, here / "images", above / split, above / "images" / split, above / "images", above]


def _image(source: Path, node: Json, folders: list[Path]) -> tuple[Path, tuple[int, int]]:
    """Returns the file of an image and its (height, width)."""
    name = str(_field(source, node, "file_name"))
    paths = [folder / name for folder in folders]
    image = next((path for path in paths if path.is_file()), paths[0])
    size = detection_data.header(image, where=str(source))
    stated = node.get("height", size[0]), node.get("width", size[1])
    if stated != size:
        raise ValueError(
            f"{source}: the size of {name} must be {size[1]}x{size[0]}: got {stated[1]}x{stated[0]}"
        )
    return image, size
