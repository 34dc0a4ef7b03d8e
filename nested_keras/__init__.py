"""Nested sparse convnets: one set of weights, N sparsity levels, a knob at run time.

Everything is imported on first use: `import nested_keras` brings in neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

from nested_keras import extras

_MODULES = (
    "allocation",
    "applications",
    "budget",
    "callbacks",
    "cli",
    "cost",
    "datasets",
    "distillation",
    "export",
    "firmware",
    "format",
    "layers",
    "masks",
    "model",
    "report",
    "runs",
    "runtime",
    "training",
)
_MEMBERS = {"NestedModel": "model", "load_model": "model", "nest": "model"}

__all__ = [*_MODULES, *_MEMBERS]


def __getattr__(name: str) -> Any:
    module = _MEMBERS.get(name, name)
    if module not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        raise extras.missing(error, f"{__name__}.{name}") from error
    return getattr(found, name) if name in _MEMBERS else found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
