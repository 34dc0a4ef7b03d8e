"""What a train step with N levels costs, next to a plain Keras step of the same dense model.

Run it: python benchmarks/training_step.py [--json F] [--rounds 7] [--steps 4] [--batch-size 64]

Both train the same network on the same random images with the same optimizer, in one process and in
turns: one round of dense steps, one of nested ones, and so on. Medians over the rounds compare.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nested_keras import applications, files, runs
from nested_keras.cli.arguments import dashed
from nested_keras.distillation import Distillation
from nested_keras.nesting import model

SPARSITIES = (0.95, 0.9, 0.8, 0.7)
NETWORKS: dict[str, Callable[[], Any]] = {
    "resnet8": applications.resnet8,
    "mobilenet_v1_025": lambda: applications.mobilenet_v1((32, 32, 3), 10, width=0.25),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "joint": {},
    "routing 0.5": {"routing": 0.5},
    "in-place distillation": {"distillation": Distillation(in_place=True)},
}


def batch(network: Any, size: int) -> tuple[Any, Any]:
    """Returns random images and labels, on the device already."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, *network.input_shape[1:])).astype("float32")
    y = rng.integers(0, network.output_shape[-1], size)
    return tf.constant(x), tf.constant(y)


def stepper(network: Any, **options: Any) -> Callable[[tuple[Any, Any]], Any]:
    """Compiles a model and returns its train step as one graph, the way `fit` runs it."""
    network.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=False, **options
    )
    return tf.function(network.train_step)


def measure(
    steps: dict[str, Any], data: tuple[Any, Any], *, rounds: int, each: int
) -> dict[str, float]:
    """Returns the median seconds of one step of each kind."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(data)  # traced here
        step(data)
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(each):
                logs = step(data)
            float(logs["loss"])
            seconds[name].append((time.perf_counter() - start) / each)
    return {name: statistics.median(values) for name, values in seconds.items()}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of this program."""
    root = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root.add_argument("--json", type=Path)
    root.add_argument("--rounds", type=int, default=7)
    root.add_argument("--steps", type=int, default=4)
    root.add_argument("--batch-size", type=int, default=64)
    root.add_argument("--levels", type=int, nargs="+", default=[3, 4])
    return root


def main() -> None:
    """Measures all networks and prints the table."""
    args = parser().parse_args(dashed(sys.argv[1:]))
    rows = []
    print(f"{'network':18} {'levels':>6} {'step':22} {'seconds':>9} {'over N dense steps':>19}")
    for name, make in NETWORKS.items():
        for levels in args.levels:
            keras.utils.set_random_seed(0)
            dense = make()
            data = batch(dense, args.batch_size)
            steps = {"dense": stepper(dense)}
            for option, arguments in OPTIONS.items():
                nested = model.nest(dense, SPARSITIES[-levels:])
                nested.prune()
                steps[option] = stepper(nested, **arguments)
            found = measure(steps, data, rounds=args.rounds, each=args.steps)
            for option, seconds in found.items():
                ratio = seconds / (levels * found["dense"]) if option != "dense" else None
                rows.append(
                    {
                        "network": name,
                        "levels": levels,
                        "step": option,
                        "seconds": round(seconds, 5),
                        "over_n_dense_steps": ratio and round(ratio, 3),
                    }
                )
                print(
                    f"{name:18} {levels:6} {option:22} {seconds:9.4f} "
                    f"{'' if ratio is None else format(ratio, '.2f'):>19}"
                )
    if args.json:
        environment = {k: v for k, v in runs.environment().items() if k != "platform"}
        result = {"batch_size": args.batch_size, "environment": environment, "rows": rows}
        files.write_text(args.json, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
