"""Pack the streams of an exported model into fewer bytes.

The file with the fastest streams has been compared with dense models bit for bit. The smaller file
has the same weights; its tables are rounded (`format.round_tables`), so that an output may move by
one step. Each stream is read back, because no dense model has these tables. From here on the
stream is the truth, for every runtime.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from nested_keras.cortex_m import cycles, stream_bytes
from nested_keras.export.export_errors import ExportError
from nested_keras.export.pack import PackedLayer
from nested_keras.format import Stream
from nested_keras.tflite.program import Program
from nested_keras.typing import Value

Optimize: TypeAlias = Literal["latency", "size"] | int


def check_optimize(optimize: Value) -> Optimize:
    """Returns "latency", "size" or a positive int, a number of bytes; else raises ExportError."""
    if isinstance(optimize, str) and optimize in ("latency", "size"):
        return "size" if optimize == "size" else "latency"
    if isinstance(optimize, int | np.integer) and not isinstance(optimize, bool) and optimize > 0:
        return int(optimize)
    raise ExportError(
        f'optimize must be "latency", "size" or a positive number of bytes: got {optimize!r}'
    )


def shrink(
    packed: tuple[PackedLayer, ...], program: Program, *, optimize: Optimize, file_bytes: int
) -> tuple[PackedLayer, ...]:
    """Packs the streams anew.

    Args:
        packed: The layers with their fastest streams.
        program: The converted file with these layers.
        optimize: What the user wants.
        file_bytes: Bytes of the file with the fastest streams.

    Returns:
        The layers with other streams; `packed` itself where the streams stay.

    Raises:
        ExportError: A stream does not hold what was packed.
    """
    if optimize == "latency" or not packed:
        return packed
    streams = [layer.stream for layer in packed]
    if optimize == "size":
        smaller = [stream_bytes.pack_smallest(stream) for stream in streams]
    else:
        fastest = sum(len(stream.data) for stream in streams)
        if file_bytes <= optimize:
            return packed
        sizes = (
            cycles.ImageSize.of(layer.converted.node.kind, *program.shapes(layer.converted.op))
            for layer in packed
        )
        smaller = stream_bytes.pack_within(
            list(zip(streams, sizes, strict=True)), optimize - (file_bytes - fastest)
        )
    for layer, stream in zip(packed, smaller, strict=True):
        _check_stream(stream, layer.stream, layer.converted.node.name)
    return tuple(
        dataclasses.replace(layer, stream=stream)
        for layer, stream in zip(packed, smaller, strict=True)
    )


def _check_stream(stream: Stream, fastest: Stream, name: str) -> None:
    """Raises ExportError unless a stream holds the weights of the fastest, and its own tables."""
    read = Stream.parse(stream.data).weights
    for field, truth in (
        *(("weights", fastest), ("level_map", fastest)),
        *(("bias", stream), ("multiplier", stream), ("shift", stream)),
    ):
        if not np.array_equal(getattr(read, field), getattr(truth.weights, field)):
            raise ExportError(f"{name!r}: the smaller stream has another {field} than was packed")


def check_size(tflite: bytes, optimize: Optimize) -> None:
    """Raises ExportError if a file has more bytes than the user wants."""
    if isinstance(optimize, int) and len(tflite) > optimize:
        raise ExportError(
            f"the file must have at most {optimize:,} bytes: got {len(tflite):,} with the smallest "
            "streams"
        )
