"""Images with boxes, whatever files they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import extras
from nested_keras.detection.average_precision import Truth
from nested_keras.detection.matching import area

Boxes = npt.NDArray[np.float32]
Region = tuple[float, float, float, float]

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
# A box that reaches over the edge of the image by a pixel is taken as cut there: some tools count
# pixels from 0 and some from 1.
_SLACK = 1.0
# An object of which less than this share is left in a cut-out need not be found.
_ENOUGH = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """An image, or a window of one, and the objects in it.

    Attributes:
        image: The file.
        size: (height, width) of the image or the window, in pixels.
        truth: The objects; boxes are shares of the image or the window.
        origin: (top, left) of the window in the file's image, in pixels.
    """

    image: Path
    size: tuple[int, int]
    truth: Truth
    origin: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionData:
    """A data set of images with boxes.

    Attributes:
        classes: The names of the classes.
        examples: The images.
        notes: A line for each box that the reader left out, because it is empty.
    """

    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()

    def windows(self, side: int) -> DetectionData:
        """Cuts each image into square windows side by side; one of less than `side` is kept whole.

        The last window of a row or column is moved back to end with the image. An object of which
        a window holds less than half is marked as ignored there.

        Args:
            side: Height and width of a window in pixels, >= 1.

        Raises:
            ValueError: If side is below 1.
        """
        if side < 1:
            raise ValueError(f"side of a window must be 1 or more: got {side}")
        return dataclasses.replace(
            self, examples=tuple(cut for each in self.examples for cut in _windows(each, side))
        )

    def truths(self) -> list[Truth]:
        """Returns the objects of each image."""
        return [each.truth for each in self.examples]


def checked_boxes(
    boxes: Sequence[Sequence[float]],
    size: tuple[int, int],
    *,
    names: Sequence[str],
    where: str,
    notes: list[str],
) -> Boxes:
    """Checks the boxes of an image, and cuts off what lies less than a pixel outside.

    Args:
        boxes: Of (y0, x0, y1, x1) in pixels.
        size: (height, width) of the image.
        names: What each box holds, for errors.
        where: The file with the boxes, for errors.
        notes: Gets a line for each empty box, which `truth_of` leaves out.

    Returns:
        float32 [n, 4], shares of the image.

    Raises:
        ValueError: If a box reaches out of the image.
    """
    high, wide = size
    found = np.array(boxes, np.float64).reshape(-1, 4)
    for name, (y0, x0, y1, x1) in zip(names, found, strict=True):
        text = f"({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"
        inside = min(y0, x0) >= -_SLACK and y1 <= high + _SLACK and x1 <= wide + _SLACK
        if not inside:  # NaN as well
            raise ValueError(
                f"{where}: the box of a {name!r} must lie in the image of {wide}x{high} pixels: "
                f"got {text}"
            )
        if not (min(y1, high) > max(y0, 0.0) and min(x1, wide) > max(x0, 0.0)):
            notes.append(f"{where}: an empty box of a {name!r} is left out: {text}")
    shares = found / np.array([high, wide, high, wide])
    return np.clip(shares, 0.0, 1.0).astype(np.float32)


def class_names(
    found: Mapping[str, Path | str], classes: Sequence[str] | None, *, leave_others: bool
) -> tuple[str, ...]:
    """Returns the names of the classes of a data set.

    Args:
        found: The names in the files, each with the first file that has it.
        classes: The names that are asked for, in their order; None for all in alphabetical order.
        leave_others: Whether objects of other classes are left out; else they are an error.

    Raises:
        ValueError: If there is another class, or a class that is asked for is nowhere.
    """
    if classes is None:
        return tuple(sorted(found))
    if len(set(classes)) != len(classes):
        raise ValueError(f"classes must differ: got {', '.join(classes)}")
    for name, where in found.items():
        if name not in classes and not leave_others:
            raise ValueError(
                f"{where}: unknown class {name!r}: expected one of {', '.join(classes)}"
            )
    return tuple(classes)


def truth_of(
    objects: Iterable[tuple[str, Any, bool]], boxes: Boxes, classes: Sequence[str]
) -> Truth:
    """Returns the objects of an image, without empty boxes and those of other classes.

    Args:
        objects: (name, anything, ignored) of each.
        boxes: [n, 4], shares of the image.
        classes: The names of the classes.
    """
    index = {name: number for number, name in enumerate(classes)}
    rows = [(index.get(name, -1), ignored) for name, _, ignored in objects]
    labels = np.array([label for label, _ in rows], np.int64)
    ignored = np.array([flag for _, flag in rows], np.bool_)
    own = (labels >= 0) & (area(boxes) > 0)
    return Truth(boxes[own], labels[own], ignored[own])


def cut(truth: Truth, region: Region) -> Truth:
    """Returns the objects in a region of an image, as shares of the region.

    An object is cut at the edges of the region. One of which less than half is left is ignored.

    Args:
        truth: The objects of the image.
        region: (y0, x0, y1, x1) as shares of the image; may reach out of the image.
    """
    y0, x0, y1, x1 = region
    corner, size = np.array([y0, x0, y0, x0]), np.array([y1 - y0, x1 - x0] * 2)
    moved = (truth.boxes - corner) / size
    clipped = np.clip(moved, 0.0, 1.0)
    left = area(clipped) / np.maximum(area(moved), 1e-12)
    there = left > 1e-3
    return Truth(
        clipped[there].astype(np.float32),
        truth.classes[there],
        truth.ignored[there] | (left[there] < _ENOUGH),
    )


def header(path: Path, *, where: str) -> tuple[int, int]:
    """Returns (height, width) of an image, without decoding it.

    Args:
        path: The image.
        where: The file that names the image, for errors.

    Raises:
        ValueError: If the image is missing or cannot be read.
        ModuleNotFoundError: If Pillow is missing.
    """
    image_module = pillow()
    if not path.is_file():
        raise ValueError(f"{where}: expected the image {path}: there is none")
    try:
        with image_module.open(path) as image:
            return image.height, image.width
    except Exception as error:  # whatever Pillow's decoders raise for damaged bytes
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ValueError:
    """Returns the error of an image that cannot be decoded."""
    text = str(error).replace(f" {str(path)!r}", "") or type(error).__name__
    return ValueError(f"{path}: cannot be read as an image: {text}")


def pillow() -> Any:
    """Returns the module PIL.Image.

    Raises:
        ModuleNotFoundError: If Pillow is missing.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise extras.missing(error, "a data set of images") from error
    return Image


def _windows(example: Example, side: int) -> list[Example]:
    """Cuts one image."""
    high, wide = example.size
    rows, columns = _starts(high, side), _starts(wide, side)
    found = []
    for top in rows:
        for left in columns:
            size = min(side, high), min(side, wide)
            region = (top / high, left / wide, (top + size[0]) / high, (left + size[1]) / wide)
            origin = example.origin[0] + top, example.origin[1] + left
            found.append(Example(example.image, size, cut(example.truth, region), origin))
    return found


def _starts(length: int, side: int) -> list[int]:
    """Returns where windows begin that cover a length."""
    if length <= side:
        return [0]
    return [*range(0, length - side, side), length - side]
