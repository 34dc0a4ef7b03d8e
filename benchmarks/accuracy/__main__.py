"""Accuracy, latency and storage of nested models and of their rivals.

    python -m benchmarks.accuracy METHOD --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy report --runs runs

METHOD is dense (first of all: the others start from it), nested, allocated, standalone, tfmot, dsnn
(after standalone) or slimmable. Each can be killed at any time and started again: it goes on with
the last whole epoch. The data are an .npz with x_train, y_train, x_test and y_test, images uint8
[n, height, width, channels]. `report` gathers the results and writes README.md and the plots.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks.accuracy import report
from benchmarks.accuracy.recipe import DISTILLATIONS, NETWORKS, Recipe
from nested_keras.cli.arguments import dashed

_METHODS = ("dense", "nested", "allocated", "standalone", "tfmot", "dsnn", "slimmable")
_HERE = Path(__file__).parent


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of all methods and of `report`."""
    root = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True)
    for name in _METHODS:
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True)
        command.add_argument("--runs", type=Path, required=True, help="folder of run directories")
        for field in dataclasses.fields(Recipe):
            flag, default = f"--{field.name.replace('_', '-')}", field.default
            if isinstance(default, bool):
                action = argparse.BooleanOptionalAction
                command.add_argument(flag, action=action, default=default)
                continue
            kind = {tuple: _floats, type(None): int}.get(type(default), type(default))
            choices = {"network": list(NETWORKS), "distillation": DISTILLATIONS}.get(field.name)
            command.add_argument(flag, type=kind, default=default, choices=choices)
    gather = commands.add_parser("report")
    gather.add_argument("--runs", type=Path, help="gather its results; else results.json as it is")
    gather.add_argument("--out", type=Path, default=_HERE, help="folder of the tables and plots")
    return root


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command."""
    args = parser().parse_args(dashed(sys.argv[1:] if argv is None else argv))
    if args.command == "report":
        report.write(args.out, runs=args.runs)
        print(f"Wrote {args.out}/README.md, results.json and the plots")
        return
    from benchmarks.accuracy import data, methods

    recipe = Recipe(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Recipe)})
    images = data.load(args.data, train_images=recipe.train_images, test_images=recipe.test_images)
    result = methods.run(args.command, methods.Context(recipe, images, args.runs))
    print(json.dumps(result["points"], indent=2))


if __name__ == "__main__":
    main()
