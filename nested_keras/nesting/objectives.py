"""The settings of compile() for the levels of a nested model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from typing import Any

import keras

from nested_keras.nesting.distillation_loss import Distillation
from nested_keras.nesting.judge import Judge, Measures
from nested_keras.typing import KerasModel, Schedule, Value

_LOSS_WEIGHTS = "level_loss_weights"


@dataclasses.dataclass(frozen=True)
class LevelObjective:
    """The settings of compile() for one level.

    Attributes:
        level: The level.
        routing: The routing coefficient, 0..1, or a Keras schedule of it.
        weight: The weight of the level's loss in the sum, >= 0.
        judge: The loss and the metrics of the level.
        tracker: The mean of the level's loss.
    """

    level: int
    routing: Any
    weight: float
    judge: Judge
    tracker: Any


@dataclasses.dataclass(frozen=True)
class Objectives:
    """The settings of compile(), in a plain object that Keras neither tracks nor saves.

    Attributes:
        levels: One objective per level.
        measures: The losses and metrics of the levels, as the arguments of compile().
        distillation: How the levels learn from other models, or None.
        sandwich: Whether a step trains the densest, the sparsest and one level between.
        split_batch: Whether each level that a step trains has samples of its own.
        slots: By the path of an optimizer variable, the value for each weight before the first
            step, where that value is not 0.
        test_functions: By the number of a level, the function that evaluates this level alone; made
            on first use.
    """

    levels: tuple[LevelObjective, ...]
    measures: Measures
    distillation: Distillation | None
    sandwich: bool
    split_batch: bool
    slots: dict[str, float] = dataclasses.field(default_factory=dict)
    test_functions: dict[int, Any] = dataclasses.field(default_factory=dict)

    def turns(self) -> list[tuple[int, ...]]:
        """Returns the turns of a step, densest first: each turn trains one of its levels."""
        levels = len(self.levels)
        if self.sandwich and levels > 2:
            return [(levels - 1,), tuple(range(1, levels - 1)), (0,)]
        return [(level,) for level in reversed(range(levels))]


def settle(
    model: KerasModel,
    measures: Measures,
    *,
    routing: Schedule,
    level_loss_weights: Iterable[float] | None,
    distillation: Distillation | None,
    sandwich: bool,
    split_batch: bool,
) -> Objectives:
    """Checks the arguments of `LevelTrainer.compile`, and makes each level's loss and metrics.

    Args:
        model: The nested model.
        measures: The losses and the metrics.
        routing: The routing coefficients.
        level_loss_weights: The weights of the levels' losses.
        distillation: How the levels learn from other models, or None.
        sandwich: Whether a step trains the densest, the sparsest and one level between.
        split_batch: Whether each level that a step trains has samples of its own.

    Returns:
        The objectives, without the optimizer's slots.

    Raises:
        TypeError: If routing is neither a number nor a schedule, or an argument has a wrong type.
        ValueError: If an argument is out of range or does not go with the others.
    """
    routings = _routings(routing, levels=model.levels)
    weights = _loss_weights(level_loss_weights, levels=model.levels)
    if distillation is not None:
        if not isinstance(distillation, Distillation):
            raise TypeError(
                "distillation must be a Distillation, such as Distillation(teacher=model): got "
                f"{type(distillation).__name__}"
            )
        distillation = distillation.for_model(model)
    if split_batch and distillation is not None and distillation.in_place:
        raise ValueError(
            "split_batch=True must go without in-place distillation, which compares the levels "
            "on the same samples: got Distillation(in_place=True)"
        )
    return Objectives(
        tuple(
            LevelObjective(
                level=level,
                routing=routings[level],
                weight=weights[level],
                judge=Judge(measures, list(model.output_names)),
                tracker=keras.metrics.Mean(name=f"level_{level}_loss"),
            )
            for level in range(model.levels)
        ),
        measures=measures,
        distillation=distillation,
        sandwich=sandwich,
        split_batch=split_batch,
    )


def _routings(routing: Schedule, *, levels: int) -> tuple[Any, ...]:
    """Returns one routing coefficient or schedule per level."""
    routings = _per_level(routing, levels=levels, argument="routing")
    for value in routings:
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            continue
        if isinstance(value, str) or not hasattr(value, "__float__"):
            raise TypeError(f"routing must be a number or a LearningRateSchedule: got {value!r}")
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"routing must lie in [0, 1]: got {routings}")
    return routings


def _loss_weights(given: Iterable[float] | None, *, levels: int) -> tuple[float, ...]:
    """Returns the weight of each level's loss."""
    weights = _per_level(1.0 if given is None else given, levels=levels, argument=_LOSS_WEIGHTS)
    if not all(isinstance(weight, float) for weight in weights):
        raise TypeError(f"{_LOSS_WEIGHTS} must be numbers: got {weights}")
    if min(weights) < 0.0:
        raise ValueError(f"{_LOSS_WEIGHTS} must not be negative: got {weights}")
    return weights


def _per_level(values: Value, *, levels: int, argument: str) -> tuple[Any, ...]:
    """Returns one value per level, numbers as floats."""
    if isinstance(values, Mapping | Set | str):
        raise TypeError(f"{argument} must be one value, or a list of one per level: got {values!r}")
    given = tuple(values) if isinstance(values, Iterable) else (values,) * levels
    given = tuple(float(value) if hasattr(value, "__float__") else value for value in given)
    if len(given) != levels:
        raise ValueError(f"{argument} must have {levels} entries, one per level: got {given}")
    return given
