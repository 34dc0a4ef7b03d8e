"""Let the levels of a detector learn from the boxes and scores of a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from nested_keras.nesting.distillation_loss import Distillation, DistillationLoss
from nested_keras.typing import KerasModel, KerasTensor

_register = keras.saving.register_keras_serializable(package="nested_keras")
_OUTPUTS = ("boxes", "scores")


@_register
@dataclasses.dataclass(frozen=True)
class DetectorDistillation(Distillation):
    """How the levels of a detector learn from other detectors; attributes as `Distillation`.

    The scores follow the class probabilities of the sources, and the offsets of the boxes follow
    the offsets of the sources, see `DetectorDistillationLoss`. The scores of a detector are logits:
    leave `from_logits` out.
    """

    def for_model(self, model: KerasModel) -> DetectorDistillation:
        """Checks that a model and the teacher are detectors with the same anchors and classes.

        Args:
            model: The nested model.

        Raises:
            ValueError: If model or teacher does not fit, or `from_logits` is False.
        """
        if self.from_logits is False:
            raise ValueError("the scores of a detector are logits: got from_logits=False")
        shapes = {"the model": _shapes(model, "the model")}
        if self.teacher is not None:
            shapes["the teacher"] = _shapes(self.teacher, "the teacher")
        if len(set(shapes.values())) > 1:
            raise ValueError(
                "distillation must have detectors with the same anchors and classes: got outputs "
                + " and ".join(f"{list(each)} of {whose}" for whose, each in shapes.items())
            )
        return dataclasses.replace(self, from_logits=True)

    def loss(self) -> Any:
        """Returns the loss against the outputs of the sources."""
        return DetectorDistillationLoss(temperature=self.temperature)


class DetectorDistillationLoss(keras.losses.Loss):
    """Divergence of the class probabilities, and Huber loss of the offsets where objects are.

    Both terms are sums over the anchors, divided by the number of anchors with an object in the
    sources (the sum of the object probabilities), like the losses of the labels. The offsets of an
    anchor count by its object probability, because offsets of the background mean nothing.

    Args:
        temperature: Divides the logits of both sides, > 0.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__(name="detector_distillation", dtype="float32")
        self._scores = DistillationLoss(temperature=temperature, from_logits=True)

    def softened(self, sources: Sequence[Mapping[str, KerasTensor]]) -> dict[str, Any]:
        """Averages the outputs of some detectors.

        Args:
            sources: Outputs of one or more detectors.

        Returns:
            `scores`: softened probabilities; `boxes` [n, A, 5]: offsets and the probability of an
            object. No gradient flows through the averages.
        """
        count = float(len(sources))
        offsets = sum(ops.cast(each["boxes"], "float32") for each in sources) / count
        objects = sum(
            1.0 - ops.softmax(ops.cast(each["scores"], "float32"), axis=-1)[..., :1]
            for each in sources
        )
        return {
            "boxes": ops.stop_gradient(ops.concatenate([offsets, objects / count], axis=-1)),
            "scores": self._scores.softened([each["scores"] for each in sources]),
        }

    def call(self, y_true: Mapping[str, KerasTensor], y_pred: Mapping[str, KerasTensor]) -> Any:
        """Returns the loss of each sample.

        Args:
            y_true: The result of `softened`.
            y_pred: The outputs of the model that learns.

        Returns:
            float32 [n].
        """
        object_ = y_true["boxes"][..., 4]
        error = ops.abs(ops.cast(y_pred["boxes"], "float32") - y_true["boxes"][..., :4])
        below = ops.minimum(error, 1.0)
        offsets = object_ * ops.sum(below * (error - 0.5 * below), axis=-1)
        scores = self._scores.call(y_true["scores"], y_pred["scores"])
        counts = ops.maximum(ops.mean(ops.sum(object_, axis=-1)), 1.0)
        return ops.sum(offsets + scores, axis=-1) / counts


def _shapes(model: KerasModel, whose: str) -> tuple[Any, ...]:
    """Returns the shapes of boxes and scores without the batch."""
    outputs = getattr(model, "output", None)
    if not isinstance(outputs, dict) or sorted(outputs) != [*_OUTPUTS]:
        names = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise ValueError(
            f"distillation of a detector must have outputs in a dict, 'boxes' and 'scores': "
            f"{whose} has {names}"
        )
    return tuple(tuple(outputs[name].shape[1:]) for name in _OUTPUTS)
