"""The data of the commands: the files that `--data` may name, and the file beside a model.

`--data` names a .npz archive, a folder of images in class folders, a CSV file, or a saved
`tf.data.Dataset`. Beside a model NAME.keras or NAME.tflite that was trained on images or CSV lies
NAME.data.json, so that later commands read the data as the training did.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import arrays, files
from nested_keras.cli import (
    csv_file,
    data_files,
    detection_data_files,
    image_folder,
    saved_dataset,
)
from nested_keras.cli.parts import Part, Reading
from nested_keras.detection.anchors import Anchors
from nested_keras.typing import KerasModel

KINDS = (
    "a .npz archive with x_train, y_train, x_test, y_test; a folder with a folder of PNG or JPEG\n"
    "images for each class; a .csv; or a folder that tf.data.Dataset.save wrote. Folders `train`\n"
    "and `test` (or `val`, `validation`) below it, or train.csv and test.csv, hold the two parts;\n"
    "otherwise the share --validation is set apart for testing, always the same"
)


def add_flags(parser: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    """Adds the flag --data, and the flags that say how images and CSV are read."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", type=Path, required=required, default=None, help=text)
    group.add_argument(
        "--pixels",
        type=_range,
        default=None,
        metavar="LOW,HIGH",
        help="the values of black and white for the model (default 0,255 for a model "
        "with a Rescaling or Normalization layer, else 0,1; write --pixels=-1,1)",
    )
    group.add_argument(
        "--label", default=None, metavar="COLUMN", help="the labels of a CSV (default label)"
    )
    group.add_argument(
        "--validation",
        type=_share,
        default=None,
        metavar="SHARE",
        help="share of each class that is set apart for testing, if the data are not in two "
        "parts (default 0.2)",
    )


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise argparse.ArgumentTypeError(f"expected two numbers such as 0,255: got {text!r}")
    return low, high


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1: got {text!r}")
    return share


def reading_of(args: argparse.Namespace, model: Path, keras_model: KerasModel = None) -> Reading:
    """Returns the reading of the data: from the flags, else from beside the model, else default.

    Args:
        args: The arguments of a command with the flags of `add_flags`.
        model: The file of the model.
        keras_model: The Keras model, or None for a .tflite.

    Raises:
        ValueError: If the file beside the model is damaged.
    """
    reading = _kept(model) or Reading()
    if anchors_beside(model).exists():
        reading = dataclasses.replace(reading, anchors=read_anchors(anchors_beside(model)))
    layers = [] if keras_model is None else keras_model.layers
    scales = {type(layer).__name__ for layer in layers} & {"Rescaling", "Normalization"}
    if scales and not reading.kept:
        reading = dataclasses.replace(reading, pixels=(0.0, 255.0))
    given = {name: getattr(args, name) for name in ("pixels", "label", "validation")}
    return dataclasses.replace(reading, **{k: v for k, v in given.items() if v is not None})


def beside(model: Path) -> Path:
    """Returns the path of the file beside a model that holds the reading of its data."""
    return model.with_suffix(".data.json")


def anchors_beside(model: Path) -> Path:
    """Returns the path of the anchors beside a detector."""
    return model.with_suffix(".anchors.json")


def read_anchors(path: Path) -> Anchors:
    """Reads the anchors of a detector.

    Raises:
        ValueError: If the file holds something else.
        OSError: If the file cannot be read.
    """
    try:
        return Anchors.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _kept(model: Path) -> Reading | None:
    path = beside(model)
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        low, high = value["pixels"]
        return Reading(
            pixels=(float(low), float(high)),
            label=str(value["label"]),
            validation=float(value["validation"]),
            classes=tuple(str(name) for name in value["classes"]),
            window=int(value["window"]) if "window" in value else None,
            kept=True,
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: expected the file that `train` wrote: got {error!r}") from None


def keep(model: Path, reading: Reading) -> None:
    """Writes beside a model its anchors, and the reading of its data if the classes have names."""
    if reading.anchors is not None:
        files.write_text(anchors_beside(model), reading.anchors.to_json() + "\n")
    if not reading.classes:
        return
    value: dict[str, Any] = {
        "classes": list(reading.classes),
        "pixels": list(reading.pixels),
        "label": reading.label,
        "validation": reading.validation,
    }
    if reading.window is not None:
        value["window"] = reading.window
    files.write_text(beside(model), json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def load(path: Path, part: str, *, shape: Sequence[int | None], reading: Reading) -> Part:
    """Loads one part of the data.

    Args:
        path: The file or folder of `--data`.
        part: "train" or "test".
        shape: The shape of the model's input, with None for any size.
        reading: How images and CSV are read.

    Returns:
        The examples.

    Raises:
        ValueError: If the data are of no known kind, are damaged or do not fit the model; the text
            names the file, row and column.
        OSError: If the file or folder does not exist.
    """
    if path.suffix == ".csv" or (path / "train.csv").is_file():
        found = csv_file.load(path, part, shape=shape, reading=reading)
    elif saved_dataset.is_saved(path):
        found = saved_dataset.load(path, part, shape=shape, reading=reading)
    elif detection_data_files.is_detection(path):
        found = detection_data_files.load_images(path, part, shape=shape, reading=reading)
    elif path.is_dir():
        found = image_folder.load(path, part, shape=shape, reading=reading)
    else:
        x = data_files.images(path, f"x_{part}")
        y = data_files.load_array(path, f"y_{part}")
        found = Part(x, y, (), name=f"{path}: ", x_name=f"x_{part}", y_name=f"y_{part}")
    return found


def load_labelled(
    path: Path, part: str, *, shape: Sequence[int | None], classes: int, reading: Reading
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], tuple[str, ...]]:
    """Loads and checks one part of the data of a classifier.

    Args:
        path: The file or folder of `--data`.
        part: "train" or "test".
        shape: The shape of the model's input, with None for any size.
        classes: The number of classes of the model.
        reading: How images and CSV are read.

    Returns:
        Inputs [n, ...], labels [n, 1] and the names of the classes, empty for classes without
        names.

    Raises:
        ValueError: As `load`, and if there are no labels, or the model has other classes.
    """
    found = load(path, part, shape=shape, reading=reading)
    if found.truths is not None:
        raise ValueError(
            f"{path}: expected examples with a label each: got images with boxes, which go with "
            "--task detection"
        )
    if found.classes and len(found.classes) != classes:
        raise ValueError(
            f"{path} must have the {classes} classes of the model: got {len(found.classes)} "
            f"({_listing(found.classes)})"
        )
    if found.y is None:
        data_files.load_arrays(path, found.x_name, found.y_name)  # its error names missing arrays
        raise ValueError(f"{path}: expected labels")
    x = found.x.astype(np.float32)
    arrays.require_shape(x, shape, name=found.name + found.x_name)
    name = found.name + found.y_name
    y = arrays.class_indices(found.y, count=len(x), classes=classes, name=name)
    return x, y[:, None], found.classes


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def first(part: Part, limit: int | None) -> Part:
    """Returns the first examples of a part; of sorted classes, some of each class.

    Args:
        part: The examples.
        limit: The number of examples; None for all.
    """
    chosen = np.arange(len(part.x))[:limit]
    if part.classes and limit is not None:
        chosen = data_files.spread(len(part.x), limit)
    return dataclasses.replace(
        part,
        x=part.x[chosen],
        y=None if part.y is None else part.y[chosen],
        truths=None if part.truths is None else tuple(part.truths[index] for index in chosen),
    )
