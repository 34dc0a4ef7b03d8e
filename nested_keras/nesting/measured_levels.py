"""Measure the levels of a nested model with the methods of Keras."""

from __future__ import annotations

from typing import Any

import keras

from nested_keras.format.levels import check_level
from nested_keras.nesting import objectives
from nested_keras.nesting.batches import Batch
from nested_keras.nesting.sparse_levels import SparseLevels
from nested_keras.typing import BatchData, Data, KerasArgument, KerasCallbacks, KerasTensor


class MeasuredLevels(SparseLevels):
    """A nested model that measures a loss and metrics of all levels, or of one level."""

    _objectives: objectives.Objectives
    test_function: Any  # of Keras
    _only_level: int | None = None  # the `level` of `evaluate`

    @property
    def metrics(self) -> list[Any]:
        """The metrics of all levels, so that Keras resets them."""
        found = super().metrics
        if hasattr(self, "_objectives"):
            for each in self._objectives.levels:
                found += [each.tracker, *each.judge.measured()]
        return found

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns "loss", "<metric>" of the densest level, and loss and metrics of each level."""
        if self._only_level is not None:
            only = self._objectives.levels[self._only_level]
            return {"loss": only.tracker.result(), **only.judge.get_metrics_result()}
        results = {metric.name: metric.result() for metric in super().metrics}
        for level, each in enumerate(self._objectives.levels):
            results[each.tracker.name] = each.tracker.result()
            named = each.judge.get_metrics_result()
            results.update((f"level_{level}_{name}", value) for name, value in named.items())
        return {**results, **{name: v for name, v in named.items() if name not in results}}

    def level_metrics(self) -> list[Any]:
        """Returns the metrics of one level, from `metrics` and `weighted_metrics` of compile()."""
        return self._objectives.levels[-1].judge.single_metrics()

    def compute_metrics(
        self, x: KerasTensor, y: Data, y_pred: KerasTensor, sample_weight: Data = None
    ) -> Any:
        """Updates the metrics of all levels with the same outputs.

        The train step and the test step update each level's metrics with its own outputs.
        """
        for each in self._objectives.levels:
            each.judge.count(Batch(x, y, sample_weight), y_pred)
        return self.get_metrics_result()

    def prepare_metrics(self, data: BatchData) -> None:
        """Makes the metrics' variables from a batch, before a strategy's replicas run."""
        batch = Batch(*keras.utils.unpack_x_y_sample_weight(data))
        judges = [each.judge for each in self._objectives.levels]
        if not all(judge.ready for judge in judges):
            y_pred = self(batch.x, training=False)
            for judge in judges:
                judge.prepare(batch, y_pred)

    def evaluate(
        self,
        x: Data = None,
        y: Data = None,
        batch_size: int | None = None,
        verbose: KerasArgument = "auto",
        sample_weight: Data = None,
        steps: int | None = None,
        callbacks: KerasCallbacks = None,
        return_dict: bool = False,
        *,
        level: int | None = None,
        **kwargs: KerasArgument,
    ) -> Any:
        """Evaluates all levels, or one, as `keras.Model.evaluate`.

        Args:
            x: As in `keras.Model.evaluate`, and so are the other arguments.
            y: The targets, unless `x` brings them.
            batch_size: Where the data are arrays.
            verbose: How much Keras shows.
            sample_weight: The weights of the samples.
            steps: The number of batches.
            callbacks: Callbacks of Keras.
            return_dict: Whether to return the results by name.
            level: The level to run alone, 0..levels-1; None for all levels.
            **kwargs: Other arguments of `keras.Model.evaluate`.

        Returns:
            The loss and the metrics. Of one level: "loss", without weight regularisation, and
            "<metric>". Of all levels: "loss", "<metric>" of the densest level, and
            "level_<l>_loss" and "level_<l>_<metric>" of each. In a list without `return_dict`.

        Raises:
            TypeError: If the level is not an integer.
            ValueError: If the level is out of range.
        """
        data = (x, y, batch_size, verbose, sample_weight, steps, callbacks)
        if level is None:
            logs = super().evaluate(*data, return_dict=True, **kwargs)
            return logs if return_dict else _in_order(logs)
        level = check_level(level, levels=self.levels)
        functions = self._objectives.test_functions if self.compiled else {}
        self._only_level, all_levels = level, self.test_function
        self.test_function = functions.get(level)  # None makes Keras trace a new function
        try:
            logs = super().evaluate(*data, return_dict=True, **kwargs)
            functions[level] = self.test_function
        finally:
            self._only_level, self.test_function = None, all_levels
        return logs if return_dict else _in_order(logs)

    def predict(
        self, x: Data, *args: KerasArgument, level: int | None = None, **kwargs: KerasArgument
    ) -> Any:
        """Runs one level on data, as `keras.Model.predict`.

        Args:
            x: As in `keras.Model.predict`.
            *args: Other arguments of `keras.Model.predict`.
            level: The level, 0..levels-1; None for the densest, which the model itself runs.
            **kwargs: Other arguments of `keras.Model.predict`, by name.

        Returns:
            The outputs, as arrays.

        Raises:
            TypeError: If the level is not an integer.
            ValueError: If the level is out of range.
        """
        if level is None:
            return super().predict(x, *args, **kwargs)
        return self.at_level(level).predict(x, *args, **kwargs)

    def train_on_batch(
        self,
        x: Data,
        y: Data = None,
        sample_weight: Data = None,
        class_weight: KerasArgument = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains all levels on one batch, as `keras.Model.train_on_batch`."""
        logs = super().train_on_batch(x, y, sample_weight, class_weight, return_dict=True)
        return logs if return_dict else _in_order(logs)

    def test_on_batch(
        self, x: Data, y: Data = None, sample_weight: Data = None, return_dict: bool = False
    ) -> Any:
        """Evaluates all levels on one batch, as `keras.Model.test_on_batch`."""
        logs = super().test_on_batch(x, y, sample_weight, return_dict=True)
        return logs if return_dict else _in_order(logs)


def _in_order(logs: dict[str, Any]) -> Any:
    """Returns logs as a list: the loss, the densest level's metrics, then the logs of each level.

    Keras's own order would repeat the densest level's metrics for each level.
    """
    names = sorted(logs, key=lambda name: (name.startswith("level_"), name != "loss"))
    values = [logs[name] for name in names]
    return values[0] if len(values) == 1 else values
