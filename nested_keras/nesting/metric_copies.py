"""Metric objects for several levels: each level measures with a state of its own."""

from __future__ import annotations

import copy
from typing import Any

import keras

from nested_keras.typing import KerasMetric, KerasMetrics, Value


def copy_metrics(metrics: KerasMetrics) -> Any:
    """Copies the metric objects in an argument of compile().

    A copy holds the attributes of the original, with variables of its own. `get_config` would not
    do, because Keras does not require a metric to have `get_config`.

    Args:
        metrics: A structure of metric objects, names, functions and None.

    Returns:
        The same structure. Names, functions and None stay as they are; an object that stands in
        two places is one object again.

    Raises:
        ValueError: If a metric holds something that cannot be copied, such as a lock or a file.
    """
    memo: dict[int, Any] = {}

    def copied(metric: KerasMetric) -> Any:
        if not isinstance(metric, keras.metrics.Metric):
            return metric
        try:
            return _copy(metric, memo)
        except (TypeError, NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"metric {metric.name!r} must be one that copy.deepcopy can copy, because each "
                f"level needs its own: {error}; give a function of (y_true, y_pred) in its place"
            ) from error

    return keras.tree.map_structure(copied, metrics)


def _copy(metric: KerasMetric, memo: dict[int, Any]) -> Any:
    """Copies a metric object and the metric objects that it holds."""
    if id(metric) not in memo:
        # copy.deepcopy would save and load the metric as Keras saves models: by its config.
        new = memo[id(metric)] = object.__new__(type(metric))
        for value in keras.tree.flatten(list(vars(metric).values())):
            _remember(value, memo)
        vars(new).update(copy.deepcopy(vars(metric), memo))
        for name, value in vars(metric).items():
            if type(value) is list:
                # Keras lists the variables of a tracked list again when copy.deepcopy fills it.
                del vars(new)[name][len(value) :]
    return memo[id(metric)]


def _remember(value: Value, memo: dict[int, Any]) -> None:
    """Tells copy.deepcopy which object takes the place of an object of Keras."""
    if isinstance(value, keras.metrics.Metric):
        _copy(value, memo)
    elif isinstance(value, keras.layers.Layer):
        memo[id(value)] = value  # not copied, because the metric only reads this object
    elif isinstance(value, keras.Variable) and id(value) not in memo:
        memo[id(value)] = keras.Variable(
            keras.ops.convert_to_numpy(value),
            dtype=value.dtype,
            trainable=value.trainable,
            aggregation=value.aggregation,
            synchronization=value.synchronization,
            name=value.name,
        )
