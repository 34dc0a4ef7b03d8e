"""Cut levels off an exported file, and list the cost of each layer at each level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nested_keras.cortex_m import cycles
from nested_keras.format import StoredLevel
from nested_keras.format.levels import check_count
from nested_keras.tflite import flatbuffer, kernel_weights
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.lowering import lower_graph
from nested_keras.tflite.operators import Conv2D, FullyConnected, NestedSparseConv
from nested_keras.tflite.program import Program


@dataclass(frozen=True)
class LayerSummary:
    """One layer with weights.

    Attributes:
        name: Name of the layer's output.
        kind: "conv", "depthwise" or "fully_connected".
        nested: Whether the layer is a NESTED_SPARSE_CONV.
        weights: Number of weights of the kernel, zeros counted.
        nnz: Nonzero int8 weights that each level uses.
        bytes: Bytes of weights and tables that each level reads.
        block_size: Weights in an entry of the stream; None without a stream.
        encodings: The encoding of each stored level, such as "DELTA8", with "+" where its tables
            are packed; empty without a stream.
        cycles: Predicted cycles of each level (`cortex_m.cycles`); empty without a stream.
    """

    name: str
    kind: str
    nested: bool
    weights: int
    nnz: tuple[int, ...]
    bytes: tuple[int, ...]
    block_size: int | None = None
    encodings: tuple[str, ...] = ()
    cycles: tuple[int, ...] = ()


def strip_model(tflite: bytes, levels: int) -> bytes:
    """Keeps the `levels` sparsest levels of an exported model.

    Args:
        tflite: The nested .tflite.
        levels: How many levels to keep, from 1 to all levels of the model.

    Returns:
        A .tflite whose levels 0 .. levels - 1 give the same outputs as before.

    Raises:
        nested_keras.runtime.ModelError: The file is foreign or damaged.
        TypeError: `levels` is not an integer.
        ValueError: The model has no nested layer, or `levels` is out of range.
    """
    tree = flatbuffer.load(tflite)
    program = lower_graph(read_graph(tree))
    nested = {i: op for i, op in enumerate(program.ops) if isinstance(op, NestedSparseConv)}
    if not nested:
        raise ValueError("expected a nested model: got one without NESTED_SPARSE_CONV")
    levels = check_count(levels, levels=program.levels)
    for position, op in nested.items():
        tensor = tree.subgraph.tensors[tree.subgraph.operators[position].inputs[2]]
        stream = op.layer.strip(levels).data
        tensor.shape = np.array([len(stream)], np.int32)
        tensor.buffer = tree.add_buffer(stream)
    return flatbuffer.save(tree)


def summarize_model(tflite: bytes, *, core: str = cycles.CORES[0]) -> tuple[LayerSummary, ...]:
    """Lists the layers with weights in execution order.

    Args:
        tflite: Contents of a .tflite.
        core: The core of the predicted cycles, one of `cortex_m.cycles.CORES`.

    Raises:
        nested_keras.runtime.ModelError: The file is foreign or damaged.
    """
    tree = flatbuffer.load(tflite)
    program = lower_graph(read_graph(tree))
    weights = kernel_weights.read(tree)
    rows = []
    for op in program.ops:
        if isinstance(op, NestedSparseConv):
            size = int(np.prod(op.layer.params.filter_shape))
            rows.append(_nested_row(op, program, weights=weights.get(op.name, size), core=core))
        elif isinstance(op, Conv2D | FullyConnected):
            rows.append(_dense_row(op, program.levels))
    return tuple(rows)


def _nested_row(op: NestedSparseConv, program: Program, *, weights: int, core: str) -> LayerSummary:
    layer, params = op.layer, op.layer.params
    size = cycles.ImageSize.of(params.kind, *program.shapes(op))
    levels = range(program.levels)
    return LayerSummary(
        name=op.name,
        kind=params.kind.name.lower(),
        nested=True,
        weights=weights,
        nnz=tuple(map(layer.nnz, levels)),
        bytes=tuple(map(layer.prefix_bytes, levels)),
        block_size=params.block_size,
        encodings=tuple(_form(level) for level in layer.levels),
        cycles=cycles.predict_levels(layer, size, core),
    )


def _dense_row(op: Conv2D | FullyConnected, levels: int) -> LayerSummary:
    kinds = {"Conv2D": "conv", "DepthwiseConv2D": "depthwise", "FullyConnected": "fully_connected"}
    # TFLite stores the weights, an int32 bias and a float32 scale per channel.
    size = op.filter.nbytes + 4 * op.bias.size + 4 * op.multiplier.size
    return LayerSummary(
        name=op.name,
        kind=kinds[type(op).__name__],
        nested=False,
        weights=op.filter.size,
        nnz=(int(np.count_nonzero(op.filter)),) * levels,
        bytes=(size,) * levels,
    )


def _form(level: StoredLevel) -> str:
    """Names the encoding of a level, with "+" where its tables are packed."""
    return level.encoding.name + ("+" if level.has_packed_tables else "")
