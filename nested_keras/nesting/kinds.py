"""The kinds of layers whose kernel can be nested: one row for each.

A row has the class of the Keras layer, the class of the nested layer, the kind in the packed stream
and the axes of the kernel. The steps that must tell the kinds apart read these rows: `nest`, the
costs of `nested_keras.allocation`, and export.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from nested_keras.format import LayerKind
from nested_keras.nesting import filters, layers
from nested_keras.typing import KerasLayer

Shape4: TypeAlias = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class KernelKind:
    """One kind of layer with a kernel.

    Attributes:
        keras: The class of the Keras layer.
        nested: The class of the nested layer in the place of the Keras layer.
        stream: The kind of the layer in the packed stream.
        hwio: Gives the shape [kernel_h, kernel_w, in_channels, out_channels] to which the layer's
            kernel is reshaped, with in_channels = 1 for depthwise kernels. An OHWI filter is the
            reshaped kernel transposed by (3, 0, 1, 2).
        kept_dense: The layers that `nest` leaves dense by default, in graph order, among all layers
            with the same kind in the packed stream and the same `kept_dense`.
        places: For a layer whose kernel is spread over a larger filter, the source of each weight
            of the filter (see `filters`); None where `hwio` is enough.
    """

    keras: type[Any]
    nested: type[layers.NestedKernel]
    stream: LayerKind
    hwio: Callable[[Sequence[int]], Shape4]
    kept_dense: slice
    places: Callable[[KerasLayer], filters.Places | None] = lambda layer: None

    def stream_on(self, rank: int) -> LayerKind:
        """Returns the kind in the packed stream of a call on tensors of a rank, batch included.

        A matrix product with each step of a series, or each pixel of an image, becomes a 1x1
        convolution, because the kernel of the convolution reads the weights once for eight pixels.
        """
        is_matrix = self.stream is LayerKind.FULLY_CONNECTED
        return LayerKind.CONV if is_matrix and rank > 2 else self.stream


def _conv(shape: Sequence[int]) -> Shape4:
    """A kernel of one dimension has a height of one."""
    *window, inputs, outputs = shape
    return *pair(window), inputs, outputs


def _conv_transpose(shape: Sequence[int]) -> Shape4:
    *window, outputs, inputs = shape
    return *pair(window), inputs, outputs


def _depthwise(shape: Sequence[int]) -> Shape4:
    """Output channel c * multiplier + d reads input channel c."""
    *window, inputs, multiplier = shape
    return *pair(window), 1, inputs * multiplier


def _dense(shape: Sequence[int]) -> Shape4:
    inputs, outputs = shape
    return 1, 1, inputs, outputs


ROWS = (
    *(
        KernelKind(
            keras=plain,
            nested=nested,
            stream=LayerKind.CONV,
            hwio=_conv,
            kept_dense=slice(None, 1),
            places=filters.grouped,
        )
        for plain, nested in (
            (keras.layers.Conv2D, layers.NestedConv2D),
            (keras.layers.Conv1D, layers.NestedConv1D),
        )
    ),
    *(
        KernelKind(
            keras=plain,
            nested=nested,
            stream=LayerKind.CONV,
            hwio=_conv_transpose,
            kept_dense=slice(0),
            places=filters.transposed,
        )
        for plain, nested in (
            (keras.layers.Conv2DTranspose, layers.NestedConv2DTranspose),
            (keras.layers.Conv1DTranspose, layers.NestedConv1DTranspose),
        )
    ),
    *(
        KernelKind(
            keras=plain,
            nested=nested,
            stream=LayerKind.DEPTHWISE,
            hwio=_depthwise,
            kept_dense=slice(None),
        )
        for plain, nested in (
            (keras.layers.DepthwiseConv2D, layers.NestedDepthwiseConv2D),
            (keras.layers.DepthwiseConv1D, layers.NestedDepthwiseConv1D),
        )
    ),
    KernelKind(
        keras=keras.layers.Dense,
        nested=layers.NestedDense,
        stream=LayerKind.FULLY_CONNECTED,
        hwio=_dense,
        kept_dense=slice(-1, None),
    ),
)
TRANSPOSED = (keras.layers.Conv2DTranspose, keras.layers.Conv1DTranspose)
BY_KERAS_CLASS = {row.keras: row for row in ROWS}

# The depthwise and the pointwise layer that take the place of a separable one.
SEPARABLE: dict[type[Any], tuple[type[Any], type[Any]]] = {
    keras.layers.SeparableConv2D: (keras.layers.DepthwiseConv2D, keras.layers.Conv2D),
    keras.layers.SeparableConv1D: (keras.layers.DepthwiseConv1D, keras.layers.Conv1D),
}


def pair(values: Sequence[int], *, first: int = 1) -> tuple[int, int]:
    """Returns (vertical, horizontal) of a layer's sizes; a single size is horizontal.

    Args:
        values: One or two sizes.
        first: The vertical size, where there is only a horizontal size.
    """
    vertical, horizontal = (first, *values)[-2:]
    return vertical, horizontal


def row_of(layer: object) -> KernelKind | None:
    """Returns the row of a layer, nested or not; None for a layer without a kernel to nest."""
    return next((row for row in ROWS if isinstance(layer, row.keras)), None)
