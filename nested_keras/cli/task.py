"""Read the loss and the metric of a classifier from the end of its model."""

from __future__ import annotations

import dataclasses
from typing import Any

from nested_keras.typing import KerasModel


@dataclasses.dataclass(frozen=True)
class Task:
    """The loss and the metric of a classifier.

    Attributes:
        loss: The loss, for labels as class indices.
        metric: The accuracy.
        classes: The number of classes.
    """

    loss: Any
    metric: Any
    classes: int


def task_of(model: KerasModel) -> Task:
    """Reads the loss of a classifier from the end of its model.

    Raises:
        ValueError: If the model is no classifier with one input and one output, or its end shows
            neither a softmax nor a sigmoid nor logits.
    """
    import keras

    from nested_keras.nesting import heads

    ends = len(getattr(model, "inputs", None) or ()), len(getattr(model, "outputs", None) or ())
    if ends != (1, 1):
        raise ValueError(
            f"the model must have one input and one output: got {ends[0]} and {ends[1]}"
        )
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"the model must have an output [n, classes]: got {list(shape)}")
    head = heads.head_of(model)
    fits = {"softmax": shape[1] > 1, "sigmoid": shape[1] == 1, "logits": True}
    if head.kind is None or not fits[head.kind]:
        raise ValueError(
            "the model must end in a softmax over two or more classes, in one sigmoid, or in "
            f"logits: got {shape[1]} outputs of {head.name!r} ({head.type}); for another end use "
            "the Python API"
        )
    logits = head.kind == "logits"
    if shape[1] == 1:
        return Task(
            keras.losses.BinaryCrossentropy(from_logits=logits),
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if logits else 0.5),
            classes=2,
        )
    return Task(
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits), "accuracy", shape[1]
    )
