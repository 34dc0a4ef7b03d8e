"""Small models of one operator each: the tests that concern every operator walk them.

Each test_FAMILY.py of this folder has a function `samples` that gives some, by name.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

from nested_keras.runtime import lower
from nested_keras.tflite.program import Program


@functools.cache
def samples() -> dict[str, bytes]:
    """Returns the models of all families: each of one operator and a batch of one."""
    found: dict[str, bytes] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        family = importlib.import_module(f"{__package__}.{path.stem}")
        found.update(family.samples())
    return found


@functools.cache
def programs() -> dict[str, Program]:
    """Returns the samples as the runtimes read them."""
    return {name: lower(model) for name, model in samples().items()}
