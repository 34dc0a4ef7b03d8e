"""Quantised tables and packed streams of the layers that become NESTED_SPARSE_CONV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nested_keras.cortex_m import cycles
from nested_keras.export.export_errors import ExportError
from nested_keras.export.idle import drop_idle
from nested_keras.export.match import ConvertedLayer
from nested_keras.export.quantize import LevelTables, quantize_levels
from nested_keras.format import FormatError, LayerKind, LayerParams, NestedWeights, Stream
from nested_keras.tflite.operators import Conv2D, DepthwiseConv2D
from nested_keras.tflite.program import Program


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """A layer that becomes NESTED_SPARSE_CONV.

    Attributes:
        converted: The layer as the converter made it.
        tables: Requantisation of every level.
        stream: The packed stream.
    """

    converted: ConvertedLayer
    tables: LevelTables
    stream: Stream


def pack(layers: Mapping[str, ConvertedLayer], program: Program) -> tuple[PackedLayer, ...]:
    """Packs the layers that differ between levels, layers with gaps, and fully connected layers.

    A layer whose filter has gaps (a grouped or a transposed convolution, `nesting.filters`) is
    packed because the stream leaves the zeros out. A fully connected layer is packed even where
    all levels are equal, because runtimes round a builtin FULLY_CONNECTED differently: LiteRT
    rounds once, TFLite Micro twice (docs/quantization.md). NESTED_SPARSE_CONV gives the same bytes
    everywhere. All other layers keep the operator of the converter. Nothing is packed where all
    layers are equal at every level.

    Weights that cannot change any output are left out (`idle`). The encoding of each layer is
    chosen by predicted cycles (`cortex_m.cycles.pack_fastest`).

    Args:
        layers: The layers by node name.
        program: The converted file with these layers.

    Returns:
        The packed layers.

    Raises:
        ExportError: A layer does not fit the stream or the kernels, or a table entry does not fit
            its range; the text names the layer.
    """
    if not any(layer.node.per_level for layer in layers.values()):
        return ()
    return tuple(
        _pack(layer, cycles.ImageSize.of(layer.node.kind, *program.shapes(layer.op)))
        for layer in layers.values()
        if layer.node.per_level
        or layer.node.has_gaps
        or layer.node.kind is LayerKind.FULLY_CONNECTED
    )


def _pack(layer: ConvertedLayer, size: cycles.ImageSize) -> PackedLayer:
    for height, width in ((size.input_h, size.input_w), (size.output_h, size.output_w)):
        if max(height, width) > cycles.MAX_SIDE:
            raise ExportError(
                f"layer {layer.node.name!r} has an image of {height}x{width} pixels; "
                f"expected at most {cycles.MAX_SIDE} a side"
            )
    tables = quantize_levels(
        layer.node,
        twin_gain=layer.gain,
        input_scale=layer.input_scale,
        filter_scale=layer.filter_scale,
        output_scale=layer.output_scale,
        dense_bias=layer.op.bias,
    )
    try:
        weights = NestedWeights(
            params=_params(layer),
            weights=np.ascontiguousarray(layer.filter),
            level_map=np.ascontiguousarray(layer.node.level_map),
            bias=tables.bias,
            multiplier=tables.multiplier,
            shift=tables.shift,
        )
        stream = cycles.pack_fastest(drop_idle(weights), size)
    except FormatError as error:
        raise ExportError(f"layer {layer.node.name!r} does not fit the stream: {error}") from error
    return PackedLayer(converted=layer, tables=tables, stream=stream)


def _params(layer: ConvertedLayer) -> LayerParams:
    node, op = layer.node, layer.op
    out_channels, kernel_h, kernel_w, filter_in = layer.filter.shape
    depth_multiplier = op.depth_multiplier if isinstance(op, DepthwiseConv2D) else 1
    depthwise = node.kind is LayerKind.DEPTHWISE
    geometry = {}
    if isinstance(op, Conv2D):
        names = ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left")
        geometry = {name: getattr(op, name) for name in names}
    return LayerParams(
        kind=node.kind,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        in_channels=out_channels // depth_multiplier if depthwise else filter_in,
        out_channels=out_channels,
        depth_multiplier=depth_multiplier,
        input_offset=op.input_offset,
        output_offset=op.output_offset,
        activation_min=op.activation_min,
        activation_max=op.activation_max,
        **geometry,
    )
