"""Callbacks of `NestedModel.fit`: sparsity ramp, BatchNorm statistics, best epoch, progress."""

from nested_keras.callbacks.batch_norm import BatchNormReestimation, reestimate_batch_norm
from nested_keras.callbacks.checkpoint import LevelCheckpoint
from nested_keras.callbacks.progress import LevelProgress
from nested_keras.callbacks.pruning import NestedPruning

__all__ = [
    "BatchNormReestimation",
    "LevelCheckpoint",
    "LevelProgress",
    "NestedPruning",
    "reestimate_batch_norm",
]
