"""The loss and the metrics of one level, as Keras computes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from nested_keras.nesting.batches import Batch
from nested_keras.nesting.metric_copies import copy_metrics
from nested_keras.typing import KerasArgument, KerasLoss, KerasMetrics, KerasTensor


class Measures(NamedTuple):
    """The losses and metrics of compile(); each argument as `keras.Model.compile` takes it."""

    loss: KerasLoss
    loss_weights: KerasArgument
    metrics: KerasMetrics
    weighted_metrics: KerasMetrics


class Judge(keras.Model):
    """A model without layers, compiled with the losses and metrics of a level.

    Keras makes the losses and metrics of a level from the arguments of compile() and updates both.
    The model of `at_level` is not used for this, because users may compile that model, and because
    its loss has the regularisation of the weights, which the levels share.

    Args:
        measures: The losses, which all levels share, and the metrics, of which the judge has
            copies.
        output_names: The names of the outputs to judge.

    Attributes:
        ready: Whether the metrics have their variables, because a batch was judged.

    Raises:
        ValueError: If a metric cannot be copied, or Keras refuses an argument.
    """

    def __init__(self, measures: Measures, output_names: list[str]) -> None:
        super().__init__()
        self.output_names = output_names  # Keras tells the outputs apart by name
        self.ready = False
        given = [measures.metrics, measures.weighted_metrics]
        metrics, weighted_metrics = copy_metrics(given)
        self.compile(
            optimizer=None,
            loss=measures.loss,
            loss_weights=measures.loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            jit_compile=False,
        )

    def measured(self) -> list[Any]:
        """Returns the metrics of the judge, without the mean of its loss."""
        return [metric for metric in self.metrics if metric.name != "loss"]

    def single_metrics(self) -> list[Any]:
        """Returns the metrics of compile() one by one, after the first batch was judged."""
        return [single for group in self.measured() for single in getattr(group, "metrics", [])]

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the value of each metric, and of each loss where there are several, by name.

        The values are tensors. Keras 3.12 would make numbers, with a warning in a traced step.
        """
        found: dict[str, Any] = {}
        for metric in self.measured():
            value = metric.result()
            found.update(value if isinstance(value, dict) else {metric.name: value})
        return found

    def losses_of(self, batch: Batch, y_pred: KerasTensor) -> list[Any]:
        """Returns the compiled loss of a batch in a list, which is empty without a loss."""
        if self.loss is None:
            return []
        loss = self.compute_loss(
            x=batch.x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight
        )
        return [loss]

    def count(self, batch: Batch, y_pred: KerasTensor) -> None:
        """Updates the metrics with a batch."""
        self.compute_metrics(batch.x, batch.y, y_pred, batch.sample_weight)

    def prepare(self, batch: Batch, y_pred: KerasTensor) -> None:
        """Makes the variables of the metrics from one batch, and counts nothing."""
        with keras.StatelessScope():
            self.losses_of(batch, y_pred)
            self.count(batch, y_pred)
        self.ready = True
