"""Nested sparse convnets: one set of weights, N sparsity levels, a knob at run time.

Every name is imported on first use: `import nested_keras` imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nested_keras import extras

if TYPE_CHECKING:  # the names of `__getattr__`, for editors and type checkers
    from nested_keras import (
        allocation,
        applications,
        augmentation,
        callbacks,
        cli,
        datasets,
        detection,
        distillation,
        export,
        firmware,
        format,
        recipe,
        report,
        runs,
        runtime,
    )
    from nested_keras.allocation import budget
    from nested_keras.export import supports
    from nested_keras.nesting import layers, masks, model
    from nested_keras.nesting.model import NestedModel, load_model, nest

# Where the public names live: a module or package of this package, each with its room.
_MODULES = {
    "allocation": "allocation",
    "applications": "applications",
    "augmentation": "augmentation",
    "budget": "allocation.budget",
    "callbacks": "callbacks",
    "cli": "cli",
    "datasets": "datasets",
    "detection": "detection",
    "distillation": "distillation",
    "export": "export",
    "firmware": "firmware",
    "format": "format",
    "layers": "nesting.layers",
    "masks": "nesting.masks",
    "model": "nesting.model",
    "recipe": "recipe",
    "report": "report",
    "runs": "runs",
    "runtime": "runtime",
}
_MEMBERS = {
    "NestedModel": "model",
    "load_model": "model",
    "nest": "model",
    "supports": "export",
}

__all__ = [
    "allocation",
    "applications",
    "augmentation",
    "budget",
    "callbacks",
    "cli",
    "datasets",
    "detection",
    "distillation",
    "export",
    "firmware",
    "format",
    "layers",
    "masks",
    "model",
    "recipe",
    "report",
    "runs",
    "runtime",
    "NestedModel",
    "load_model",
    "nest",
    "supports",
]


def __getattr__(name: str) -> Any:
    module = _MEMBERS.get(name, name)
    if module not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = importlib.import_module(f"{__name__}.{_MODULES[module]}")
    except ModuleNotFoundError as error:
        raise extras.missing(error, f"{__name__}.{name}") from error
    return getattr(found, name) if name in _MEMBERS else found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
