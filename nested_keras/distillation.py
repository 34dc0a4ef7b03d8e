"""Distillation of the levels; see `nested_keras.nesting.distillation_loss`."""

from nested_keras.nesting.detector_distillation import (
    DetectorDistillation,
    DetectorDistillationLoss,
)
from nested_keras.nesting.distillation_loss import Distillation, DistillationLoss

__all__ = [
    "DetectorDistillation",
    "DetectorDistillationLoss",
    "Distillation",
    "DistillationLoss",
]
