"""Re-estimate the BatchNorm statistics of all levels on a sample of the training data."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nested_keras.callbacks.check import check_model
from nested_keras.nesting import fitting, input_forms, layers
from nested_keras.typing import BatchData, Data, KerasLayer, KerasModel, KerasTensor, Logs, Value

SAMPLES = 2000
_SEARCHED = 10  # for data that may have no end: batches to look at, in sizes of the sample


class BatchNormReestimation(fitting.LevelCallback):
    """Re-estimates the BatchNorm statistics of all levels after each epoch.

    The statistics then fit the weights in each epoch's validation, in files that callbacks save,
    and in the model after `fit`. Moving averages alone lag behind while the masks change, and are
    far off after few steps. The averages continue from the re-estimated values. Training itself
    normalises by the batch and does not use the averages. The sample is drawn once per fit, and
    kept.

    Put this callback after callbacks that restore weights. See `reestimate_batch_norm` for the
    arguments.

    Args:
        data: Training data, augmented as in training.
        batches: The size of the sample in batches; None for enough batches for 2000 examples.
        batch_size: The batch size where `data` is arrays.
    """

    def __init__(self, data: Data, *, batches: int | None = None, batch_size: int = 32) -> None:
        super().__init__()
        _check_sizes(batches=batches, batch_size=batch_size)
        self._data = data
        self._batches = batches
        self._batch_size = batch_size
        self._estimate: _Estimate | None = None

    def set_model(self, model: KerasModel) -> None:
        """Accepts nested models only."""
        super().set_model(check_model(model))

    def on_train_begin(self, logs: Logs = None) -> None:
        """Draws the sample."""
        self._estimate = _Estimate(
            self.model,
            sample(
                self._data,
                input_forms.keys_of(self.model),
                batches=self._batches,
                batch_size=self._batch_size,
            ),
        )

    def settle(self) -> None:
        """Re-estimates the statistics for the present weights."""
        if self._estimate is not None:
            self._estimate.run()

    def on_train_end(self, logs: Logs = None) -> None:
        """Re-estimates the statistics for the final weights."""
        self.settle()
        self._estimate = None


def reestimate_batch_norm(
    model: KerasModel, data: Data, *, batches: int | None = None, batch_size: int = 32
) -> None:
    """Replaces the BatchNorm statistics of all levels by plain averages over a sample of data.

    All weights stay as they are. Each batch is normalised with its own statistics, as in training,
    but dropout is off. Over the batches, weighted by their size, the mean is the average of the
    batches' means, and the variance is pooled (law of total variance)::

        mean = average(mean_b),    variance = average(variance_b + mean_b^2) - mean^2

    Use augmented training images (2000 are enough), because other images cost accuracy. Layers that
    are not trainable keep their statistics.

    The sample is random, with a fixed seed. From arrays, the sample takes examples of the whole
    arrays in random order, so that sorted data do no harm. From other data, the sample takes whole
    batches of all data, without changes. Data without a length, such as a generator or a repeated
    dataset, may have no end; there the sample comes from the first batches, ten times as many as
    the sample has.

    Args:
        model: The nested model.
        data: All examples, as the inputs x or the tuple (x, y) or (x, y, sample_weight); or an
            iterable, such as `tf.data.Dataset`, of batches of this form. x is an array (n, ...), or
            for a model with several inputs a list or a dict of arrays.
        batches: The size of the sample in batches, >= 1; None for enough batches for 2000 examples.
        batch_size: The batch size where `data` is arrays, >= 1.

    Raises:
        TypeError: If the model is not nested, or a dict holds other things than arrays.
        ValueError: If batches or batch_size are below 1, there is no batch, or the model is
            trained quantisation-aware.
    """
    check_model(model)
    _check_sizes(batches=batches, batch_size=batch_size)
    keys = input_forms.keys_of(model)
    _Estimate(model, sample(data, keys, batches=batches, batch_size=batch_size)).run()


class _Estimate:
    """The re-estimation of one model on one sample; its graph is traced once.

    Args:
        model: The nested model.
        batches: The inputs of each batch.
    """

    def __init__(self, model: KerasModel, batches: list[Any]) -> None:
        if model.quantization is not None:
            raise ValueError(
                "BatchNorm statistics must stay after export.quantize_aware, which measured the "
                "activations with these statistics: re-estimate before export.quantize_aware"
            )
        if not batches:
            raise ValueError("data must give at least one batch: got none")
        self._batches = batches
        self._norms = [
            layer
            for layer in model.layers
            if isinstance(layer, layers.NestedBatchNormalization) and layer.trainable
        ]
        self._statistics = tf.function(
            lambda x: _statistics(model, self._norms, x), reduce_retracing=True
        )

    def run(self) -> None:
        """Sets the statistics."""
        if not self._norms:
            return
        samples = 0
        sums = [(0.0, 0.0) for _ in self._norms]
        for x in self._batches:
            size = int(keras.tree.flatten(x)[0].shape[0])
            samples += size
            for index, (mean, variance) in enumerate(self._statistics(x)):
                means, variances = np.float64(mean), np.float64(variance)  # (calls, levels, c)
                sums[index] = (
                    sums[index][0] + size * means.mean(0),
                    sums[index][1] + size * (variances + np.square(means)).mean(0),
                )
        for layer, (mean_sum, square_sum) in zip(self._norms, sums, strict=True):
            mean = mean_sum / samples
            variance = np.maximum(square_sum / samples - np.square(mean), 0.0)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def _statistics(model: KerasModel, norms: list[Any], x: KerasTensor) -> list[tuple[Any, Any]]:
    """Runs all levels and returns each layer's batch means and variances.

    Returns:
        Per layer two tensors (calls, levels, channels); a shared layer has several calls.
    """
    found: dict[tuple[int, int], list[tuple[Any, Any]]] = {}

    def sink(layer: KerasLayer, level: int, mean: KerasTensor, variance: KerasTensor) -> None:
        found.setdefault((id(layer), level), []).append((mean, variance))

    with contextlib.ExitStack() as stack:
        for norm in norms:
            norm.statistics_sink = sink
            stack.callback(setattr, norm, "statistics_sink", None)
        for level in range(model.levels):
            model.at_level(level)(x, training=False)
    stacked = []
    for norm in norms:
        calls = [found[id(norm), level] for level in range(model.levels)]
        mean, variance = (
            tf.stack([tf.stack([call[part] for call in level]) for level in calls], axis=1)
            for part in (0, 1)
        )
        stacked.append((mean, variance))
    return stacked


def sample(
    data: Data, keys: Sequence[input_forms.InputKey], *, batches: int | None, batch_size: int
) -> list[Any]:
    """Returns the inputs of a random sample of the data; see `reestimate_batch_norm`.

    Args:
        data: The data.
        keys: The inputs of the model.
        batches: The size of the sample in batches, or None.
        batch_size: The batch size where the data are arrays.
    """
    rng = np.random.default_rng(0)
    x = _whole(data, keys)
    if x is None:
        return [_inputs(batch, keys) for batch in _reservoir(data, keys, batches, rng)]
    wanted = SAMPLES if batches is None else batches * batch_size
    order = rng.permutation(len(keras.tree.flatten(x)[0]))[:wanted]
    parts = (order[start : start + batch_size] for start in range(0, len(order), batch_size))
    return [keras.tree.map_structure(functools.partial(_take, part), x) for part in parts]


def _whole(data: Data, keys: Sequence[input_forms.InputKey]) -> Any:
    """Returns the inputs where the data are arrays of all examples; None for batches."""
    x = _inputs(data, keys) if isinstance(data, tuple) and 1 <= len(data) <= 3 else data
    if isinstance(x, list | tuple):
        return x if _are_inputs(x, keys) else None
    if isinstance(x, Mapping) and not input_forms.are_arrays(x):
        kinds = sorted({type(value).__name__ for value in x.values()})
        raise TypeError(f"data must be arrays in a dict: got {', '.join(kinds)}")
    return x if input_forms.are_arrays(x) else None


def _inputs(batch: BatchData, keys: Sequence[input_forms.InputKey]) -> Any:
    """Returns x of x, (x, y) or (x, y, sample_weight)."""
    return batch if _are_inputs(batch, keys) else keras.utils.unpack_x_y_sample_weight(batch)[0]


def _are_inputs(x: Data, keys: Sequence[input_forms.InputKey]) -> bool:
    """Says whether x is a list with an array for each of several inputs."""
    matches = len(keys) > 1 and input_forms.match_inputs(x, len(keys), keys) is not None
    return matches and input_forms.are_arrays(x)


def _take(indices: Value, array: Value) -> Any:
    """Returns some examples of an array; an array on disk is read in order of the indices."""
    indices = np.sort(indices)
    return tf.gather(array, indices) if tf.is_tensor(array) else array[indices]


def _reservoir(
    data: Data,
    keys: Sequence[input_forms.InputKey],
    batches: int | None,
    rng: np.random.Generator,
) -> list[Any]:
    """Returns a random sample of batches, each with equal probability; all if there are few."""
    iterator, count = _iterate(data)
    kept = list(itertools.islice(iterator, 1))
    if not kept:
        return []
    wanted = batches or -(-SAMPLES // _batch_length(_inputs(kept[0], keys)))
    end = _SEARCHED * wanted if count is None else count
    for index, batch in enumerate(itertools.islice(iterator, end - 1), start=1):
        if index < wanted:
            kept.append(batch)
        elif (place := int(rng.integers(index + 1))) < wanted:
            kept[place] = batch
    return kept


def _iterate(data: Data) -> tuple[Iterator[Any], int | None]:
    """Returns an iterator over batches and the number of batches; None for an unknown number."""
    if isinstance(data, keras.utils.PyDataset):
        # A PyDataset iterated as a Python sequence would go on behind its end.
        count = data.num_batches
        indices: Iterable[int] = itertools.count() if count is None else range(count)
        return (data[index] for index in indices), count
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        return iter(data), count if count >= 0 else None
    return iter(data), len(data) if hasattr(data, "__len__") else None


def _batch_length(x: BatchData) -> int:
    return max(1, int(keras.tree.flatten(x)[0].shape[0]))


def _check_sizes(**sizes: int | None) -> None:
    for argument, value in sizes.items():
        if value is not None and value < 1:
            raise ValueError(f"{argument} must be at least 1: got {value}")
