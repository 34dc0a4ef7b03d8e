"""The first check of every callback of a nested model."""

from __future__ import annotations

from typing import Any

from nested_keras.nesting.model import NestedModel
from nested_keras.typing import KerasModel


def check_model(model: KerasModel) -> Any:
    """Returns the model, or refuses a model that is not nested."""
    if not isinstance(model, NestedModel):
        raise TypeError(f"model must be a NestedModel: got {type(model).__name__}")
    return model
