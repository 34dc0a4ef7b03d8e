"""A .tflite graph after preparation: every operator with its integer parameters resolved.

`lowering.lower` makes a `Program` from the bytes of a .tflite file. The NumPy reference executes it
and the code generator prints it as C, so both run the very same multipliers, shifts, offsets and
paddings. Field names are those of the C parameter structs in `tflm_ops/include/nk_ops.h`.

Shapes are NHWC and fully static. Filters are OHWI: [out_channels, kernel_h, kernel_w, in_channels];
a depthwise filter has in_channels = 1. Multipliers are Q31, shifts are positive to the left, as in
docs/quantization.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.format import Stream
from nested_keras.typing import Int8Array, Int32Array


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
      name: Name of the first output tensor: what a report shows.
      inputs: Indices into `Program.tensors` of the tensors read (weights are fields of the op).
      outputs: Indices of the tensors written.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Conv2D(Op):
    """Dense int8 convolution with one (multiplier, shift) per output channel."""

    filter: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int32Array
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D(Conv2D):
    """Dense int8 depthwise convolution.

    Output channel c reads input channel c // depth_multiplier; the filter is [out, h, w, 1].
    """

    depth_multiplier: int


@dataclass(frozen=True, eq=False)
class FullyConnected(Op):
    """Dense int8 matrix product.

    The filter is [out_features, in_features], the input is flattened to [rows, in_features]. The
    multiplier is applied with one rounding (half away from zero), unlike in a convolution.
    """

    filter: Int8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int32Array
    input_offset: int
    output_offset: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class NestedSparseConv(Op):
    """NESTED_SPARSE_CONV: the stream carries all parameters (docs/nested_format.md)."""

    layer: Stream


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Element-wise sum with broadcasting of two activations (TFLite's int8 rule, left_shift = 20).

    A constant operand stays a tensor of the program: its index is in `inputs`.
    """

    left_shift: int
    input1_offset: int
    input1_multiplier: int
    input1_shift: int
    input2_offset: int
    input2_multiplier: int
    input2_shift: int
    output_offset: int
    output_multiplier: int
    output_shift: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """Element-wise product with broadcasting."""

    input1_offset: int
    input2_offset: int
    output_offset: int
    output_multiplier: int
    output_shift: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class Pool2D(Op):
    """Base of the pooling operators."""

    filter_h: int
    filter_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    activation_min: int
    activation_max: int


@dataclass(frozen=True, eq=False)
class AveragePool2D(Pool2D):
    """Average over the window's valid pixels, rounded half away from zero."""


@dataclass(frozen=True, eq=False)
class MaxPool2D(Pool2D):
    """Maximum over the window's valid pixels."""


@dataclass(frozen=True, eq=False)
class Mean(Op):
    """Mean over height and width of an NHWC tensor; the output has batch * channels elements.

    The division by height * width is part of `multiplier` and `shift`.
    """

    input_offset: int
    output_offset: int
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """Constant padding of up to four dimensions; `paddings` is ((before, after), ...) of each."""

    paddings: tuple[tuple[int, int], ...]
    value: int


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Copy with another shape (RESHAPE, SQUEEZE, EXPAND_DIMS)."""


@dataclass(frozen=True, eq=False)
class Concatenation(Op):
    """Concatenation along `axis` (non-negative); all operands share scale and zero point."""

    axis: int


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax over the last axis, int8 in and out (output scale 1/256, zero point -128)."""

    input_multiplier: int
    input_left_shift: int
    diff_min: int


@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """Element-wise int8 -> int8 function by table: output = table[input + 128].

    LOGISTIC, TANH, RELU, RELU6, LEAKY_RELU, HARD_SWISH and QUANTIZE between two int8 scales all
    have 256 possible inputs, so lowering evaluates TFLite's arithmetic once for each of them.
    """

    table: Int8Array


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """float32 -> int8: clamp(round(x / scale) + zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Dequantize(Op):
    """int8 -> float32: scale * (x - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Program:
    """A prepared graph.

    Attributes:
      tensors: All tensors.
      ops: Operators in execution order.
      inputs: Tensor indices of the graph inputs without the level.
      outputs: Tensor indices of the graph outputs.
      levels: Number of nested levels; 1 for a graph without NESTED_SPARSE_CONV.
      level_input: Tensor index of the int32[1] graph input `level`; None where there is none.
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
