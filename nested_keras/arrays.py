"""Check the arrays of users once, where they enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def real_images(x: npt.NDArray[Any], *, name: str) -> npt.NDArray[Any]:
    """Checks a batch of inputs.

    Args:
        x: Real numbers [n, ...].
        name: The name of the array in errors.

    Returns:
        An int8 array unchanged; any other type as float32.

    Raises:
        ValueError: If there is no batch dimension or no input, or the values are no real numbers,
            or are NaN or infinite in float32.
    """
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers: got {x.dtype}")
    if x.ndim < 1 or len(x) < 1:
        raise ValueError(f"{name} must hold at least one input [n, ...]: got shape {x.shape}")
    if x.dtype == np.int8:
        return x
    with np.errstate(over="ignore"):  # the next check refuses infinity
        values = x.astype(np.float32)
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise ValueError(f"{name} must be finite: got {wrong} values of NaN or infinity")
    return values


def require_shape(x: npt.NDArray[Any], shape: Sequence[int | None], *, name: str) -> None:
    """Checks the shape of a batch of inputs.

    Args:
        x: The inputs [n, ...].
        shape: The shape of a model's input, batch included, with None for any size.
        name: The name of the array in errors.

    Raises:
        ValueError: If the shape differs.
    """
    fits = len(x.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape[1:], x.shape[1:], strict=True)
    )
    if not fits:
        expected = ["n", *("any" if size is None else size for size in shape[1:])]
        raise ValueError(
            f"{name} must have the shape [{', '.join(map(str, expected))}] of the model's input: "
            f"got {list(x.shape)}"
        )


def class_indices(
    y: npt.NDArray[Any], *, count: int, classes: int, name: str
) -> npt.NDArray[np.int64]:
    """Checks labels.

    Args:
        y: Class indices [n] or [n, 1]; whole numbers of any real type.
        count: The number of inputs, n.
        classes: The number of classes.
        name: The name of the array in errors.

    Returns:
        The labels [n].

    Raises:
        ValueError: If the shape or the number of labels is wrong, or a label is no whole number in
            0..classes-1.
    """
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold class indices: got {y.dtype}")
    if y.ndim == 2 and y.shape[1] != 1:
        raise ValueError(
            f"{name} must hold class indices [n]: got shape {y.shape} (of one-hot labels take "
            "argmax(axis=1))"
        )
    if y.ndim not in (1, 2):
        raise ValueError(f"{name} must hold class indices [n]: got shape {y.shape}")
    if len(y) != count:
        raise ValueError(f"{name}: expected {count} labels, one per input: got {len(y)}")
    flat = y.reshape(-1)
    wrong = ~((flat >= 0) & (flat < classes) & (flat == np.floor(flat)))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{name} must hold whole numbers in 0..{classes - 1}: got {flat[first]} at {first}"
        )
    return flat.astype(np.int64)
