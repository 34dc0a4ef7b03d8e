"""Representative data in any of the forms that users have, as plain arrays (NumPy only)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.export.errors import ExportError

Float32Array: TypeAlias = npt.NDArray[np.float32]


def collect(dataset: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[Float32Array, ...]:
    """Gathers representative examples.

    Args:
      dataset: One of: an array [n, ...]; for several inputs a list or tuple of such arrays; a
        `tf.data.Dataset` or another iterable of batches x or (x, y), where x is a tuple for several
        inputs; a callable without arguments whose result yields lists of one batch per input, as
        TFLite's converter takes it.
      shapes: Shape of each model input without the batch.

    Returns:
      One float32 array [n, ...] per input, n >= 1.

    Raises:
      ExportError: No examples, a wrong number of inputs, a wrong shape, NaN or infinite values.
    """
    count = len(shapes)
    if callable(dataset):
        batches = [_as_inputs(batch, count) for batch in dataset()]
    elif hasattr(dataset, "shape"):
        batches = [_as_inputs((dataset,), count)]
    elif isinstance(dataset, list | tuple) and all(hasattr(item, "shape") for item in dataset):
        batches = [_as_inputs(dataset, count)] if dataset else []
    elif isinstance(dataset, Iterable):
        batches = [_from_pair(batch, count) for batch in dataset]
    else:
        raise ExportError(
            "representative_dataset must be an array, an iterable of batches or a callable: "
            f"got {type(dataset).__name__}"
        )
    if not batches:
        raise ExportError("representative_dataset must yield at least one batch: got none")
    for batch in batches:
        _check(batch, shapes)
    arrays = tuple(np.concatenate(column) for column in zip(*batches, strict=True))
    if not len(arrays[0]):
        raise ExportError("representative_dataset must hold at least one example: got none")
    return arrays


def _from_pair(batch: Any, count: int) -> list[Float32Array]:
    """Batches x or (x, y) of a dataset for training."""
    if isinstance(batch, list | tuple) and len(batch) == 2:
        first_is_all = isinstance(batch[0], list | tuple) and len(batch[0]) == count
        if count == 1 or first_is_all:
            batch = batch[0]
    return _as_inputs(batch if isinstance(batch, list | tuple) else (batch,), count)


def _as_inputs(batch: Any, count: int) -> list[Float32Array]:
    if not isinstance(batch, list | tuple) or len(batch) != count:
        found = len(batch) if isinstance(batch, list | tuple) else type(batch).__name__
        raise ExportError(
            f"representative_dataset must give {count} array(s) per batch, one per model input: "
            f"got {found}"
        )
    return [np.asarray(array, np.float32) for array in batch]


def _check(batch: list[Float32Array], shapes: Sequence[tuple[int, ...]]) -> None:
    for array, shape in zip(batch, shapes, strict=True):
        if array.shape[1:] != tuple(shape):
            expected = ", ".join(["n", *map(str, shape)])
            raise ExportError(
                f"representative_dataset must hold batches of shape ({expected}): got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ExportError("representative_dataset must be finite: got NaN or infinity")
    sizes = {len(array) for array in batch}
    if len(sizes) != 1:
        raise ExportError(
            f"representative_dataset must give as many examples to every input: got {sorted(sizes)}"
        )
