"""Predict the cost of each layer at each level, and choose the sparsity of each layer."""

from nested_keras.allocation.choice import (
    Allocation,
    Sensitivity,
    allocate,
    erdos_renyi,
    global_magnitude,
    measure_sensitivity,
)

__all__ = [
    "Allocation",
    "Sensitivity",
    "allocate",
    "erdos_renyi",
    "global_magnitude",
    "measure_sensitivity",
]
