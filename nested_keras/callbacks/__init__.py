"""Callbacks of `NestedModel.fit`: sparsity ramp, BatchNorm re-estimation, the best of a level."""

from nested_keras.callbacks.batch_norm import BatchNormReestimation, reestimate_batch_norm
from nested_keras.callbacks.checkpoint import LevelCheckpoint
from nested_keras.callbacks.pruning import NestedPruning

__all__ = ["BatchNormReestimation", "LevelCheckpoint", "NestedPruning", "reestimate_batch_norm"]
