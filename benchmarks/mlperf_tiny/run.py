"""Nest a trained MLPerf Tiny model, fine-tune it a few steps, export it, and run every level.

    python benchmarks/mlperf_tiny/run.py --model pretrainedResnet.h5 --data cifar10.npz \
        --sparsities 0.9,0.8,0.7 --steps 200 --out benchmarks/mlperf_tiny/resnet8_90_80_70.json

The model is a Keras file of the MLPerf Tiny benchmark; the data an .npz with x_train, y_train,
x_test, y_test. Images are multiplied by --scale and resized to the model's input. Labels beyond the
model's classes are folded into them: with another data set than the one the model was trained on
the accuracy means nothing, and the run is a test of the whole way alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import nested_keras
from nested_keras import callbacks, export, files, recipe, report
from nested_keras.cli.arguments import dashed


def load(path: Path) -> Any:
    """The Keras model of a benchmark's file."""
    return nested_keras.load_model(path, compile=False)


def fit_to(model: Any, x: Any, y: Any, *, scale: float) -> tuple[Any, Any]:
    """Images in the model's size and range, labels within its classes."""
    height, width = model.input_shape[1:3]
    x = x.astype(np.float32) * scale
    if x.shape[1:3] != (height, width):
        x = np.asarray(keras.ops.image.resize(x, (height, width)))
    return x, (y.reshape(-1) % model.output_shape[-1]).astype(np.int32)


def fine_tune(model: Any, x: Any, y: Any, *, steps: int, batch_size: int) -> None:
    """A short ramp to the final sparsities and BatchNorm statistics of the levels' own."""
    model.compile(
        keras.optimizers.Adam(5e-4),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        routing=0.5,
    )
    if model.sparsities == (0.0,):
        return  # nothing is pruned: the pretrained weights are measured as they are
    model.fit(
        x,
        y,
        batch_size=batch_size,
        steps_per_epoch=steps,
        epochs=1,
        callbacks=recipe.callbacks(x, masks=callbacks.NestedPruning(end=2 / 3, frequency=10)),
        verbose=2,
    )


def parser() -> argparse.ArgumentParser:
    """Returns the parser of this program."""
    root = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--model", type=Path, required=True)
    root.add_argument("--data", type=Path, required=True)
    root.add_argument("--scale", type=float, default=1.0, help="factor on the images' values")
    root.add_argument("--sparsities", default="0.9,0.8,0.7")
    root.add_argument("--steps", type=int, default=200)
    root.add_argument("--batch-size", type=int, default=64)
    root.add_argument("--test-images", type=int, default=10000, help="for the PC's accuracy")
    root.add_argument("--device-images", type=int, default=50)
    root.add_argument("--out", type=Path, required=True)
    return root


def main() -> None:
    """Runs the benchmark and writes its results."""
    args = parser().parse_args(dashed(sys.argv[1:]))
    files.require_writable(args.out)

    keras.utils.set_random_seed(0)
    base = load(args.model)
    with np.load(args.data) as data:
        used = args.steps * args.batch_size
        train = fit_to(base, data["x_train"][:used], data["y_train"][:used], scale=args.scale)
        test = fit_to(
            base,
            data["x_test"][: args.test_images],
            data["y_test"][: args.test_images],
            scale=args.scale,
        )
    sparsities = tuple(float(part) for part in args.sparsities.split(","))
    model = nested_keras.nest(base, sparsities)
    fine_tune(model, *train, steps=args.steps, batch_size=args.batch_size)
    in_float = model.evaluate_levels(*test, verbose=0)
    exported = export.build(model, representative_dataset=train[0][:200])

    on_pc = report.run_levels(exported.tflite, *test, target="reference")
    few = [array[: args.device_images] for array in test]
    device = report.run_levels(exported.tflite, *few, target="qemu")
    rows = [
        {
            "level": size.level,
            "sparsity": row["sparsity"],
            "nnz": size.nnz,
            "weight_bytes": size.weight_bytes,
            "accuracy_float": row["accuracy"],
            "accuracy_int8": pc.accuracy,
            "accuracy_device": run.accuracy,
            "instructions": run.instructions,
            "arena_bytes": run.arena_bytes,
            "flash_bytes": run.flash_bytes,
            "mismatches_against_reference": run.mismatches_against_reference,
        }
        for size, row, pc, run in zip(
            report.level_sizes(exported.tflite), in_float, on_pc.levels, device.levels, strict=True
        )
    ]
    result = {
        "model": args.model.name,
        "test_images": len(test[0]),
        "device_images": len(few[0]),
        "fine_tuning_steps": 0 if sparsities == (0.0,) else args.steps,
        "tflite_bytes": len(exported.tflite),
        "levels": rows,
    }
    files.write_text(args.out, json.dumps(result, indent=2) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
