"""Distillation of the levels; see `nested_keras.nesting.distillation_loss`."""

from nested_keras.nesting.distillation_loss import Distillation, DistillationLoss

__all__ = ["Distillation", "DistillationLoss"]
