"""CSV files: a row for each example, or for each time step of a series."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nested_keras.cli.parts import SECOND_PART, Part, Reading, class_names, set_apart
from nested_keras.typing import Float32Array

# As pandas and NumPy may write a class index: 3, 3.0 or 3.000e+00.
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?(e[+-][0-9]+)?")


def load(path: Path, part: str, *, shape: Sequence[int | None], reading: Reading) -> Part:
    """Loads one part of labelled rows.

    The first line names the columns. If the number of columns beside the label equals the number of
    values of the model's input, a row is an example. If the number equals the channels of the
    input, a row is a time step, and the examples are windows of the series that neither overlap nor
    cross a change of the label.

    Args:
        path: The file, or a folder with train.csv and test.csv (val.csv, validation.csv).
        part: "train" or "test".
        shape: The shape of the model's input.
        reading: The names of the classes, the column of the labels, the share of a part.

    Returns:
        float32 examples and their labels.

    Raises:
        ValueError: If a cell is no finite number, a column is missing, or the columns do not fit
            the model; the text names row and column.
    """
    sizes = tuple(shape[1:])
    if not sizes or None in sizes:
        raise ValueError(f"{path}: for CSV the model's input must have a fixed size: got {sizes}")
    wanted = tuple(int(size or 0) for size in sizes)
    file, parted = path, path.is_dir()
    if parted:
        # train.csv names the classes of both parts.
        first = _windows(*_rows(path / "train.csv", reading.label), wanted, path / "train.csv")
        file = path / "train.csv" if part == "train" else _second(path)
        x, labels = (
            first if part == "train" else _windows(*_rows(file, reading.label), wanted, file)
        )
        known = first[1]
    else:
        x, labels = _windows(*_rows(file, reading.label), wanted, file)
        known = labels
    if reading.classes or None in map(_index, known):
        names = class_names({*known}, reading, where=str(path))
        class_names({*labels}, Reading(classes=names), where=str(file))
        y = np.array([names.index(label) for label in labels])
    else:
        indices = [_index(label) for label in labels]
        if None in indices:
            other = labels[indices.index(None)]
            raise ValueError(f"{file}: expected class indices, as in train.csv: got {other!r}")
        names, y = (), np.array(indices)
        if len({*map(_index, known)}) < 2:
            raise ValueError(f"{path}: expected two classes or more: got only {known[0]}")
    if not parted:
        chosen = set_apart(y, part, share=reading.validation)
        x, y = x[chosen], y[chosen]
    return Part(x, y, names, name=f"{file}: ", y_name=f"the column {reading.label}")


def _second(path: Path) -> Path:
    places = [path / f"{name}.csv" for name in SECOND_PART]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(f"{path}: expected test.csv beside train.csv: got none")


def _index(label: str) -> int | None:
    """Returns the class index that a label is, if any."""
    value = float(label) if _NUMBER.fullmatch(label) else math.nan
    return int(value) if value.is_integer() else None


def _rows(path: Path, label: str) -> tuple[Float32Array, list[str]]:
    """Returns the numbers [rows, columns] and the label of each row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            lines = csv.reader(file, delimiter=delimiter)
            names = [name.strip() for name in next(lines, [])]
            if label not in names:
                raise ValueError(
                    f"{path}: expected a column {label!r} with the labels in the first line (see "
                    f"--label): got {', '.join(names[:8]) or 'an empty file'}"
                )
            position = names.index(label)
            values: list[list[float]] = []
            labels: list[str] = []
            for cells in lines:
                if not cells:
                    continue
                where = f"{path}: row {lines.line_num}"
                if len(cells) != len(names):
                    raise ValueError(f"{where}: expected {len(names)} cells: got {len(cells)}")
                labels.append(cells.pop(position).strip())
                if not labels[-1]:
                    raise ValueError(f"{where}, column {label!r}: expected a label: got none")
                values.append(_numbers(cells, names, position, where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from error
    if not values:
        raise ValueError(f"{path}: expected rows behind the first line: got none")
    return np.array(values, np.float32), labels


def _numbers(cells: list[str], names: list[str], position: int, where: str) -> list[float]:
    try:
        found = [float(cell) for cell in cells]
        if all(math.isfinite(value) and abs(value) < 3e38 for value in found):
            return found
    except ValueError:
        pass
    columns = [name for index, name in enumerate(names) if index != position]
    for cell, name in zip(cells, columns, strict=True):
        try:
            fine = math.isfinite(float(cell)) and abs(float(cell)) < 3e38
        except ValueError:
            fine = False
        if not fine:
            raise ValueError(f"{where}, column {name!r}: expected a number: got {cell!r}")
    raise AssertionError("a cell is no finite number")


def _windows(
    values: Float32Array, labels: list[str], wanted: tuple[int, ...], path: Path
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Cuts rows into examples of a shape."""
    columns, size, channels = values.shape[1], math.prod(wanted), wanted[-1]
    if columns == size:
        return values.reshape(-1, *wanted), labels
    if columns != channels or len(wanted) < 2:
        raise ValueError(
            f"{path}: expected {size} columns beside the label (an example a row)"
            + (f" or {channels} (a time step a row)" if len(wanted) > 1 else "")
            + f", as the model takes {list(wanted)}: got {columns}"
        )
    steps = size // channels
    starts = _window_starts(labels, steps)
    if not starts:
        raise ValueError(
            f"{path}: expected {steps} rows or more with the same label one after the other: got "
            "no such window"
        )
    x = np.stack([values[at : at + steps] for at in starts]).reshape(-1, *wanted)
    return x, [labels[at] for at in starts]


def _window_starts(labels: Sequence[str], steps: int) -> list[int]:
    """Returns the first rows of windows that do not overlap and have one label each."""
    starts, begin = [], 0
    for index in range(len(labels)):
        if labels[index] != labels[begin]:
            begin = index
        if index + 1 - begin == steps:
            starts.append(begin)
            begin = index + 1
            if begin == len(labels):
                break
    return starts
