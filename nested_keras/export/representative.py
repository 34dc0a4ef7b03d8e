"""Turn representative data in any of the forms that users have into arrays (NumPy only)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nested_keras.export.export_errors import ExportError
from nested_keras.nesting.input_forms import InputKey, match_inputs
from nested_keras.typing import BatchData, Data, Float32Array, Value

MAX_EXAMPLES = 2000
"""The number of examples after which no batch is read of a data set without a length."""


def collect(
    dataset: Data, shapes: Sequence[tuple[int, ...]], keys: Sequence[InputKey] = ()
) -> tuple[Float32Array, ...]:
    """Gathers representative examples.

    A batch has the form of `keras.Model.fit`: x, (x, y) or (x, y, sample_weight). x is an array, or
    for several inputs a list of arrays, a dict by the names of the inputs, or the structure of the
    model's inputs. Other keys of a dict are not read.

    Args:
        dataset: One of: a single batch of all examples; a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a list of batches or another iterable of batches; a callable
            without arguments that returns an iterable of batches, as for TFLite's converter. A
            list of arrays alone is a single batch, with one array per input. Where an iterable has
            no length, or is endless, reading stops after `MAX_EXAMPLES` examples.
        shapes: Shape of each model input without the batch.
        keys: The names of the inputs in dicts and structures, see `nesting.input_forms`.

    Returns:
        One float32 array [n, ...] per input, n >= 1.

    Raises:
        ExportError: There are no examples, the number or the names of the inputs are wrong, a shape
            is wrong, or an array holds text, NaN or infinity.
    """
    reader = _Reader(shapes, keys)
    batches = [reader.read(batch) for batch in reader.batches(dataset)]
    if not batches:
        raise ExportError("representative_dataset must yield at least one batch: got none")
    arrays = tuple(np.concatenate(column) for column in zip(*batches, strict=True))
    if not len(arrays[0]):
        raise ExportError("representative_dataset must hold at least one example: got none")
    return arrays


class _Reader:
    """Reads batches for the inputs of one model."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], keys: Sequence[InputKey]) -> None:
        self._shapes = [tuple(shape) for shape in shapes]
        self._keys = keys
        self._count = len(self._shapes)

    def batches(self, dataset: Data) -> Iterator[Any]:
        """Yields the batches of a data set in any form."""
        if callable(dataset):
            dataset = dataset()
        if isinstance(dataset, Mapping) or hasattr(dataset, "shape"):
            return iter([dataset])
        if isinstance(dataset, list | tuple) and dataset:
            find = self._find if isinstance(dataset, tuple) else self._match
            if find(dataset) is not None:
                return iter([dataset])
        if isinstance(dataset, list | tuple) and all(hasattr(item, "shape") for item in dataset):
            if dataset:
                raise self._wrong(dataset)
            return iter([])
        return self._bounded(dataset)

    def _bounded(self, dataset: Data) -> Iterator[Any]:
        """Yields the batches of an iterable, at most `MAX_EXAMPLES` examples without a length."""
        try:
            length: int | None = len(dataset)
        except (TypeError, NotImplementedError):
            length = None
        if isinstance(dataset, Iterable):
            source: Iterator[Any] = iter(dataset)
        elif hasattr(dataset, "__getitem__"):
            # A keras.utils.PyDataset, whose end only its length tells.
            source = (dataset[index] for index in itertools.count())
        else:
            raise ExportError(
                "representative_dataset must be an array, a dict of arrays, an iterable of batches "
                f"or a callable: got {type(dataset).__name__}"
            )
        read = 0
        for batch in itertools.islice(source, length):
            yield batch
            found = self._find(batch)
            read += max(1, len(found[0])) if found and np.ndim(found[0]) else 1
            if length is None and read >= MAX_EXAMPLES:
                return

    def read(self, batch: BatchData) -> list[Float32Array]:
        """Returns the inputs of a batch, one array per input."""
        found = self._find(batch)
        if found is None:
            raise self._wrong(batch)
        arrays = [_as_float(array) for array in found]
        self._check(arrays)
        return arrays

    def _find(self, batch: BatchData) -> list[Any] | None:
        """Returns the inputs in x, (x, y) or (x, y, sample_weight); None without a match."""
        found = self._match(batch)
        if found is None and isinstance(batch, list | tuple) and 1 <= len(batch) <= 3:
            found = self._match(batch[0])
        return found

    def _match(self, x: BatchData) -> list[Any] | None:
        """Returns the inputs in x, in the order of the model's inputs; None without a match."""
        return match_inputs(x, self._count, self._keys)

    def _wrong(self, batch: BatchData) -> ExportError:
        names = ", ".join(repr(key.name) for key in self._keys)
        if isinstance(batch, Mapping):
            got = f"a dict of {', '.join(map(repr, batch))}"
        else:
            got = str(len(batch) if isinstance(batch, list | tuple) else type(batch).__name__)
        return ExportError(
            f"representative_dataset must give {self._count} array(s) per batch, one per model "
            f"input{f' ({names})' if names else ''}: got {got}"
        )

    def _check(self, batch: list[Float32Array]) -> None:
        for array, shape in zip(batch, self._shapes, strict=True):
            if array.shape[1:] != shape:
                expected = ", ".join(["n", *map(str, shape)])
                raise ExportError(
                    f"representative_dataset must hold batches of shape ({expected}): "
                    f"got {array.shape}"
                )
            if not np.isfinite(array).all():
                raise ExportError("representative_dataset must be finite: got NaN or infinity")
        sizes = {len(array) for array in batch}
        if len(sizes) != 1:
            raise ExportError(
                "representative_dataset must give equal numbers of examples to all inputs: "
                f"got {sorted(sizes)}"
            )


def _as_float(array: Value) -> Float32Array:
    """Returns real numbers as float32."""
    try:
        values = np.asarray(array)
        if values.dtype.kind not in "biuf":
            values = values.astype(np.float32, casting="safe")
    except (TypeError, ValueError):
        kind = getattr(array, "dtype", type(array).__name__)
        raise ExportError(
            f"representative_dataset must hold arrays of real numbers: got {kind}"
        ) from None
    with np.errstate(over="ignore"):  # a later check refuses infinity
        return values.astype(np.float32, copy=False)
