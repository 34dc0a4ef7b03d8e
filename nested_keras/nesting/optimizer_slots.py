"""Reset the optimizer's state for pruned weights of nested kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nested_keras.nesting import fitting
from nested_keras.typing import KerasModel, KerasVariable


def forget_pruned(model: KerasModel, first: dict[str, float]) -> None:
    """Resets the optimizer's state for the weights that no level uses.

    Args:
        model: The nested model, compiled with an optimizer.
        first: The result of `first_values`.
    """
    for slot, layer in _kernel_slots(model):
        fresh = first.get(slot.path, 0.0)
        slot.assign(np.where(layer.mask(model.levels - 1), slot.numpy(), fresh))


def first_values(model: KerasModel, before: dict[str, float]) -> dict[str, float]:
    """Returns the optimizer's first state for a weight, where this state is not 0.

    Ftrl, for one, divides by its accumulator, which starts above 0.

    Args:
        model: The compiled nested model.
        before: The result of the previous compile(), which still holds for an optimizer that has
            taken steps.

    Returns:
        By the path of the optimizer's variable, its first value.
    """
    if model.optimizer is None:
        return {}
    if int(fitting.step_counter(model.optimizer).numpy()):
        return before
    found = {}
    for slot, layer in _kernel_slots(model):
        values = slot.numpy()
        first = float(values.flat[0])
        copies_weights = np.array_equal(values, layer.kernel)
        if first and np.all(values == values.flat[0]) and not copies_weights:
            found[slot.path] = first
    return found


def _kernel_slots(model: KerasModel) -> list[tuple[Any, Any]]:
    """Returns the optimizer's variables that have a value for each weight of a nested layer."""
    references = [(_slot_prefix(v), v) for v in model.trainable_variables]
    kernels = {id(layer.kernel): layer for layer in model.nested_layers}
    found = []
    for slot in model.optimizer.variables:
        name = slot.path.split("/")[-1]
        owners = [(prefix, v) for prefix, v in references if name.startswith(prefix)]
        if not owners:
            continue
        owner = max(owners, key=lambda owner: len(owner[0]))[1]
        layer = kernels.get(id(owner))
        if layer is not None and slot.shape == owner.shape:  # not Adafactor's rows and columns
            found.append((slot, layer))
    return found


def _slot_prefix(variable: KerasVariable) -> str:
    """Returns how the names of a variable's optimizer slots begin."""
    return f"{variable.path.replace('/', '_')}_"
