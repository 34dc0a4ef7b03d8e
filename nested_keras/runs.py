"""Record training runs, and keep the order of the data over an interruption."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nested_keras import files
from nested_keras.nesting import fitting
from nested_keras.typing import Data, Json, KerasModel, Logs, Value

_PACKAGES = ("nested_keras", "keras", "tensorflow", "tensorflow-cpu", "numpy")


class RunDirectory(keras.callbacks.Callback):
    """Writes the settings and the results of a run into a folder.

    The folder gets `config.json` (the levels, the arguments of `compile` and `fit`, and the values
    of the user), `environment.json` (versions, machine, devices), `history.csv` (a row of logs per
    epoch; a run that resumes in the same folder goes on in this file) and, when training ends,
    `final.json` (one row per level, see `NestedModel.evaluate_levels`). Each file is written whole
    or not at all.

    Put this callback last, after `BatchNormReestimation`. With several workers, give the callback
    to one worker.

    Args:
        folder: Created if missing.
        data: The data of the final table, in a form of `evaluate`: a dataset, or a tuple of inputs
            and targets.
        config: More values for `config.json`, such as the seed; JSON values.
    """

    def __init__(self, folder: str | os.PathLike[str], *, data: Data, config: Json = None) -> None:
        super().__init__()
        self._folder = Path(folder)
        self._data = data
        self._config = config

    def on_train_begin(self, logs: Logs = None) -> None:
        """Writes the configuration and the environment."""
        self._folder.mkdir(parents=True, exist_ok=True)
        model = self.model
        config = {
            "model": model.name,
            "sparsities": list(model.sparsities),
            "layers": {layer.name: list(layer.sparsities) for layer in model.nested_layers},
            "compile": model.get_compile_config(),
            "fit": self.params,
            "user": self._config,
        }
        self._write_json("config.json", config)
        self._write_json("environment.json", environment())

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds a row to the history, and replaces a row that an interruption left behind."""
        path = self._folder / "history.csv"
        rows: list[dict[str, Any]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
        rows.append({"epoch": epoch, **{name: _cell(v) for name, v in (logs or {}).items()}})
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        self._write("history.csv", text.getvalue())

    def on_train_end(self, logs: Logs = None) -> None:
        """Measures all levels and writes the final table."""
        data = self._data if isinstance(self._data, tuple) else (self._data,)
        self._write_json("final.json", self.model.evaluate_levels(*data))

    def _write_json(self, name: str, value: Json) -> None:
        self._write(name, json.dumps(value, indent=2, default=_as_json) + "\n")

    def _write(self, name: str, text: str) -> None:
        files.write_text(self._folder / name, text)


def _cell(value: Value) -> float | str:
    """Returns a log for a cell of a table; several values as `keras.callbacks.CSVLogger`."""
    array = np.asarray(value)
    return f'"[{", ".join(map(str, array))}]"' if array.ndim else float(array)


def _as_json(value: Value) -> Json:
    """Returns a value that is none of JSON's own: a tensor as lists, anything else as text."""
    if isinstance(value, np.ndarray) or tf.is_tensor(value):
        return np.asarray(value).tolist()
    return str(value)


def environment() -> dict[str, Any]:
    """Returns versions, machine and devices, as JSON values."""
    installed = {dist.name.lower() for dist in importlib.metadata.distributions()}
    return {
        "python": sys.version.split()[0],
        "packages": {
            name: importlib.metadata.version(name) for name in _PACKAGES if name in installed
        },
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "dtype_policy": keras.config.dtype_policy().name,
    }


class EpochShuffled(keras.utils.PyDataset):
    """Batches in an order that depends on the seed and the number of the epoch alone.

    A run that `keras.callbacks.BackupAndRestore` resumes sees the same batches as a run without a
    stop. `shuffle=True` of `fit` and `tf.data.Dataset.shuffle` do not give this order, because both
    begin with the first order again. The step of the model's optimizer tells the epoch.

    Give `shuffle=False` to `fit`, because `fit` would otherwise draw an order of its own.

    Args:
        model: The compiled model to train; its optimizer counts the steps.
        x: Inputs (n, ...).
        y: Targets (n, ...).
        batch_size: 1..n, or up to passes * n.
        seed: The seed, >= 0.
        augment: None, or a function (x, random generator) -> x of one batch of inputs.
        drop_remainder: Whether an epoch leaves out a last batch that is not full.
        passes: How often an epoch shows each sample, at least 1. With `split_batch` and a pass for
            each level, an epoch shows each level as many samples as the data have.

    Raises:
        ValueError: If the batch size or the number of passes is out of range.
    """

    def __init__(
        self,
        model: KerasModel,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        *,
        batch_size: int,
        seed: int = 0,
        augment: Callable[[npt.NDArray[Any], np.random.Generator], npt.NDArray[Any]] | None = None,
        drop_remainder: bool = True,
        passes: int = 1,
    ) -> None:
        super().__init__()
        if passes < 1:
            raise ValueError(f"passes must be at least 1: got {passes}")
        if not 1 <= batch_size <= passes * len(x):
            raise ValueError(f"batch_size must be in 1..{passes * len(x)}: got {batch_size}")
        self._model = model
        self._x, self._y = x, y
        self._batch_size = batch_size
        self._passes = passes
        self._seed = seed
        self._augment = augment
        self._drop_remainder = drop_remainder
        self._epoch = 0
        self.on_epoch_begin()

    def __len__(self) -> int:
        """Returns the number of batches of an epoch."""
        full, rest = divmod(self._passes * len(self._x), self._batch_size)
        return full if self._drop_remainder or not rest else full + 1

    def on_epoch_begin(self) -> None:
        """Draws the order of the epoch that begins."""
        self._epoch = int(fitting.step_counter(self._model.optimizer).numpy()) // len(self)
        rng = np.random.default_rng((self._seed, self._epoch))
        orders = [rng.permutation(len(self._x)) for _ in range(self._passes)]
        self._order = np.concatenate(orders)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Returns a batch of the epoch."""
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x = self._x[chosen]
        if self._augment is not None:
            x = self._augment(x, np.random.default_rng((self._seed, self._epoch, index)))
        return x, self._y[chosen]
