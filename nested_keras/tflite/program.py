"""A .tflite graph after preparation: every operator with its integer parameters resolved.

`lowering.lower` makes a `Program` from the bytes of a .tflite file. The NumPy reference executes it
and the code generator prints it as C, so both use the same multipliers, shifts, offsets and
paddings. The operators are in `operators/`; their fields have the names of the C parameter structs
in `tflm_ops/include/nk_ops.h`.

Shapes are NHWC and fully static. Filters are OHWI: [out_channels, kernel_h, kernel_w, in_channels];
a depthwise filter has in_channels = 1. Multipliers are Q31, shifts are positive to the left, as in
docs/quantization.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the graph.

    Attributes:
        name: Name in the .tflite.
        shape: Static shape.
        dtype: "int8", "uint8", "int32" or "float32".
        scale: Per-tensor scale; 0.0 where the tensor is not quantised or is quantised per channel.
        zero_point: Per-tensor zero point.
        data: Constant value, or None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    data: npt.NDArray[np.generic] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Op:
    """Base of all operators.

    Attributes:
        name: Name of the first output tensor, which reports show.
        inputs: Indices into `Program.tensors` of the tensors read (weights are fields of the op).
        outputs: Indices of the tensors written.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """A prepared graph.

    Attributes:
        tensors: All tensors.
        ops: Operators in execution order.
        inputs: Tensor indices of the graph inputs without the level.
        outputs: Tensor indices of the graph outputs.
        levels: Number of nested levels; 1 for a graph without NESTED_SPARSE_CONV.
        level_input: Tensor index of the int32[1] graph input `level`; None without such an input.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    levels: int
    level_input: int | None

    def shapes(self, op: Op) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of an operator's first input and of its first output."""
        return self.tensors[op.inputs[0]].shape, self.tensors[op.outputs[0]].shape
