"""A batch of training or evaluation, and the share of it that a level sees."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from nested_keras.typing import Value


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch of training or evaluation.

    Attributes:
        x: The inputs.
        y: The targets, or None.
        sample_weight: The weights of the samples, or None.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None

    def size(self) -> Any:
        """Returns the number of samples, a scalar tensor."""
        return tf.shape(keras.tree.flatten(self.x)[0])[0]

    def share(self, index: int, count: int) -> Batch:
        """Returns every `count`-th sample from the `index`-th on."""
        return Batch(*(share(each, index, count) for each in (self.x, self.y, self.sample_weight)))


def share(values: Value, index: int, count: int) -> Any:
    """Returns every `count`-th of a batch's values from the `index`-th on; None for None."""
    return keras.tree.map_structure(
        lambda value: None if value is None else value[index::count], values
    )
