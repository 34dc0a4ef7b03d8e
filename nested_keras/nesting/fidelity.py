"""Compare a model with its nested copy, in float, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from nested_keras.nesting import keras_graph
from nested_keras.typing import KerasArgument, KerasModel, KerasOperation, KerasTensor, Value

# A share of the largest output. A right copy computes the same sums, perhaps in another order: that
# makes 1e-6 in float32, and more where half precision rounds between the layers. A layer that was
# mistaken for another is off by 1e-3 and more.
_TOLERANCES = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
# Where the right value is zero, sums that cancel leave a rest of this size.
_NOTHING = 1e-6
# Sizes for the dimensions that a model leaves open, tried in order until the model runs.
_SIZES = (32, 64, 128, 256)
_EXAMPLES = 2


@dataclasses.dataclass(frozen=True)
class Trace:
    """The outputs of one run of a model.

    Attributes:
        outputs: The outputs, flattened.
        layers: The outputs of each call of a layer, in the order of the calls, with its name.
    """

    outputs: tuple[Any, ...]
    layers: tuple[tuple[str, Any], ...] = ()


def flat(outputs: KerasTensor) -> tuple[Any, ...]:
    """Returns a structure of tensors as float arrays."""
    return tuple(np.asarray(_float(each)) for each in keras.tree.flatten(outputs))


def tolerance(model: KerasModel) -> float:
    """Returns the error that a right copy of a model may have, as a share of the largest output."""
    policies = {layer.compute_dtype for layer in model.layers}
    return max(_TOLERANCES.get(dtype, 0.0) for dtype in {"float32", *policies})


def example(model: KerasModel) -> Any:
    """Makes a batch of random inputs, seeded; a dimension that the model leaves open gets a size.

    Args:
        model: A functional model.

    Returns:
        The batch, in the structure of the model's inputs.

    Raises:
        ValueError: If the model takes none of the sizes that are tried.
    """
    is_open = any(None in tensor.shape[1:] for tensor in model.inputs)
    refused: Exception | None = None
    for size in _SIZES if is_open else _SIZES[:1]:
        shapes = keras.tree.map_structure(lambda t, size=size: _sized(t, size), model.input)
        try:
            # Keras refuses an image that is too small; TensorFlow would compute garbage.
            keras_graph.run_graph(model, shapes, _spec)
        except (TypeError, ValueError) as error:
            refused = error
            continue
        rng = np.random.default_rng(0)
        return keras.tree.map_structure(lambda t, rng=rng: _random(t, rng), shapes)
    raise ValueError(
        f"model {model.name!r} must take one of the sizes {_SIZES} in its open dimensions: "
        f"{refused}"
    )


def _spec(operation: KerasOperation) -> Callable[..., Any]:
    """Returns a function that computes an operation's output shapes and refuses empty shapes."""

    def spec(*args: KerasArgument, **kwargs: KerasArgument) -> Any:
        outputs = operation.compute_output_spec(*args, **kwargs)
        for output in keras.tree.flatten(outputs):
            if 0 in output.shape:  # Keras 3.12 refuses negative sizes only
                raise ValueError(f"layer {operation.name!r} gives the shape {tuple(output.shape)}")
        return outputs

    return spec


def first_difference(want: Trace, got: Trace, *, share: float) -> str | None:
    """Says where two runs differ.

    Args:
        want: The right run.
        got: The run to be checked.
        share: How far a value may be off, as a share of the largest value of its tensor.

    Returns:
        The first layer that differs, or the output where no layer does, with the figures; None
        where the runs agree.
    """
    names = [f"layer {name!r}" for name, _ in want.layers]
    pairs = zip(
        [*names, *(f"output {index}" for index in range(len(want.outputs)))],
        [*(value for _, value in want.layers), *want.outputs],
        [*(value for _, value in got.layers), *got.outputs],
        strict=True,
    )
    for name, right, value in pairs:
        if right.shape != value.shape:
            return f"{name} has shape {value.shape} in place of {right.shape}"
        off = np.abs(right - value)
        largest = np.abs(right).max(initial=0.0)
        # NaN compares as False, and this form of the comparison makes NaN a difference.
        if not (off <= share * largest + _NOTHING).all():
            return f"{name} is off by {off.max():.2g}, of values up to {largest:.2g}"
    return None


def first_not_finite(run: Trace) -> str | None:
    """Returns the first layer of a run with a value that is NaN or infinite, or None."""
    return next((name for name, value in run.layers if not np.isfinite(value).all()), None)


def _sized(tensor: KerasTensor, size: int) -> Any:
    shape = (tensor.shape[0] or _EXAMPLES, *(each or size for each in tensor.shape[1:]))
    return keras.KerasTensor(shape, tensor.dtype)


def _random(tensor: KerasTensor, rng: np.random.Generator) -> Any:
    if keras.backend.is_float_dtype(tensor.dtype):
        return keras.ops.cast(rng.normal(size=tensor.shape), tensor.dtype)
    return keras.ops.cast(rng.integers(0, 2, tensor.shape), tensor.dtype)


def _float(value: Value) -> Any:
    return keras.ops.cast(keras.ops.convert_to_tensor(value), "float32")
