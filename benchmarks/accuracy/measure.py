"""What a trained model is worth: accuracy in float and int8, instructions, cycles, bytes."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.data import Data, normalised
from benchmarks.accuracy.recipe import Recipe
from nested_keras import export, report
from nested_keras.bench import whole_model


def nested_points(model: Any, data: Data, *, recipe: Recipe) -> tuple[list[dict[str, Any]], int]:
    """Measures each level of a nested model in float32.

    Returns:
        A point per level, sparsest first, and the bytes of the .tflite with all levels.
    """
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    rows = model.evaluate_levels(data.x_test, data.y_test, batch_size=500)
    exported = _export(model, data, recipe)
    points = [
        {"sparsity": row["sparsity"], "accuracy_float": row["accuracy"], **cost}
        for row, cost in zip(rows, _costs(exported.tflite, data), strict=True)
    ]
    return points, len(exported.tflite)


def dense_point(model: Any, data: Data, *, recipe: Recipe) -> tuple[dict[str, Any], int]:
    """Measures a nested model of one level as dense: TensorFlow's own operators and file."""
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    (row,) = model.evaluate_levels(data.x_test, data.y_test, batch_size=500)
    exported = _export(model, data, recipe)
    (cost,) = _costs(exported.dense_tflite, data)
    point = {"sparsity": 0.0, "accuracy_float": row["accuracy"], **cost}
    return point, len(exported.dense_tflite)


def _export(model: Any, data: Data, recipe: Recipe) -> Any:
    return export.build(
        model,
        representative_dataset=normalised(data.x_train[: recipe.calibration_images]),
    )


def _costs(tflite: bytes, data: Data) -> list[dict[str, Any]]:
    """The figures of the int8 model, level by level."""
    run = report.run_levels(tflite, data.x_test, data.y_test, target="reference")
    benchmark = whole_model.run(tflite)  # compares the firmware's outputs with the same reference
    return [
        {
            "accuracy_int8": row.accuracy,
            "instructions": cost.instructions,
            "cycles": cost.cycles,
            "weight_bytes": size.weight_bytes,
        }
        for row, cost, size in zip(
            run.levels, benchmark.levels, report.level_sizes(tflite), strict=True
        )
    ]
