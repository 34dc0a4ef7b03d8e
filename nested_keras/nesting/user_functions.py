"""Whether a function of the user's acts on each value alone, as a table of 256 values can."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nested_keras.typing import Activation, Float32Array

# Small and large numbers: a function may depend on the largest one, beyond a limit of its own.
_VALUES = np.array(
    [*np.linspace(-3, 3, 14), 0, 0, 0.01, -0.01, 7, -7, 60, -60, 999, -999], np.float32
)
# All values at once: as rows, as columns, as a series, as images, as several images.
_SHAPES = ((1, 24), (24, 1), (3, 8), (2, 4, 3), (1, 3, 4, 2), (4, 1, 2, 3), (2, 3, 4, 1))
# The difference that TensorFlow's rounding may make between a value alone and among others.
_TOLERANCE = 1e-4


def depends_on_others(function: Activation) -> str | None:
    """Says how a function shows that it is no function of each value alone.

    The value of each number by itself is compared with its values among others, in several shapes
    and orders.

    Args:
        function: Takes and returns a tensor.

    Returns:
        A text about the difference, or None.
    """
    # Outside of a graph that is being traced, because the probes are numbers.
    with tf.init_scope():
        try:
            alone = np.array([_run(function, value.reshape(1, 1))[0, 0] for value in _VALUES])
            seen = (_difference(function, alone, shape) for shape in _SHAPES)
            return next(filter(None, seen), None)
        except _WrongResultError as error:
            return str(error)
        except Exception as error:  # A user's function may raise any error.
            text = " ".join(str(error).split())[:100]
            return (
                f"it raises {type(error).__name__} for other shapes than those of the model: {text}"
            )


class _WrongResultError(ValueError):
    """The function returns no numbers, or another shape; the text says which of the two."""


def _difference(function: Activation, alone: Float32Array, shape: tuple[int, ...]) -> str | None:
    """Compares the values of all numbers at once, in one shape, with the value of each alone."""
    draw = np.random.default_rng(len(shape))
    for _ in range(3):
        order = draw.permutation(len(_VALUES))
        received = _run(function, _VALUES[order].reshape(shape)).ravel()
        equal = np.isclose(received, alone[order], rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
        if not equal.all():
            place = int(np.argmin(equal))
            return (
                f"it gives {received[place]:.4g} for {_VALUES[order][place]:.4g} among others and "
                f"{alone[order][place]:.4g} for this number alone"
            )
    return None


def _run(function: Activation, values: Float32Array) -> Float32Array:
    received = np.asarray(function(tf.convert_to_tensor(values)))
    if received.shape != values.shape or received.dtype.kind != "f":
        raise _WrongResultError(
            f"it gives {received.dtype}{list(received.shape)} for float32{list(values.shape)}"
        )
    return received.astype(np.float32)
