"""Images as the flat records that the firmware reads and writes: one record for each inference.

A record holds all graph inputs (or outputs), each starting at a multiple of 16 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.detection.decoding import Decoder, Detections
from nested_keras.format.layout import align
from nested_keras.tflite.program import Program, Tensor

Array: TypeAlias = npt.NDArray[Any]

_ALIGNMENT = 16
BOX_BYTES = 24
"""The six int32 of nk_detection."""


@dataclass(frozen=True)
class RecordLayout:
    """Where each tensor lies in a record.

    Attributes:
        tensors: The graph inputs or outputs.
        offsets: Offset of each in bytes.
        size: Bytes up to the end of the last tensor.
        stride: `size` rounded up to a multiple of 16.
    """

    tensors: tuple[Tensor, ...]
    offsets: tuple[int, ...]
    size: int
    stride: int


def input_layout(program: Program) -> RecordLayout:
    """Layout of the graph inputs without the level."""
    return _layout(tuple(program.tensors[i] for i in program.inputs))


def output_layout(program: Program) -> RecordLayout:
    """Layout of the graph outputs."""
    return _layout(tuple(program.tensors[i] for i in program.outputs))


def _layout(tensors: tuple[Tensor, ...]) -> RecordLayout:
    offsets, size = [], 0
    for tensor in tensors:
        offsets.append(align(size, _ALIGNMENT))
        size = offsets[-1] + tensor.nbytes
    return RecordLayout(tensors, tuple(offsets), size, align(size, _ALIGNMENT))


def to_records(layout: RecordLayout, arrays: Sequence[Array]) -> npt.NDArray[np.uint8]:
    """Packs batches of tensors.

    Args:
        layout: Where the tensors go.
        arrays: One for each tensor, of its dtype and shape [n, *shape[1:]] with n a multiple of
            shape[0], the batch that one inference takes.

    Returns:
        uint8 [n // shape[0], stride].

    Raises:
        ValueError: A wrong number of arrays, dtype or shape.
    """
    if len(arrays) != len(layout.tensors):
        raise ValueError(f"expected {len(layout.tensors)} inputs: got {len(arrays)}")
    counts = [_inferences(t, a) for t, a in zip(layout.tensors, arrays, strict=True)]
    if len(set(counts)) != 1:
        raise ValueError(f"expected equally many images of every input: got {counts} inferences")
    records = np.zeros((counts[0], layout.stride), np.uint8)
    for tensor, offset, array in zip(layout.tensors, layout.offsets, arrays, strict=True):
        flat = np.ascontiguousarray(array).reshape(counts[0], -1).view(np.uint8)
        records[:, offset : offset + tensor.nbytes] = flat
    return records


def _inferences(tensor: Tensor, array: Array) -> int:
    batch, *rest = tensor.shape or (1,)
    if array.dtype != np.dtype(tensor.dtype):
        raise ValueError(f"input {tensor.name!r} must be {tensor.dtype}: got {array.dtype}")
    wanted = f"[n, {', '.join(map(str, rest))}] with n a positive multiple of {batch}"
    if array.ndim == 0 or list(array.shape[1:]) != rest or not len(array) or len(array) % batch:
        raise ValueError(f"input {tensor.name!r} must have shape {wanted}: got {array.shape}")
    return len(array) // batch


def from_records(layout: RecordLayout, records: npt.NDArray[np.uint8]) -> tuple[Array, ...]:
    """Unpacks records to one batch for each tensor.

    Args:
        layout: Where the tensors lie.
        records: uint8 [inferences, at least layout.size].

    Returns:
        Arrays of the tensors' dtypes, [inferences * shape[0], *shape[1:]].
    """
    arrays = []
    for tensor, offset in zip(layout.tensors, layout.offsets, strict=True):
        flat = np.ascontiguousarray(records[:, offset : offset + tensor.nbytes])
        batch, *rest = tensor.shape or (1,)
        arrays.append(flat.view(tensor.dtype).reshape(len(records) * batch, *rest))
    return tuple(arrays)


def detection_bytes(decoder: Decoder) -> int:
    """Bytes of the boxes of one image, which follow its outputs: a count and room for all boxes."""
    return _ALIGNMENT + decoder.max_boxes * BOX_BYTES


def detections_from_records(
    layout: RecordLayout, records: npt.NDArray[np.uint8]
) -> tuple[Detections, ...]:
    """Unpacks the boxes of each image.

    Args:
        layout: Where the outputs lie, which the boxes follow.
        records: uint8 [images, layout.stride + detection_bytes].

    Returns:
        int32 [k, 6] for each image.
    """
    numbers = np.ascontiguousarray(records[:, layout.stride :]).view(np.int32)
    boxes = numbers[:, _ALIGNMENT // 4 :].reshape(len(records), -1, BOX_BYTES // 4)
    return tuple(each[:count] for each, count in zip(boxes, numbers[:, 0].tolist(), strict=True))
