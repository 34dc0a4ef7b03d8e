"""Layers whose kernel is spread over a larger filter of a plain convolution, between zeros.

The packed stream stores only the weights that are not zero: a zero of the filter costs nothing.

**Grouped convolution.** Output channel o reads the input channels of its own group alone. As a
plain convolution, its filter is zero at all other input channels.

**Transposed convolution** with stride s. Along one axis, with a kernel W of k taps, dilation d and
p pixels cut off in front, each output pixel is

    y[i] = sum of x[j] W[t]   over j s + t d = i + p.

With i = s q + a, 0 <= a < s, the taps with t d = a + p (mod s) read x[q + (a + p - t d) / s]. So
the outputs of one phase a are a plain convolution of stride 1 over x, and all s phases together are
one convolution with s times as many output channels, whose kernel covers all distances
(a + p - t d) / s. A transposition then puts phase a of pixel q at s q + a. See
docs/decisions/0006-transposed-convolution.md.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.typing import KerasLayer

# OHWI: for each weight of a filter its place in the flat kernel, or -1 where it is always zero.
Places: TypeAlias = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class UpAxis:
    """How a transposed convolution becomes a plain one of stride 1 along one axis.

    Attributes:
        stride: Phases s, each a set of output channels.
        dilation: The dilation of the plain convolution.
        taps: For each phase and each tap of the plain convolution the tap of the kernel, or -1.
        before: Pixels of zeros in front of the input.
        after: Pixels of zeros behind the input.
        reach: Output pixels beyond s (n - 1), of n input pixels.
    """

    stride: int
    dilation: int
    taps: tuple[tuple[int, ...], ...]
    before: int
    after: int
    reach: int

    @property
    def size(self) -> int:
        """Taps of the plain convolution."""
        return len(self.taps[0])

    def pixels(self, inputs: int) -> int:
        """Returns the output pixels of the plain convolution, each a block of s."""
        return inputs - 1 + math.ceil(self.reach / self.stride)

    @property
    def pads_as_same(self) -> bool:
        """Whether the padding SAME puts these pixels of zeros around the input."""
        total = (self.size - 1) * self.dilation
        return self.before == total // 2 and self.before + self.after == total


def up_axes(layer: KerasLayer) -> tuple[UpAxis, UpAxis]:
    """Returns the plain convolution of a transposed one along both axes; a series has one row."""
    output_padding = layer.output_padding
    rank = len(layer.kernel_size)
    if output_padding is None or isinstance(output_padding, int):
        output_padding = (output_padding,) * rank
    *rows, columns = (
        _up_axis(*numbers, same=layer.padding == "same")
        for numbers in zip(
            layer.kernel_size, layer.strides, layer.dilation_rate, output_padding, strict=True
        )
    )
    return (rows or [_up_axis(1, 1, 1, None, same=True)])[0], columns


def _up_axis(
    kernel: int, stride: int, dilation: int, output_padding: int | None, *, same: bool
) -> UpAxis:
    extent = (kernel - 1) * dilation + 1
    # As Keras computes the size of the output, and TensorFlow the padding from that size.
    if output_padding is not None:
        reach = extent - 2 * (extent // 2 if same else 0) + output_padding
    else:
        reach = stride if same else max(extent, stride)
    cut = max(extent - reach, 0) // 2 if same else 0
    distances = {
        (phase, tap): (phase + cut - tap * dilation) // stride
        for phase in range(stride)
        for tap in range(kernel)
        if (phase + cut - tap * dilation) % stride == 0
    }
    nearest, farthest = min(distances.values()), max(distances.values())
    step = dilation if stride == 1 else 1
    taps = np.full((stride, (farthest - nearest) // step + 1), -1)
    for (phase, tap), distance in distances.items():
        taps[phase, (distance - nearest) // step] = tap
    return UpAxis(
        stride=stride,
        dilation=step,
        taps=tuple(map(tuple, taps.tolist())),
        before=-nearest,
        after=math.ceil(reach / stride) - 1 + farthest,
        reach=reach,
    )


def grouped(layer: KerasLayer) -> Places | None:
    """Returns the places of a convolution with groups; None for one group: filter is kernel.

    The kernel is [h, w, inputs per group, outputs], or without h.
    """
    if layer.groups == 1:
        return None
    height, width, per_group, outputs = shape = (1, *layer.kernel.shape)[-4:]
    places = np.full((outputs, height, width, layer.groups, per_group), -1)
    own = np.arange(math.prod(shape)).reshape(shape)
    group = np.arange(outputs) // (outputs // layer.groups)
    places[np.arange(outputs), :, :, group] = own.transpose(3, 0, 1, 2)
    return places.reshape(outputs, height, width, layer.groups * per_group)


def transposed(layer: KerasLayer) -> Places:
    """Returns the places of a transposed layer, whose kernel is [h, w, outputs, inputs].

    The kernel of one dimension has no h.

    Output channel (a s_w + b) * outputs + c of the filter is phase (a, b) of channel c.
    """
    shape = (1, *layer.kernel.shape)[-4:]
    own = np.arange(math.prod(shape)).reshape(shape)
    rows, columns = (np.array(axis.taps) for axis in up_axes(layer))
    row, column = rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]
    kept = (row >= 0) & (column >= 0)
    # [phase_h, phase_w, h, w, outputs, inputs]
    places = np.where(kept[..., np.newaxis, np.newaxis], own[row, column], -1)
    places = places.transpose(0, 1, 4, 2, 3, 5)
    return places.reshape(-1, *places.shape[3:])
