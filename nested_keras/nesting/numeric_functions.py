"""Functions of one value that Keras has as operators but not as activations.

A file of a model names them, so that a layer Activation may hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from nested_keras.typing import Value

# The classes of Keras's operators. A square root of less than zero is no number, and neither is a
# logarithm: put a relu and a small constant before them.
_NAMES = ("Expm1", "Log", "Log10", "Log1p", "Log2", "Reciprocal", "Rsqrt", "Sqrt")


def _function(name: str) -> Callable[[Any], Any]:
    operator = getattr(keras.ops, name)

    def function(x: Value) -> Any:
        return operator(x)

    function.__name__ = function.__qualname__ = name
    return keras.saving.register_keras_serializable("nested_keras", name)(function)


FUNCTIONS = {kind: _function(kind.lower()) for kind in _NAMES}
"""By the name of the operator's class."""
