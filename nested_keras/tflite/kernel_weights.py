"""How many weights the kernels of a file have, where their filters have gaps.

The filter of a grouped, a transposed or a dilated convolution may be larger than the kernel that it
is made of, and zero in between. A packed stream stores neither these zeros nor pruned weights, so
the file says as metadata of the .tflite how many weights there are: {name of layer: number}, JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from nested_keras.tflite import flatbuffer
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.model_error import ModelError

_NAME = "nested_keras.kernel_weights"


def write(tree: Tree, counts: Mapping[str, int]) -> None:
    """Adds the numbers to a tree, if there are any."""
    from ai_edge_litert import schema_py_generated as schema

    if not counts:
        return
    entry = schema.MetadataT()
    entry.name = _NAME.encode()
    entry.buffer = tree.add_buffer(json.dumps(counts).encode())
    tree.root.metadata = [*(tree.root.metadata or ()), entry]


def read(tree: Tree) -> dict[str, int]:
    """Returns the number of weights by name of layer, for the layers that have gaps.

    Raises:
        nested_keras.runtime.ModelError: The metadata are damaged.
    """
    for entry in tree.root.metadata or ():
        if flatbuffer.text(entry.name) != _NAME:
            continue
        try:
            counts = json.loads(np.asarray(tree.root.buffers[entry.buffer].data).tobytes())
            return {str(name): int(count) for name, count in counts.items()}
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ModelError(f"metadata {_NAME!r} must be numbers by name: {error}") from error
    return {}
