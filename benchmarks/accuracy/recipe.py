"""What all methods of the benchmark share: the network, the learning rate, the ramp."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nested_keras import applications

NETWORKS: dict[str, Callable[..., Any]] = {
    "resnet8": applications.resnet8,
    "resnet9": applications.resnet9,
    "mobilenet_v1": functools.partial(applications.mobilenet_v1, stem_strides=1),
    "mobilenet_v2": functools.partial(applications.mobilenet_v2, stem_strides=1),
}

DISTILLATIONS = ("teacher", "in_place", "both", "none")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result, besides the data and the method.

    Attributes:
        network: One of `NETWORKS`.
        width: Its width multiplier.
        seed: Of the weights, the order of the images and their augmentation.
        pretrained: Keras file of a trained model of the same layers in the same order, for images
            of 0..255; its weights are the dense model's, which is then not trained. "" for none.
        dense_epochs: Epochs of the dense model that every method starts from.
        epochs: Epochs of each method; a method that trains one model per sparsity takes so many
            for each.
        batch_size: Images per step.
        learning_rate: The highest, of batches of `batch_size`, for Adam with the schedule of
            `nested_keras.recipe.learning_rate_schedule`.
        ramp: Share of the steps in which the masks grow, along tfmot's cubic schedule.
        mask_frequency: Steps between two recomputations of the masks.
        routing: The routing coefficient of nested training.
        split_batch: Whether each level of nested training sees images of its own. Batches are then
            N times as large and epochs N times as many: a level still sees `batch_size` images a
            step, for as many steps as a model that stands alone.
        distillation: What nested, stand-alone and slimmable training learn from besides the labels:
            "teacher" (the dense model), "in_place" (the densest level), "both" or "none". tfmot
            has nothing like it, and goes without.
        sparsities: Of the levels, and of the models that stand alone.
        widths: Of slimmable training, on top of `width`.
        policy: The dtype policy of training; measurements are in float32 and int8.
        train_images: Use the first so many only; None for all.
        test_images: Likewise.
        calibration_images: Training images that set the ranges of the int8 model.
    """

    network: str = "resnet8"
    width: float = 1.0
    seed: int = 0
    pretrained: str = ""
    dense_epochs: int = 40
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    ramp: float = 0.6
    mask_frequency: int = 50
    routing: float = 0.5
    split_batch: bool = True
    distillation: str = "teacher"
    sparsities: tuple[float, ...] = (0.9, 0.8, 0.7)
    widths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    policy: str = "mixed_bfloat16"
    train_images: int | None = None
    test_images: int | None = None
    calibration_images: int = 500

    def to_dict(self) -> dict[str, Any]:
        """The recipe as it stands in a JSON file; of `pretrained` the name alone."""
        content = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return content | {"pretrained": Path(self.pretrained).name}


def build(recipe: Recipe, data: Any, *, policy: str = "float32", width: float = 1.0) -> Any:
    """Makes the network, untrained.

    Args:
        recipe: Names it.
        data: Gives it the shape of its images and its classes.
        policy: The dtype policy of its layers.
        width: Multiplier on the recipe's width.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        make = NETWORKS[recipe.network]
        return make(data.x_train.shape[1:], data.classes, width=recipe.width * width)
    finally:
        keras.config.set_dtype_policy(before)


def pruning_schedule(sparsity: float, *, recipe: Recipe, steps: int) -> Any:
    """The cubic ramp of tfmot to a sparsity, the same for nested training and for tfmot."""
    from tensorflow_model_optimization.sparsity.keras import PolynomialDecay

    end = max(1, int(recipe.ramp * steps))
    return PolynomialDecay(
        0.0, sparsity, begin_step=0, end_step=end, frequency=min(recipe.mask_frequency, end)
    )
