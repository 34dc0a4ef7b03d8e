"""The kinds of layers whose kernel can be nested: one row for each.

A row says which Keras layer it is, which layer takes its place, what the packed stream calls it and
how its kernel is read. The steps that must tell the kinds apart read these rows: `nest`, the costs
of `nested_keras.allocation`, and export.
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
        nested: The class of the layer in its place.
        stream: The kind of the layer in the packed stream.
        hwio: Gives the shape [kernel_h, kernel_w, in_channels, out_channels] that a kernel of the
            layer has when it is reshaped, with in_channels = 1 for depthwise kernels. An OHWI
            filter is that kernel transposed by (3, 0, 1, 2).
        kept_dense: Which layers of the kind `nest` leaves dense by default, in graph order.
        places: Of a layer whose kernel is spread over a larger filter, where each weight of the
            filter comes from (see `filters`); None where `hwio` says it all.
    """

    keras: type[Any]
    nested: type[layers.NestedKernel]
    stream: LayerKind
    hwio: Callable[[Sequence[int]], Shape4]
    kept_dense: slice
    places: Callable[[KerasLayer], filters.Places | None] = lambda layer: None


def _conv(shape: Sequence[int]) -> Shape4:
    height, width, inputs, outputs = shape
    return height, width, inputs, outputs


def _conv_transpose(shape: Sequence[int]) -> Shape4:
    height, width, outputs, inputs = shape
    return height, width, inputs, outputs


def _depthwise(shape: Sequence[int]) -> Shape4:
    """Output channel c * multiplier + d reads input channel c."""
    height, width, inputs, multiplier = shape
    return height, width, 1, inputs * multiplier


def _dense(shape: Sequence[int]) -> Shape4:
    inputs, outputs = shape
    return 1, 1, inputs, outputs


ROWS = (
    KernelKind(
        keras=keras.layers.Conv2D,
        nested=layers.NestedConv2D,
        stream=LayerKind.CONV,
        hwio=_conv,
        kept_dense=slice(None, 1),
        places=filters.grouped,
    ),
    KernelKind(
        keras=keras.layers.Conv2DTranspose,
        nested=layers.NestedConv2DTranspose,
        stream=LayerKind.CONV,
        hwio=_conv_transpose,
        kept_dense=slice(0),
        places=filters.transposed,
    ),
    KernelKind(
        keras=keras.layers.DepthwiseConv2D,
        nested=layers.NestedDepthwiseConv2D,
        stream=LayerKind.DEPTHWISE,
        hwio=_depthwise,
        kept_dense=slice(None),
    ),
    KernelKind(
        keras=keras.layers.Dense,
        nested=layers.NestedDense,
        stream=LayerKind.FULLY_CONNECTED,
        hwio=_dense,
        kept_dense=slice(-1, None),
    ),
)
BY_KERAS_CLASS = {row.keras: row for row in ROWS}


def row_of(layer: object) -> KernelKind | None:
    """Returns the row of a layer, nested or not; None where it has no kernel that can be nested."""
    return next((row for row in ROWS if isinstance(layer, row.keras)), None)
