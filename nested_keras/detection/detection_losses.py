"""The losses of a detector: one for its output `boxes`, one for its output `scores`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from nested_keras.typing import KerasTensor

_register = keras.saving.register_keras_serializable(package="nested_keras")


@_register
class BoxLoss(keras.losses.Loss):
    """Huber loss of the offsets, over the anchors that have a box.

    The mean over a batch is the sum over its anchors with a box, divided by their number, as in
    SSD, so that an image with one box does not count as much as one with thirty.

    Args:
        delta: Where the square turns into a line, > 0.
        name: The name in Keras.
    """

    def __init__(self, delta: float = 1.0, name: str = "box_loss") -> None:
        super().__init__(name=name)
        if not delta > 0.0:
            raise ValueError(f"delta must be above 0: got {delta}")
        self.delta = delta

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> Any:
        """Returns the loss of each sample.

        Args:
            y_true: [n, A, 5], as `Matcher.targets` returns them.
            y_pred: [n, A, 4], offsets.

        Returns:
            [n].
        """
        has = y_true[..., 4]
        error = ops.abs(y_pred - y_true[..., :4])
        below = ops.minimum(error, self.delta)
        each = ops.sum(below * (error - 0.5 * below), axis=-1)
        return ops.sum(each * has, axis=-1) / _mean_of_counts(has)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"delta": self.delta, "name": self.name}


@_register
class ScoreLoss(keras.losses.Loss):
    """Softmax cross-entropy of the scores, with the hardest of the background as negatives.

    Nearly all anchors are background. Of each image only the negatives with the highest loss
    count: `negatives` for each anchor with a box, and `least` at least.

    Args:
        negatives: Negatives for each anchor with a box, > 0.
        least: The least number of negatives of an image, >= 0.
        name: The name in Keras.
    """

    def __init__(self, negatives: float = 3.0, least: int = 8, name: str = "score_loss") -> None:
        super().__init__(name=name)
        if not negatives > 0.0 or least < 0:
            raise ValueError(
                f"negatives must be above 0 and least 0 or more: got {negatives} and {least}"
            )
        self.negatives, self.least = negatives, least

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> Any:
        """Returns the loss of each sample.

        Args:
            y_true: [n, A], as `Matcher.targets` returns them.
            y_pred: [n, A, classes + 1], logits; 0 is the background.

        Returns:
            [n].
        """
        labels = ops.cast(ops.maximum(y_true, 0.0), "int32")
        each = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        has = ops.cast(y_true > 0.5, each.dtype)
        background = ops.abs(y_true) < 0.5
        loss_of_negatives = ops.stop_gradient(ops.where(background, each, -1.0))
        rank = ops.argsort(ops.argsort(-loss_of_negatives, axis=-1), axis=-1)
        wanted = ops.maximum(self.negatives * ops.sum(has, axis=-1), float(self.least))
        hard = background & (ops.cast(rank, each.dtype) < wanted[:, None])
        counted = has + ops.cast(hard, each.dtype)
        return ops.sum(each * counted, axis=-1) / _mean_of_counts(has)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"negatives": self.negatives, "least": self.least, "name": self.name}


@_register
class DetectorLoss(keras.losses.Loss):
    """The sum of `BoxLoss` and `ScoreLoss`, for what takes one loss of all outputs.

    `compile` takes the two by the names of the outputs and reports each.

    Args:
        name: The name in Keras.
    """

    def __init__(self, name: str = "detector_loss") -> None:
        super().__init__(name=name)
        self._boxes, self._scores = BoxLoss(), ScoreLoss()

    def call(self, y_true: Mapping[str, KerasTensor], y_pred: Mapping[str, KerasTensor]) -> Any:
        """Returns the loss of each sample, [n].

        Args:
            y_true: The targets `boxes` and `scores`.
            y_pred: The outputs of the same names.
        """
        boxes = self._boxes.call(y_true["boxes"], y_pred["boxes"])
        return boxes + self._scores.call(y_true["scores"], y_pred["scores"])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"name": self.name}


def _mean_of_counts(has: KerasTensor) -> Any:
    """Returns how many anchors of an image have a box, the mean over the batch, at least 1."""
    return ops.maximum(ops.mean(ops.sum(has, axis=-1)), 1.0)
