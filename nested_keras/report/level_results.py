"""The results of a run, level by level: the rows of the table, the plot and report.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DenseResult:
    """The dense model that the levels are compared with.

    Attributes:
        nnz: Weights that are not zero, over all layers.
        weight_bytes: Bytes of weights, biases and requantisation tables in the .tflite.
        accuracy_float: Accuracy of the Keras model, 0..1.
        accuracy_int8: Accuracy of the int8 model on the PC, 0..1.
        accuracy_device: Accuracy of the int8 model on the device, 0..1.
        instructions: Instructions per inference on the device.
    """

    nnz: int
    weight_bytes: int
    accuracy_float: float
    accuracy_int8: float
    accuracy_device: float
    instructions: int


@dataclass(frozen=True)
class LevelResult:
    """One level of a nested model.

    Attributes:
        level: Level, 0 is the sparsest.
        sparsity: Share of zeros among the weights of the nested layers, 0..1.
        nnz: Weights that are not zero, over all layers.
        weight_bytes: Bytes of weights, biases and requantisation tables that this level reads.
        accuracy_float: Accuracy of the Keras model at this level, 0..1.
        accuracy_int8: Accuracy of the int8 model on the PC, 0..1.
        accuracy_device: Accuracy of the int8 model on the device, 0..1.
        instructions: Instructions per inference on the device.
        speedup_over_dense: Instructions of the dense model over those of this level.
    """

    level: int
    sparsity: float
    nnz: int
    weight_bytes: int
    accuracy_float: float
    accuracy_int8: float
    accuracy_device: float
    instructions: int
    speedup_over_dense: float


@dataclass(frozen=True)
class Report:
    """All levels of one model, the dense baseline, and the method of the measurement.

    Attributes:
        title: One line about the measured model.
        levels: One row a level, sparsest first.
        dense: The dense baseline.
        facts: Other facts by name: data set, image counts, versions, sizes.
        quality: The name of the shares `accuracy_...`: "accuracy" for the top-1 accuracy of a
            classifier, "mAP@0.5" for the mean average precision of a detector.
    """

    title: str
    levels: Sequence[LevelResult]
    dense: DenseResult
    facts: dict[str, str | int | float]
    quality: str = "accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of report.json."""
        return {
            "title": self.title,
            "quality": self.quality,
            "levels": [dataclasses.asdict(level) for level in self.levels],
            "dense": dataclasses.asdict(self.dense),
            "facts": dict(self.facts),
        }
