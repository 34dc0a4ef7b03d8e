"""Nested sparse convnets: one set of weights, N sparsity levels, a knob at run time.

Everything is imported on first use: `import nested_keras` brings in neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

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
    if name in _MEMBERS:
        return getattr(importlib.import_module(f"{__name__}.{_MEMBERS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
