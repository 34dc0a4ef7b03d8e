"""Choose the sparsity of each layer: by shape, by magnitude, or by sensitivity under a budget.

Every function here returns, by the name of each nested layer, one sparsity per level, for
`NestedModel.set_sparsities`. Sparsities never increase with the level, so the levels nest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nested_keras.allocation import budget
from nested_keras.allocation.budget import Cost, KernelShape, cycles
from nested_keras.nesting import input_forms, layers, masks
from nested_keras.nesting.model import NestedModel
from nested_keras.typing import Data, KerasLayer, KerasLoss

Allocation = dict[str, tuple[float, ...]]

# Sparsities to measure, dense in the range of usual levels; the allocation interpolates between.
SENSITIVITY_GRID = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)

# The largest number of passes, the share of a budget that may be left over, and the share that
# rounding may add.
_PASSES = 10
_CLOSE = 1e-3
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The increase of the loss when one layer alone is pruned.

    Attributes:
        sparsities: The measured sparsities, increasing, in (0, 1].
        increases: By the name of each nested layer, the increase of the loss at each sparsity.
    """

    sparsities: tuple[float, ...]
    increases: Mapping[str, tuple[float, ...]]

    def fitted(self) -> Sensitivity:
        """Returns the curves ``k * (1 / density - 1)`` that touch the measured curves from above.

        The loss grows by this rule while one layer loses weights (measured on ResNet-8, from half
        of the weights to a tenth), until the network is broken. Beyond that point the measured loss
        levels off, as if pruning the rest of the layer were free. Training shows that this is
        wrong. Therefore k comes from the steepest measurement.

        Returns:
            The curves at every hundredth, up to the largest measured sparsity below 1.

        Raises:
            ValueError: If no sparsity below 1 was measured.
        """
        measured = [index for index, sparsity in enumerate(self.sparsities) if sparsity < 1.0]
        if not measured:
            raise ValueError(f"sparsities must have one below 1: got {self.sparsities}")
        last = self.sparsities[measured[-1]]
        grid = (*(each / 100 for each in range(1, 100) if each / 100 < last), last)

        def lost(sparsity: float) -> float:
            return sparsity / (1.0 - sparsity)

        def curve(increases: tuple[float, ...]) -> tuple[float, ...]:
            k = max(increases[index] / lost(self.sparsities[index]) for index in measured)
            return tuple(k * lost(sparsity) for sparsity in grid)

        return Sensitivity(grid, {name: curve(each) for name, each in self.increases.items()})


def erdos_renyi(model: NestedModel, sparsities: Iterable[float]) -> Allocation:
    """Gives each layer a density in proportion to the sum of its kernel's sizes over their product.

    By the Erdos-Renyi-kernel rule of "Rigging the Lottery" (Evci et al., arXiv:1911.11134), small
    kernels keep a larger share. A density stops at 1, and the other layers get the rest.

    Args:
        model: The nested model.
        sparsities: The sparsity of each level over all nested kernels together.

    Returns:
        One sparsity per level for each nested layer.
    """
    wanted = _check_levels(model, sparsities)
    kernels = {layer.name: tuple(layer.kernel.shape) for layer in model.nested_layers}
    sizes = {name: math.prod(shape) for name, shape in kernels.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in kernels.items()}
    most = 1.0 / min(raw.values())

    def keeps(sparsity: float, scale: float) -> bool:
        kept = math.fsum(min(1.0, scale * raw[name]) * sizes[name] for name in raw)
        return kept >= (1.0 - sparsity) * sum(sizes.values())

    scales = [_bisect(functools.partial(keeps, sparsity), most) for sparsity in wanted]
    return {name: tuple(1.0 - min(1.0, scale * raw[name]) for scale in scales) for name in raw}


def global_magnitude(model: NestedModel, sparsities: Iterable[float]) -> Allocation:
    """Gives each layer the sparsity that one magnitude threshold over all nested kernels makes.

    Args:
        model: The nested model, with trained weights.
        sparsities: The sparsity of each level over all nested kernels together.

    Returns:
        One sparsity per level for each nested layer.
    """
    wanted = _check_levels(model, sparsities)
    sizes = {layer.name: math.prod(layer.kernel.shape) for layer in model.nested_layers}
    magnitude = np.concatenate([np.abs(_values(layer)).ravel() for layer in model.nested_layers])
    owner = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    owner = owner[np.argsort(magnitude, kind="stable")]
    pruned = [np.bincount(owner[: round(s * owner.size)], minlength=len(sizes)) for s in wanted]
    return {
        name: tuple(float(counts[index] / size) for counts in pruned)
        for index, (name, size) in enumerate(sizes.items())
    }


def _mean_loss(
    run: Callable[[Data], Data], x: Data, y: Data, loss: KerasLoss, batch_size: int
) -> float:
    """Returns the mean loss of the outputs of `run`."""
    total = 0.0
    count = _count(x)
    for start in range(0, count, batch_size):
        take = operator.itemgetter(slice(start, start + batch_size))
        inputs, targets = (keras.tree.map_structure(take, each) for each in (x, y))
        total += float(tf.reduce_mean(loss(targets, run(inputs)))) * _count(inputs)
    mean = total / count
    if not math.isfinite(mean):
        raise ValueError(f"the model must have a finite loss on x and y: got {mean}")
    return mean


def _count(arrays: Data) -> int:
    """Returns the number of examples in an array, or in each of several."""
    return len(keras.tree.flatten(arrays)[0])


def measure_sensitivity(
    model: NestedModel,
    x: Data,
    y: Data,
    *,
    loss: KerasLoss,
    sparsities: Iterable[float] = SENSITIVITY_GRID,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prunes one layer after the other to each sparsity and measures the loss.

    After the call, weights, masks and statistics are as before. BatchNorm normalises with the
    statistics of the batch, as a re-estimation would. The data run once for each layer and
    sparsity. A thousand images are enough to rank layers.

    Args:
        model: The nested model, with trained weights.
        x: Inputs (n, ...); for a model with several inputs a dict or list of inputs.
        y: Targets (n, ...); for a model with several outputs a dict or list of targets.
        loss: A Keras loss, or its name; the loss takes targets and outputs unchanged.
        sparsities: The sparsities to measure, increasing, in (0, 1]. `allocate` gives no layer a
            higher sparsity than the last.
        batch_size: Images at a time, at least 1; a larger batch gives better statistics.
        progress: Called with the number of layers that are measured and the number of all layers.

    Returns:
        The increases of the loss over the unpruned model, never falling with sparsity.

    Raises:
        TypeError: If x or y are not arrays.
        ValueError: If the sparsities are out of range or order, there is no example, or the loss
            is not finite.
    """
    grid = tuple(float(sparsity) for sparsity in sparsities)
    if not grid or sorted(set(grid)) != list(grid) or not 0.0 < grid[0] <= grid[-1] <= 1.0:
        raise ValueError(f"sparsities must increase strictly within (0, 1]: got {grid}")
    for name, given in (("x", x), ("y", y)):
        if not input_forms.are_arrays(given):
            raise TypeError(f"{name} must be an array or several: got {type(given).__name__}")
        if _count(given) == 0:
            raise ValueError(f"{name} must have one example or more: got none")
    densest = model.at_level(model.levels - 1)
    run = tf.function(lambda batch: densest(batch, training=False))
    mean_loss = functools.partial(_mean_loss, run, x, y, keras.losses.get(loss), batch_size)
    increases: dict[str, tuple[float, ...]] = {}
    with _unpruned(model):
        base = mean_loss()
        for number, layer in enumerate(model.nested_layers):
            if progress is not None:
                progress(number, len(model.nested_layers))
            found = []
            for sparsity in grid:
                pruned = _level_map(layer, [sparsity] * model.levels)
                layer.level_map.assign(pruned)
                found.append(mean_loss() - base)
            layer.level_map.assign(np.zeros_like(pruned))
            increases[layer.name] = tuple(itertools.accumulate([0.0, *found], max))[1:]
    return Sensitivity(grid, increases)


def allocate(
    model: NestedModel, sensitivity: Sensitivity, budgets: Iterable[float], *, cost: Cost = cycles
) -> Allocation:
    """Chooses the sparsity of each layer at each level so that each level meets its budget.

    The choice minimises the sum of the layers' increases of the loss. The search begins with the
    dense model. Each step prunes the layer whose loss grows least per saved cost, along the lower
    convex hull of the layer's measured points. When the budget of the densest level is met, the
    search goes on to the budget of the next level, and so on. On convex curves the result is the
    optimum (Fox, "Discrete optimization via marginal analysis", 1966). A layer's sparsity only
    grows on the way, so the levels nest.

    The cost of a layer at a level depends on its sparsities at the levels below, which are chosen
    later. The first pass assumes that these levels spread evenly. Each further pass scales the
    budgets by the true cost of the last choice, until nothing is left over.

    Args:
        model: The nested model.
        sensitivity: The result of `measure_sensitivity` for this model.
        budgets: The largest cost of each level, in the unit of `cost`, level 0 first, strictly
            increasing. A budget covers all layers with a kernel, dense layers included.
        cost: The cost of a layer at its sparsities: `budget.cycles`, `budget.stored_bytes`, or any
            function.

    Returns:
        One sparsity per level for each nested layer.

    Raises:
        ValueError: If the budgets have a wrong number or order, or a budget cannot be met.
    """
    limits = tuple(float(limit) for limit in budgets)
    if len(limits) != model.levels or any(a >= b for a, b in itertools.pairwise(limits)):
        raise ValueError(
            f"budgets must increase strictly, one for each of {model.levels} levels: got {limits}"
        )
    shapes = budget.kernel_shapes(model)
    nested = [shape for shape in shapes if shape.nested]
    densest = model.levels - 1
    path = [step for shape in nested for step in _hull(shape, sensitivity, cost, level=densest)]
    path.sort(key=lambda step: step.slope)
    targets = limits
    best: Allocation | None = None
    for _ in range(_PASSES):
        found = _descend(shapes, path, targets, cost)
        if found == best:
            break  # more budget than all weights need
        spent = budget.total_of(shapes, found, cost, levels=model.levels)
        shares = [total / limit for total, limit in zip(spent, limits, strict=True)]
        if max(shares) <= 1.0 + _ROUNDING:
            best = found
            if min(shares) > 1.0 - _CLOSE:
                break
        # Layers keep whole weights, so a search may miss its budget: aim slightly lower next time.
        targets = tuple(
            target if 1.0 - _CLOSE < share <= 1.0 + _ROUNDING else target * (1 - _CLOSE / 2) / share
            for target, share in zip(targets, shares, strict=True)
        )
    if best is None:
        raise ValueError(f"budgets could not be met, the last try spends {spent}: got {limits}")
    return best


def _descend(
    shapes: Sequence[KernelShape], path: list[_Step], limits: Sequence[float], cost: Cost
) -> Allocation:
    """Returns the allocation that meets the limits if the levels below spread evenly."""

    def total(chosen: Mapping[str, float], level: int) -> float:
        return math.fsum(
            cost(shape, _spread(chosen.get(shape.name, 0.0), level)) for shape in shapes
        )

    def within(level: int, chosen: Mapping[str, float]) -> bool:
        return total(chosen, level) <= limits[level]

    nested = [shape.name for shape in shapes if shape.nested]
    chosen = dict.fromkeys(nested, 0.0)
    levels = []
    for level in reversed(range(len(limits))):
        while not within(level, chosen):
            if not path:
                raise ValueError(
                    f"budgets must be at least {total(chosen, level):g}, the cost at the largest "
                    f"measured sparsities: got {limits[level]:g}"
                )
            step = path[0]
            if within(level, {**chosen, step.name: step.end}):
                chosen = _part(step, chosen, functools.partial(within, level))
            else:
                chosen[step.name] = step.end
                path = path[1:]
        levels.append(dict(chosen))
    return {name: tuple(level[name] for level in reversed(levels)) for name in nested}


def _spread(sparsity: float, level: int) -> tuple[float, ...]:
    """Sparsities of the levels 0..level, where all levels add equal numbers of weights."""
    kept = 1.0 - sparsity
    return (*(1.0 - kept * count / (level + 1) for count in range(1, level + 1)), sparsity)


@dataclasses.dataclass(frozen=True)
class _Step:
    """Pruning one layer further, up to `end`, at `slope` of the loss per cost saved."""

    name: str
    end: float
    slope: float


def _part(
    step: _Step, chosen: Mapping[str, float], met: Callable[[Mapping[str, float]], bool]
) -> dict[str, float]:
    """Returns the choice after the part of a step that just meets the budget."""
    begin = chosen[step.name]

    def after(part: float) -> dict[str, float]:
        return {**chosen, step.name: begin + part * (step.end - begin)}

    return after(_bisect(lambda part: met(after(part)), 1.0))


def _hull(shape: KernelShape, sensitivity: Sensitivity, cost: Cost, *, level: int) -> list[_Step]:
    """Returns the steps along the lower convex hull of a layer's points (cost saved, loss)."""
    measured = zip(sensitivity.sparsities, sensitivity.increases[shape.name], strict=True)
    dense = cost(shape, _spread(0.0, level))
    points = [(dense - cost(shape, _spread(s, level)), loss, s) for s, loss in measured]
    steps: list[_Step] = []
    saved, loss = 0.0, 0.0
    while points := [point for point in points if point[0] > saved]:
        # Of equal slopes, the farthest point gives the fewest steps.
        slope, _, best = min(((p[1] - loss) / (p[0] - saved), -p[0], p) for p in points)
        saved, loss, end = best
        steps.append(_Step(shape.name, end, slope))
    return steps


@contextlib.contextmanager
def _unpruned(model: NestedModel) -> Any:
    """Runs with all weights in use and BatchNorm on the batch's statistics."""
    norms = [x for x in model.layers if isinstance(x, layers.NestedBatchNormalization)]
    level_maps = [(layer.level_map, layer.level_map.numpy()) for layer in model.nested_layers]
    try:
        for norm in norms:
            norm.statistics_sink = lambda *_: None
        for level_map, values in level_maps:
            level_map.assign(np.zeros_like(values))
        yield
    finally:
        for norm in norms:
            norm.statistics_sink = None
        for level_map, values in level_maps:
            level_map.assign(values)


def _check_levels(model: NestedModel, sparsities: Iterable[float]) -> tuple[float, ...]:
    values = masks.check_sparsities(sparsities)
    if len(values) != model.levels:
        raise ValueError(
            f"sparsities must have {model.levels} entries, one per level: got {values}"
        )
    return values


def _bisect(holds: Callable[[float], bool], high: float) -> float:
    """Returns the smallest value in 0..high at which a monotone condition holds, by bisection."""
    low = 0.0
    if holds(low):
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _values(layer: KerasLayer) -> npt.NDArray[np.float64]:
    return np.asarray(layer.kernel.numpy(), np.float64)


def _level_map(layer: KerasLayer, sparsities: Sequence[float]) -> Any:
    """The level map of a layer that was never pruned."""
    block, axis = layer.block_shape, layer.input_axis
    return masks.level_map(_values(layer), sparsities, block_shape=block, axis=axis)
