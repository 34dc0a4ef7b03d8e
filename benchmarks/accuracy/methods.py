"""The methods: nested training and its rivals, each from the same dense model.

Each function trains what it needs (or goes on, or loads what is trained), measures it, and returns
its points: "name", "sparsity" or "width", "accuracy_float", "accuracy_int8", "instructions",
"cycles", "weight_bytes"; and the bytes of the files that a device needs to have all points.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import nested_keras
from benchmarks.accuracy import fitting, legacy, measure
from benchmarks.accuracy.data import Data, Epochs, normalised
from benchmarks.accuracy.recipe import Recipe, build, pruning_schedule
from benchmarks.accuracy.runs import Run, environment, open_run, write_json
from nested_keras import allocation, callbacks
from nested_keras.allocation import budget
from nested_keras.distillation import Distillation

Points = tuple[list[dict[str, Any]], int]
# Training images that the sensitivity of each layer is measured with.
SENSITIVITY_IMAGES = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """What the methods work on.

    Attributes:
        recipe: The recipe.
        data: The images.
        root: Folder of all runs.
    """

    recipe: Recipe
    data: Data
    root: Path

    def open(self, name: str) -> Run:
        """The run directory of a training."""
        return open_run(self.root, name, recipe=self.recipe)

    def steps(self) -> int:
        """Steps of a method's training."""
        return self.recipe.epochs * (len(self.data.x_train) // self.recipe.batch_size)

    def base(self, *, policy: str = "float32") -> Any:
        """The trained dense model.

        Raises:
            FileNotFoundError: if it is not trained yet.
        """
        weights = self.open("dense").weights
        if not weights.exists():
            raise FileNotFoundError(f"{weights}: train the dense model first (the method `dense`)")
        base = build(self.recipe, self.data, policy=policy)
        trained = nested_keras.nest(base, (0.0,))
        trained.load_weights(weights)
        fitting.transfer(trained, base)
        return base

    def nest(self, sparsities: tuple[float, ...], **options: Any) -> Any:
        """The dense model, nested, ready to be trained."""
        return nested_keras.nest(self.base(policy=self.recipe.policy), sparsities, **options)

    def distillation(self, *, levels: int) -> Any:
        """What a model of so many levels learns from besides the labels, or None."""
        kind = self.recipe.distillation
        from_teacher = kind in ("teacher", "both")
        in_place = kind in ("in_place", "both") and levels > 1  # a single level has none above it
        if not (from_teacher or in_place):
            return None
        teacher = self.base(policy=self.recipe.policy) if from_teacher else None
        return Distillation(teacher=teacher, in_place=in_place)

    def in_float32(self, model: Any, **options: Any) -> Any:
        """A trained nested model again, in float32 throughout."""
        # The masks come with the weights; a model's own sparsities may be equal at several levels.
        any_sparsities = tuple(1.0 / (2.0 + level) for level in range(model.levels))
        copy = nested_keras.nest(build(self.recipe, self.data), any_sparsities, **options)
        copy.set_sparsities({layer.name: layer.sparsities for layer in model.nested_layers})
        copy.set_weights(model.get_weights())
        return copy


def dense(context: Context) -> Points:
    """The dense model that every method starts from."""
    recipe, data = context.recipe, context.data
    model = nested_keras.nest(build(recipe, data, policy=recipe.policy), (0.0,))
    run = context.open("dense")
    if recipe.pretrained and not run.weights.exists():
        source = keras.models.load_model(recipe.pretrained, compile=False)
        fitting.adopt(source, model, input_scale=255.0)
        model.save_weights(run.weights)
    fitting.train(model, data, recipe=recipe, run=run, epochs=recipe.dense_epochs)
    point, size = measure.dense_point(context.in_float32(model), data, recipe=recipe)
    return [{"name": "dense", **point}], size


def nested(context: Context) -> Points:
    """All levels in one training, one file."""
    points, size = _nested(context, context.nest(context.recipe.sparsities), "nested")
    return _named(points), size


def allocated(context: Context) -> Points:
    """The same, with the sparsity of each layer chosen so that no level gains cycles by it.

    The first convolution and the head, which the other methods keep dense, may be pruned too.
    """
    sparsities = context.recipe.sparsities
    model = context.nest(sparsities, exclude=())
    model.set_sparsities(_allocation(context, context.open("allocated")))
    points, size = _nested(context, model, "allocated", exclude=())
    names = [f"as {sparsity:.0%} zeros" for sparsity in sparsities]
    return [{"name": name, **point} for name, point in zip(names, points, strict=True)], size


def standalone(context: Context) -> Points:
    """A model for each sparsity, each with the recipe and the steps of the nested one."""
    models = [_alone(context, sparsity) for sparsity in context.recipe.sparsities]
    return _one_file_each(context, models)


def tfmot(context: Context) -> Points:
    """A model for each sparsity, pruned with tfmot's prune_low_magnitude on tf_keras."""
    models = []
    for sparsity in context.recipe.sparsities:
        base = context.base()
        legacy.prune(
            base,
            context.data,
            sparsity=sparsity,
            recipe=context.recipe,
            run=context.open(f"tfmot-{sparsity:g}"),
        )
        model = nested_keras.nest(base, (sparsity,))
        model.prune()  # marks the zeros that tfmot left
        models.append(model)
    return _one_file_each(context, models)


def dsnn(context: Context) -> Points:
    """No nested training: the densest model that stands alone, pruned further by magnitude.

    After DSNN (arXiv:2005.10627) each sparsity has BatchNorm statistics of its own, re-estimated on
    augmented training images. The file is that of a nested model.
    """
    recipe, data = context.recipe, context.data
    densest = _alone(context, min(recipe.sparsities), train=False)
    model = nested_keras.nest(build(recipe, data), recipe.sparsities)
    fitting.transfer(densest, model)
    model.prune()
    batches = Epochs(data, batch_size=recipe.batch_size, seed=recipe.seed)
    callbacks.reestimate_batch_norm(
        model, batches.images(fitting.STATISTICS_IMAGES), batch_size=100
    )
    points, size = measure.nested_points(model, data, recipe=recipe)
    return _named(points), size


def slimmable(context: Context) -> Points:
    """Widths in place of sparsities, with BatchNorm per width: slimmable networks.

    A slimmable network is a nested one whose level maps are set by structure: a width keeps the
    weights between its first channels. What the other channels hold, nobody reads. It is trained as
    such, and measured as dense models of each width, the way a device would run it. (Yu et al.,
    2018, arXiv:1812.08928)
    """
    recipe, data = context.recipe, context.data
    sparsities = tuple(1.0 - width * width for width in sorted(recipe.widths))  # names, no more
    model = context.nest(sparsities, exclude=())
    narrow = [build(recipe, data, width=width) for width in sorted(recipe.widths)]
    set_widths(model, narrow)
    run = context.open("slimmable")
    fitting.train(
        model,
        data,
        recipe=recipe,
        run=run,
        epochs=recipe.epochs,
        distillation=context.distillation(levels=model.levels),
    )
    model = context.in_float32(model, exclude=())
    points = []
    for level, (width, base) in enumerate(zip(sorted(recipe.widths), narrow, strict=True)):
        fitting.transfer(model, base, level=level)
        point, size = measure.dense_point(nested_keras.nest(base, (0.0,)), data, recipe=recipe)
        points.append({"name": f"width {width:g}", "width": width, **point})
    return points, size  # of the widest: the others are parts of it


METHODS: dict[str, Callable[[Context], Points]] = {
    "dense": dense,
    "nested": nested,
    "allocated": allocated,
    "standalone": standalone,
    "tfmot": tfmot,
    "dsnn": dsnn,
    "slimmable": slimmable,
}


def run(method: str, context: Context) -> dict[str, Any]:
    """Runs a method and writes its result.json; returns the one that is there where it is done.

    Args:
        method: One of `METHODS`.
        context: What to run it on.

    Returns:
        The content of result.json.
    """
    keras.utils.set_random_seed(context.recipe.seed)
    here = context.open(method)
    points, file_bytes = METHODS[method](context)
    trainings = sorted(here.folder.parent.glob(f"{method}*"))
    result = {
        "method": method,
        "recipe": context.recipe.to_dict(),
        "train_images": len(context.data.x_train),
        "test_images": len(context.data.x_test),
        "training_seconds": round(sum(Run(folder).seconds() for folder in trainings), 1),
        "file_bytes": file_bytes,
        "points": points,
        "environment": environment(),
    }
    here.write_result(result)
    return result


def set_widths(model: Any, narrow: list[Any]) -> None:
    """Sets the level maps of a nested model so that level l is its l-th width.

    Args:
        model: The nested model, all of whose kernels nest but for the depthwise ones.
        narrow: The plain model at each width, narrowest first; the last is as wide as `model`.
    """
    for layer in model.nested_layers:
        level_map = np.full(layer.kernel.shape, len(narrow), np.uint8)
        for level in reversed(range(len(narrow))):
            shape = narrow[level].get_layer(layer.name).kernel.shape
            level_map[tuple(slice(size) for size in shape)] = level
        layer.level_map.assign(level_map)
        zeros = [float((level_map > level).mean()) for level in range(len(narrow))]
        model.set_sparsities({layer.name: zeros})


def _nested(context: Context, model: Any, name: str, **options: Any) -> Points:
    """Trains all levels of a model together, and measures each; its points have no names yet.

    Args:
        context: What it works on.
        model: The nested model.
        name: Of the run.
        **options: Those of `nest` that made the model.
    """
    recipe, data = context.recipe, context.data
    fitting.train(
        model,
        data,
        recipe=recipe,
        run=context.open(name),
        epochs=recipe.epochs,
        split_batch=recipe.split_batch,
        schedule=pruning_schedule(max(recipe.sparsities), recipe=recipe, steps=context.steps()),
        routing=recipe.routing,
        distillation=context.distillation(levels=model.levels),
    )
    return measure.nested_points(context.in_float32(model, **options), data, recipe=recipe)


def _allocation(context: Context, run: Run) -> allocation.Allocation:
    """The sparsities of each layer, for the predicted cycles of the uniform ones.

    They are measured on the dense model, once: a run that goes on reads them from its folder.
    """
    stored = run.folder / "allocation.json"
    if not stored.exists():
        base, sparsities = context.base(), context.recipe.sparsities
        budgets = budget.total(nested_keras.nest(base, sparsities), budget.cycles)
        model = nested_keras.nest(base, sparsities, exclude=())
        images = context.data.x_train[:SENSITIVITY_IMAGES]
        sensitivity = allocation.measure_sensitivity(
            model,
            normalised(images),
            context.data.y_train[:SENSITIVITY_IMAGES],
            loss=fitting.LOSS,
        )
        write_json(stored, allocation.allocate(model, sensitivity.fitted(), budgets))
    found: allocation.Allocation = json.loads(stored.read_text())
    return found


def _alone(context: Context, sparsity: float, *, train: bool = True) -> Any:
    """The model of one sparsity that stands alone, in float32."""
    recipe, run = context.recipe, context.open(f"standalone-{sparsity:g}")
    if not train and not run.weights.exists():
        raise FileNotFoundError(f"{run.weights}: run the method `standalone` first")
    model = context.nest((sparsity,))
    fitting.train(
        model,
        context.data,
        recipe=recipe,
        run=run,
        epochs=recipe.epochs,
        schedule=pruning_schedule(sparsity, recipe=recipe, steps=context.steps()),
        distillation=context.distillation(levels=model.levels),
    )
    return context.in_float32(model)


def _one_file_each(context: Context, models: list[Any]) -> Points:
    points, total = [], 0
    for model in models:
        (point,), size = measure.nested_points(model, context.data, recipe=context.recipe)
        points.append(point)
        total += size
    return _named(points), total


def _named(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"{point['sparsity']:.0%} zeros", **point} for point in points]
