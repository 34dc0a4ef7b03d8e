"""Linear nodes for tests that need no Keras."""

import numpy as np

from nested_keras.export.nodes import Linear
from nested_keras.format import LayerKind


def linear(*, gain, bias, kind=LayerKind.CONV, inputs=4, seed=0, **fields):
    """A 1x1 node with random weights in -1..1, one row of `gain` and `bias` per level."""
    gain = np.array(gain, np.float64)
    rng = np.random.default_rng(seed)
    shape = (gain.shape[1], 1, 1, inputs)
    return Linear(
        **{
            "name": "layer",
            "inputs": ("x",),
            "shape": (1, 1, 1, gain.shape[1]),
            "kind": kind,
            "filter": rng.uniform(-1, 1, shape),
            "level_map": np.zeros(shape, np.uint8),
            "gain": gain,
            "bias": np.array(bias, np.float64),
            **fields,
        }
    )
