"""Data sets in the layout of Pascal VOC: Annotations/*.xml, JPEGImages, ImageSets/Main/*.txt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nested_keras.detection import detection_data
from nested_keras.detection.detection_data import DetectionData, Example

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".JPG", ".JPEG", ".PNG")


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class _Annotation(NamedTuple):
    path: Path
    size: tuple[int, int] | None
    objects: list[_Object]


def is_voc(folder: str | os.PathLike[str]) -> bool:
    """Says whether a folder has the layout of Pascal VOC."""
    return (Path(folder) / "Annotations").is_dir() and (Path(folder) / "JPEGImages").is_dir()


def read_voc(
    folder: str | os.PathLike[str],
    split: str,
    *,
    classes: Sequence[str] | None = None,
    leave_others: bool = False,
) -> DetectionData:
    """Reads a split of a data set in the layout of Pascal VOC.

    Args:
        folder: The folder with Annotations, JPEGImages and ImageSets.
        split: The name of a list in ImageSets/Main, such as "trainval".
        classes: The names of the classes in their order; None for all of the split, sorted.
        leave_others: Whether objects of other classes are left out; else they are an error.

    Returns:
        The images of the split in the order of the list. Difficult objects are ignored.

    Raises:
        ValueError: If a file is missing or broken, a box reaches out of the image, or a
            class is unknown. The text names the file.
    """
    root = Path(folder)
    annotations = [_annotation(root, name) for name in _names(root, split)]
    found: dict[str, Path | str] = {}
    for annotation in annotations:
        for each in annotation.objects:
            found.setdefault(each.name, annotation.path)
    names = detection_data.class_names(found, classes, leave_others=leave_others)
    notes: list[str] = []
    examples = tuple(_example(root, each, names, notes) for each in annotations)
    return DetectionData(names, examples, tuple(notes))


def parts(folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Returns the splits to train on and to test on.

    Raises:
        ValueError: If the lists are missing.
    """
    lists = Path(folder) / "ImageSets" / "Main"
    pairs = (("trainval", "test"), ("train", "test"), ("train", "val"))
    for pair in pairs:
        if all((lists / f"{name}.txt").is_file() for name in pair):
            return pair
    raise ValueError(
        f"{lists}: expected trainval.txt and test.txt, train.txt and test.txt, or train.txt and "
        "val.txt"
    )


def _names(root: Path, split: str) -> list[str]:
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        raise ValueError(f"{path}: expected the names of the images of {split!r}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text file with a name in each line") from None
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise ValueError(f"{path}: expected the name of an image in each line: the file is empty")
    return names


def _annotation(root: Path, name: str) -> _Annotation:
    path = root / "Annotations" / f"{name}.xml"
    if not path.is_file():
        raise ValueError(f"{path}: expected the boxes of image {name!r}: no such file")
    try:
        tree = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: broken XML: {error}") from None
    size = tree.find("size")
    stated = None if size is None else (_number(path, size, "height"), _number(path, size, "width"))
    sizes = None if stated is None or 0 in stated else (int(stated[0]), int(stated[1]))
    return _Annotation(path, sizes, [_object(path, each) for each in tree.findall("object")])


def _object(path: Path, node: ElementTree.Element) -> _Object:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"{path}: an object must have a <name>: got none")
    box = node.find("bndbox")
    if box is None:
        raise ValueError(f"{path}: the object {name!r} must have a <bndbox>: got none")
    y0, x0, y1, x1 = (_number(path, box, side) for side in ("ymin", "xmin", "ymax", "xmax"))
    return _Object(name, (y0, x0, y1, x1), (node.findtext("difficult") or "0").strip() == "1")


def _number(path: Path, node: ElementTree.Element, tag: str) -> float:
    text = node.findtext(tag)
    try:
        return float(text or "")
    except ValueError:
        got = "none" if text is None else repr(text)
        raise ValueError(f"{path}: <{node.tag}> must have a number <{tag}>: got {got}") from None


def _example(
    root: Path, annotation: _Annotation, classes: Sequence[str], notes: list[str]
) -> Example:
    stem = annotation.path.stem
    images = root / "JPEGImages"
    image = next(
        (path for suffix in _SUFFIXES if (path := images / f"{stem}{suffix}").is_file()), None
    )
    if image is None:
        raise ValueError(
            f"{annotation.path}: expected the image {images / stem}.jpg: there is none"
        )
    size = detection_data.header(image, where=str(annotation.path))
    if annotation.size not in (None, size):
        stated = annotation.size or size
        raise ValueError(
            f"{annotation.path}: <size> must be that of {image.name}, {size[1]}x{size[0]}: got "
            f"{stated[1]}x{stated[0]}"
        )
    boxes = detection_data.checked_boxes(
        [each.box for each in annotation.objects],
        size,
        names=[each.name for each in annotation.objects],
        where=str(annotation.path),
        notes=notes,
    )
    return Example(image, size, detection_data.truth_of(annotation.objects, boxes, classes))
