"""Functions of one value that Keras has as operators but not as activations.

A file of a model names them, so that a layer may have them as its activation. Keras itself writes
`keras.ops.gelu` into a file as "gelu", and reads the activation of that name, which is another
function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from nested_keras.typing import Value

# The classes of Keras's operators. A square root of less than zero is no number, and neither is a
# logarithm: put a relu and a small constant before them.
_NAMES = (
    *("Arctan", "Ceil", "Cos", "Erf", "Expm1", "Floor", "Log", "Log10", "Log1p", "Log2"),
    *("Reciprocal", "Rsqrt", "Sign", "Sin", "Sqrt"),
)


def _function(operator: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    def function(x: Value) -> Any:
        return operator(x)

    function.__name__ = function.__qualname__ = name
    return keras.saving.register_keras_serializable("nested_keras", name)(function)


FUNCTIONS = {kind: _function(getattr(keras.ops, kind.lower()), kind.lower()) for kind in _NAMES}
"""By the name of the operator's class."""

GELU_TANH = _function(keras.ops.gelu, "gelu_tanh")
"""The approximation of gelu that `keras.ops.gelu` computes, which the activation does not."""
