"""What a layer costs at each level, and which layer gets which sparsity."""

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
