"""Run directories: what was run, on what, how it went; and a run goes on where it was killed."""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy.recipe import Recipe
from nested_keras import files

_PACKAGES = ("nested_keras", "keras", "tensorflow", "tensorflow-model-optimization", "numpy")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one method.

    The folder holds config.json, environment.json, history.csv (a row per epoch), backup/ while
    it trains, trained.weights.h5 once it has, and result.json at the end of the method.

    Attributes:
        folder: The run directory.
    """

    folder: Path

    @property
    def backup(self) -> Path:
        """Where the state of the last epoch is kept."""
        return self.folder / "backup"

    @property
    def history(self) -> Path:
        """One row per epoch; of an epoch that was repeated after a kill the last one counts."""
        return self.folder / "history.csv"

    @property
    def weights(self) -> Path:
        """The trained weights: where they exist, training is over."""
        return self.folder / "trained.weights.h5"

    @property
    def result(self) -> Path:
        """What was measured: where it exists, there is nothing left to do."""
        return self.folder / "result.json"

    def seconds(self) -> float:
        """How long the epochs took together; 0 without training."""
        if not self.history.exists():
            return 0.0
        with self.history.open(newline="") as file:
            epochs = {row["epoch"]: float(row["seconds"]) for row in csv.DictReader(file)}
        return sum(epochs.values())

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json, whole or not at all."""
        write_json(self.result, result)


# What the dense model's training does not depend on: methods of several recipes may start from one.
_NOT_DENSE = (
    "epochs",
    "ramp",
    "mask_frequency",
    "routing",
    "split_batch",
    "distillation",
    "sparsities",
    "widths",
)


def open_run(root: Path, name: str, *, recipe: Recipe) -> Run:
    """Makes the run directory, or goes on with it.

    Args:
        root: Folder of all runs; this one lies at <root>/<network>-seed<seed>/<name>.
        name: The method, with what tells its trainings apart.
        recipe: Must be the one that the directory was made with; of "dense" in so far as it
            matters there.

    Raises:
        ValueError: if the directory is of another recipe.
    """
    folder = root / f"{recipe.network}-{recipe.width:g}-seed{recipe.seed}" / name
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"
    if config.exists():
        known = json.loads(config.read_text())
        ignored = _NOT_DENSE if name == "dense" else ()
        changed = {
            key: value
            for key, value in recipe.to_dict().items()
            if known.get(key) != value and key not in ignored
        }
        if changed:
            raise ValueError(
                f"{folder} has another recipe: expected "
                f"{ {key: known.get(key) for key in changed} }, got {changed}"
            )
    else:
        write_json(config, recipe.to_dict())
    write_json(folder / "environment.json", environment())
    return Run(folder)


def environment() -> dict[str, Any]:
    """Versions and machine, as far as they matter."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file, whole or not at all."""
    files.write_text(path, json.dumps(content, indent=2) + "\n")
