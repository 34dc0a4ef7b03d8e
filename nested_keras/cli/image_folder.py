"""A folder with a folder of images for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import extras
from nested_keras.cli.parts import SECOND_PART, Part, Reading, class_names, set_apart

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_MODES = {1: "L", 3: "RGB"}


def load(path: Path, part: str, *, shape: Sequence[int | None], reading: Reading) -> Part:
    """Loads the images of one part, in the size and the colours of a model's input.

    Args:
        path: The folder: class folders, or the folders `train` and `test` (`val`, `validation`)
            with class folders.
        part: "train" or "test".
        shape: The shape of the model's input, [any, height, width, 1 or 3].
        reading: The names of the classes, the values of black and white, the share of a part.

    Returns:
        float32 images and their labels, sorted by class and name.

    Raises:
        ValueError: If the model takes no images, the folder holds no images or images of one class
            only, or an image cannot be read; the text names the image.
        ModuleNotFoundError: If Pillow is missing.
    """
    if len(shape) != 4 or None in shape[1:] or shape[3] not in _MODES:
        raise ValueError(
            f"{path} is a folder of images, and for images the model must take "
            f"[n, height, width, 1 or 3]: got {['n', *shape[1:]]}"
        )
    second = next((path / name for name in SECOND_PART if (path / name).is_dir()), None)
    parted = second is not None and (path / "train").is_dir()
    if parted:
        # The folder `train` names the classes of both parts.
        names = class_names({*_images(path / "train")}, reading, where=str(path / "train"))
        folder = path / "train" if part == "train" or second is None else second
        images = _images(folder)
        class_names({*images}, Reading(classes=names), where=str(folder))
    else:
        images = _images(path)
        names = class_names({*images}, reading, where=str(path))
    paths = [image for name in names for image in images.get(name, [])]
    labels = np.array([i for i, name in enumerate(names) for _ in images.get(name, [])])
    if not parted:
        chosen = set_apart(labels, part, share=reading.validation)
        paths, labels = [paths[index] for index in chosen], labels[chosen]
    if not paths:
        raise ValueError(f"{path}: expected two images or more of a class: got one of each")
    x = np.empty((len(paths), *map(int, shape[1:])), np.float32)  # type: ignore[arg-type]
    low, high = reading.pixels
    for index, image in enumerate(paths):
        x[index] = _read(image, x.shape[1:]) * np.float32((high - low) / 255.0) + np.float32(low)
    return Part(x, labels, names, name=f"{path}: ")


def _images(folder: Path) -> dict[str, list[Path]]:
    """Returns the images of each class folder, by the name of the class.

    Raises:
        ValueError: If there is no class folder, or a class folder has no images.
    """
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    if not classes:
        raise ValueError(f"{folder}: expected a folder of images for each class: got no folder")
    found = {}
    for each in classes:
        found[each.name] = sorted(
            path
            for path in each.rglob("*")
            if path.suffix.lower() in _SUFFIXES and path.name[0] != "." and path.is_file()
        )
        if not found[each.name]:
            raise ValueError(f"{each}: expected images ({', '.join(_SUFFIXES)}): got none")
    return found


def _read(path: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Returns an image [height, width, channels] in 0..255."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise extras.missing(error, "a folder of images") from error
    height, width, channels = shape
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
            upright = ImageOps.exif_transpose(image).convert(_MODES[channels])
            sized = upright.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(sized, np.float32).reshape(shape)
    # Pillow's decoders raise many types for damaged bytes.
    except Exception as error:
        text = str(error).replace(f" {str(path)!r}", "") or type(error).__name__
        raise ValueError(f"{path}: cannot be read as an image: {text}") from error
