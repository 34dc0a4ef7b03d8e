"""Compares two revisions of the project: exported files byte by byte, instructions one by one.

    python benchmarks/compare_revisions.py OLD [NEW] [--models resnet8,ds_cnn] [--json FILE]

OLD and NEW are Git revisions; without NEW, the working tree counts as the new one. A change that
moves code without changing any result leaves every line at "same".

Each revision is checked out into a temporary folder. Its public names and its command line make the
.tflite of each network (seeded random weights and BatchNorm statistics; levels of 90, 80 and 70 %,
pruned in one shot). QEMU counts the instructions that each level takes as generated C on the
Cortex-M7. "demo" is the whole of `nested-keras demo`, training included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = ("demo", "resnet8", "mobilenet_v1", "ds_cnn")
# By model: {"bytes": size, "sha256": digest, "instructions": [per level]}.
Results: TypeAlias = dict[str, dict[str, Any]]

# Runs inside a revision: writes model.tflite and data.npz into the working directory.
_EXPORT = """
import sys
import keras
import numpy as np
import nested_keras
from nested_keras import applications, export

keras.utils.set_random_seed(0)
draw = np.random.default_rng(0)
base = {
    "resnet8": lambda: applications.resnet8(),
    "mobilenet_v1": lambda: applications.mobilenet_v1(width=0.25),
    "ds_cnn": lambda: applications.ds_cnn(),
}[sys.argv[1]]()
for layer in base.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        for variable in layer.weights:
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
model = nested_keras.nest(base, (0.9, 0.8, 0.7))
model.prune()
x = draw.uniform(-1, 1, (32, *base.input_shape[1:])).astype(np.float32)
with open("model.tflite", "wb") as file:
    file.write(export.to_tflite(model, representative_dataset=x))
np.savez("data.npz", x_test=x)
"""
_COMMAND = "import sys; from nested_keras.cli import main; main(['nested-keras', *sys.argv[1:]])"


def measure(tree: Path, models: list[str]) -> Results:
    """Measures the models of one revision.

    Args:
        tree: The checkout.
        models: Of `MODELS`.
    """
    return {name: _measure_model(tree, name) for name in models}


def _measure_model(tree: Path, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        if name == "demo":
            _run(tree, folder, _COMMAND, "demo", "--out", ".")
            rows = json.loads(Path(folder, "report.json").read_text())["levels"]
        else:
            _run(tree, folder, _EXPORT, name)
            command = ("run", "model.tflite", "--target", "qemu", "--data", "data.npz")
            _run(tree, folder, _COMMAND, *command, "--limit", "1", "--json", "run.json")
            rows = json.loads(Path(folder, "run.json").read_text())["levels"]
        content = Path(folder, "model.tflite").read_bytes()
    return {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "instructions": [row["instructions"] for row in rows],
    }


def _run(tree: Path, folder: str, code: str, *arguments: str) -> None:
    """Runs Python code in a folder, with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{tree}, {' '.join(arguments)}:\n{done.stdout}{done.stderr}")


def differences(old: Results, new: Results) -> list[str]:
    """Says what differs, one line per model and figure."""
    return [
        f"{name}: {figure} {old[name][figure]} -> {new[name][figure]}"
        for name in old
        for figure in old[name]
        if old[name][figure] != new[name][figure]
    ]


def _measure_revision(revision: str | None, models: list[str]) -> Results:
    if revision is None:
        return measure(REPOSITORY, models)
    with tempfile.TemporaryDirectory() as parent:
        tree = Path(parent) / "tree"
        git = ("git", "-C", str(REPOSITORY), "worktree")
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True)
        try:
            return measure(tree, models)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of this program."""
    root = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("old", help="a Git revision")
    root.add_argument("new", nargs="?", help="a Git revision (default: the working tree)")
    root.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)}")
    root.add_argument("--json", type=Path, help="write both revisions' figures to this file")
    return root


def main() -> int:
    """Compares; returns 1 where something differs."""
    arguments = parser()
    args = arguments.parse_args()
    models = args.models.split(",")
    unknown = sorted(set(models) - set(MODELS))
    if unknown:
        arguments.error(f"--models must be of {', '.join(MODELS)}: got {', '.join(unknown)}")
    old, new = (_measure_revision(revision, models) for revision in (args.old, args.new))
    if args.json:
        args.json.write_text(json.dumps({"old": old, "new": new}, indent=2) + "\n")
    lines = differences(old, new)
    for name in models:
        moved = [line for line in lines if line.startswith(f"{name}:")]
        print("\n".join(moved) or f"{name}: same, instructions {new[name]['instructions']}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
