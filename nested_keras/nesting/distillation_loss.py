"""Let the levels learn from a teacher, from the densest level, or from both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from nested_keras.nesting.heads import head_of
from nested_keras.typing import KerasModel, KerasTensor

_register = keras.saving.register_keras_serializable(package="nested_keras")


@_register
@dataclasses.dataclass(frozen=True)
class Distillation:
    """How the levels of a classifier learn from the class probabilities of other models.

    The loss of a level is ``(1 - weight) * loss + weight * distillation``, where the distillation
    is the divergence from the sources, see `DistillationLoss`. The teacher is a source of every
    level. With `in_place`, the densest level is a source of every sparser level, and no gradient
    flows into the densest level. Of two sources, the probabilities are averaged.

    Attributes:
        teacher: A Keras model with the inputs and the output of the nested model, or None. The
            teacher runs in inference mode and is neither trained nor saved.
        in_place: Whether the sparser levels learn from the densest.
        weight: The share of the distillation in the loss, in [0, 1].
        temperature: Softens the probabilities of both sides, > 0; 1 changes nothing.
        from_logits: Whether the models end in logits, without softmax; None to read it from their
            last operations, when the nested model is compiled.
    """

    teacher: Any = None
    in_place: bool = False
    weight: float = 0.5
    temperature: float = 2.0
    from_logits: bool | None = None

    def __post_init__(self) -> None:
        """Refuses wrong settings."""
        if self.teacher is None and not self.in_place:
            raise ValueError(
                "distillation must have a teacher, in_place=True or both: got teacher=None and "
                "in_place=False"
            )
        if not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"weight of the distillation must lie in [0, 1]: got {self.weight}")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be above 0: got {self.temperature}")

    def for_model(self, model: KerasModel) -> Distillation:
        """Settles `from_logits` for a model.

        Args:
            model: The nested model.

        Returns:
            The same distillation with `from_logits` True or False.

        Raises:
            ValueError: If the model has several outputs or fewer than two classes, the ends of
                model and teacher contradict each other or `from_logits`, or no end says whether
                the outputs are logits.
        """
        if len(model.outputs) != 1:
            raise ValueError(
                f"distillation must have a model with one output: got {len(model.outputs)} (a "
                "detector takes DetectorDistillation)"
            )
        shape = tuple(model.outputs[0].shape)
        if shape[-1] == 1:
            raise ValueError(
                "distillation must have a model with two or more classes along its last axis: "
                f"got outputs of shape {shape}"
            )
        heads = {"the model": head_of(model)}
        if self.teacher is not None:
            heads["the teacher"] = head_of(self.teacher)
        found: dict[str, bool] = {}
        for whose, head in heads.items():
            if head.kind == "sigmoid":
                raise ValueError(
                    f"distillation must have a softmax or logits: {whose} ends in a sigmoid "
                    f"({head.name!r}), whose outputs are not one distribution over the classes"
                )
            if head.kind is not None:
                found[f"{whose} ends in {head.kind} ({head.name!r})"] = head.kind == "logits"
        if self.from_logits is not None:
            found[f"from_logits={self.from_logits}"] = self.from_logits
        if not found:
            head = heads["the model"]
            raise ValueError(
                "from_logits must be True or False, because the end of the model does not say "
                f"whether its outputs are logits: got None, and {head.name!r} of type {head.type}"
            )
        if len(set(found.values())) > 1:
            raise ValueError(
                f"distillation must have logits on all sides or on none: got {', '.join(found)}"
            )
        return dataclasses.replace(self, from_logits=next(iter(found.values())))

    def loss(self) -> DistillationLoss:
        """Returns the loss against the sources.

        Raises:
            ValueError: If `from_logits` is None; see `for_model`.
        """
        if self.from_logits is None:
            raise ValueError("from_logits must be True or False: got None; see for_model()")
        return DistillationLoss(temperature=self.temperature, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments in a form that can be saved, without the teacher's weights."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "teacher": None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Distillation:
        """Makes the distillation again from its config."""
        return cls(**config)


class DistillationLoss(keras.losses.Loss):
    """Kullback-Leibler divergence of softened class probabilities, times temperature squared.

    The square keeps the size of the gradient, whatever the temperature (Hinton et al., "Distilling
    the Knowledge in a Neural Network", arXiv:1503.02531).

    Args:
        temperature: Divides the logits of both sides, > 0.
        from_logits: Whether the outputs are logits; else they are probabilities.
    """

    def __init__(self, *, temperature: float, from_logits: bool) -> None:
        super().__init__(name="distillation", dtype="float32")
        self._temperature = temperature
        self._from_logits = from_logits

    def softened(self, sources: Sequence[Any]) -> Any:
        """Averages the softened probabilities of some models' outputs.

        Args:
            sources: Outputs (batch, ..., classes) of one or more models.

        Returns:
            Probabilities of the same shape, float32, through which no gradient flows.
        """
        found = [ops.exp(self._log_probabilities(source)) for source in sources]
        return ops.stop_gradient(sum(found) / float(len(found)))

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> Any:
        """Returns the divergence of each sample.

        Args:
            y_true: The result of `softened`, (batch, ..., classes).
            y_pred: The outputs of the model that learns, of the same shape.

        Returns:
            float32 (batch, ...).
        """
        entropy = ops.sum(y_true * ops.log(y_true + keras.config.epsilon()), axis=-1)
        cross = ops.sum(y_true * self._log_probabilities(y_pred), axis=-1)
        return (entropy - cross) * self._temperature**2

    def _log_probabilities(self, outputs: KerasTensor) -> Any:
        logits = ops.cast(outputs, "float32")
        if not self._from_logits:
            logits = ops.log(ops.maximum(logits, keras.config.epsilon()))
        return ops.log_softmax(logits / self._temperature, axis=-1)
