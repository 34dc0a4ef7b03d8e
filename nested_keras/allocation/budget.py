"""Predict the cost of each layer of a nested model at each level: Cortex-M7 cycles, or bytes.

A cost is a function of a `KernelShape` and its sparsities, from the sparsest level up to the level
that runs. `cycles` and `stored_bytes` are two costs.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nested_keras.cortex_m.cycles import ImageSize, predict
from nested_keras.format import Encoding, LayerKind, LayerParams, StoredLevel
from nested_keras.nesting import conversion, filters, kinds, layers
from nested_keras.nesting.keras_graph import run_graph
from nested_keras.nesting.model import NestedModel
from nested_keras.typing import KerasArgument, KerasLayer, KerasOperation


@dataclasses.dataclass(frozen=True)
class KernelShape:
    """The facts of a layer on which its work and storage depend.

    Attributes:
        name: The layer's name.
        params: The parameters of the layer for the kernels, without padding and quantisation,
            but for the offset of the outputs, because the cost depends on no other of these.
        sizes: The sizes of input and output at each call of the layer.
        nested: Whether the kernel is nested, or stays dense.
        weights: The number of weights of the kernel. A larger filter over which a kernel is spread
            (`nesting.filters`) has more.
    """

    name: str
    params: LayerParams
    sizes: tuple[ImageSize, ...]
    nested: bool
    weights: int

    @property
    def has_gaps(self) -> bool:
        """Whether the kernel is spread over a larger filter."""
        return self.weights < math.prod(self.params.filter_shape)

    @property
    def macs(self) -> int:
        """The multiplications of the dense layer."""
        return sum(self.weights * s.batches * s.output_h * s.output_w for s in self.sizes)


Cost = Callable[[KernelShape, Sequence[float]], float]


def cycles(kernel: KernelShape, sparsities: Sequence[float]) -> float:
    """Predicts the cycles of a layer in one inference, like the exporter (`cortex_m.cycles`).

    The prediction assumes that the weights of a level spread evenly over the output channels. A
    level without weights of its own costs nothing by itself. The sparsest level, or a layer that
    stays dense, counts as stored in the faster encoding.

    Args:
        kernel: The layer.
        sparsities: The layer's shares of zeros, 0..1, from the sparsest level up to the level that
            runs; without effect for a dense layer.

    Returns:
        Modelled cycles of the Cortex-M7 kernels.
    """
    blocks = kernel.weights // kernel.params.block_size
    dense = StoredLevel(
        Encoding.DENSE, math.prod(kernel.params.filter_shape) // kernel.params.block_size
    )
    shares = [1.0 - sparsity for sparsity in sparsities] if kernel.nested else [1.0]
    kept = [round(share * blocks) for share in shares]
    added = [b - a for a, b in itertools.pairwise([0, *kept])]
    first, *rest = [StoredLevel(Encoding.DELTA8, entries) for entries in added]
    rest = [segment for segment in rest if segment.entries]
    options = [[dense, *rest], [first, *rest] if first.entries else rest]
    return math.fsum(
        min(predict(kernel.params, size, option) for option in options) for size in kernel.sizes
    )


def stored_bytes(kernel: KernelShape, sparsities: Sequence[float]) -> float:
    """Returns the bytes of a layer in the file, up to a level.

    A kept weight of a nested kernel takes two bytes: the value and the step to the weight. Each
    weight of a grouped or transposed kernel takes two bytes too. A weight of another dense kernel
    takes one byte. Each output channel takes nine bytes per level (bias, multiplier, shift). See
    docs/nested_format.md.

    Args:
        kernel: The layer.
        sparsities: The layer's shares of zeros, 0..1, from the sparsest level up to the given
            level; without effect for a dense layer.

    Returns:
        Bytes.
    """
    per_weight = 2.0 * (1.0 - sparsities[-1]) if kernel.nested else 1.0 + kernel.has_gaps
    return per_weight * kernel.weights + 9.0 * len(sparsities) * kernel.params.out_channels


def kernel_shapes(model: NestedModel) -> tuple[KernelShape, ...]:
    """Returns the shapes of all layers with a kernel, nested or dense, in graph order.

    Args:
        model: The nested model; its inputs must have fixed sizes.

    Returns:
        One entry per layer, shared layers once.

    Raises:
        ValueError: If the size of a layer's output is not known.
    """
    sizes: dict[int, tuple[ImageSize, ...]] = {}
    streams: dict[int, LayerKind] = {}

    def call(operation: KerasOperation) -> Callable[..., Any]:
        def infer(*args: KerasArgument, **kwargs: KerasArgument) -> Any:
            output = operation.compute_output_spec(*args, **kwargs)
            kind = kinds.row_of(operation)
            if kind is not None:
                shapes = [(1, *tensor.shape[1:]) for tensor in (args[0], output)]
                if None in shapes[1]:
                    raise ValueError(
                        f"layer {operation.name!r} must have outputs of a fixed size: got "
                        f"{output.shape}"
                    )
                streams[id(operation)] = kind.stream_on(len(shapes[1]))
                if isinstance(operation, kinds.TRANSPOSED):
                    shapes[1] = _blocks(operation, shapes[0])
                sizes[id(operation)] = (
                    *sizes.get(id(operation), ()),
                    ImageSize.of(streams[id(operation)], *shapes),
                )
            return output

        return infer

    run_graph(model, model.input, call)
    return tuple(
        KernelShape(
            name=layer.name,
            params=_params(layer, kind, streams[id(layer)]),
            sizes=sizes[id(layer)],
            nested=isinstance(layer, layers.NestedKernel),
            weights=math.prod(layer.kernel.shape),
        )
        for layer, _ in conversion.operations(model)
        if id(layer) in sizes and (kind := kinds.row_of(layer)) is not None
    )


def total(model: NestedModel, cost: Cost) -> tuple[float, ...]:
    """Returns the cost of the model at each level, with its final sparsities.

    Args:
        model: The nested model.
        cost: The cost of a layer at its sparsities.

    Returns:
        One sum over all layers with a kernel per level.
    """
    final = {layer.name: layer.sparsities for layer in model.nested_layers}
    return total_of(kernel_shapes(model), final, cost, levels=model.levels)


def total_of(
    shapes: Sequence[KernelShape],
    sparsities: Mapping[str, Sequence[float]],
    cost: Cost,
    *,
    levels: int,
) -> tuple[float, ...]:
    """Returns the cost of some layers together at each level.

    Args:
        shapes: The layers.
        sparsities: By the names of nested layers, one sparsity per level.
        cost: The cost of a layer at its sparsities.
        levels: The number of levels.

    Returns:
        One sum over all layers per level.
    """
    dense = (0.0,) * levels
    return tuple(
        math.fsum(cost(shape, sparsities.get(shape.name, dense)[:count]) for shape in shapes)
        for count in range(1, levels + 1)
    )


def _blocks(layer: KerasLayer, shape: Sequence[int]) -> tuple[int, ...]:
    """The output shape of the plain convolution in a transposed layer, with a pixel per block."""
    axes = filters.up_axes(layer)
    sizes = kinds.pair(shape[1:-1])
    pixels = (axis.pixels(size) for axis, size in zip(axes, sizes, strict=True))
    return 1, *pixels, layer.filters * math.prod(layer.strides)


def _params(layer: KerasLayer, kind: kinds.KernelKind, stream: LayerKind) -> LayerParams:
    kernel_h, kernel_w, _, out_channels = kind.hwio(layer.kernel.shape)
    *_, inputs, last = layer.kernel.shape
    places = kind.places(layer)
    if places is not None:
        out_channels, kernel_h, kernel_w, inputs = places.shape
    geometry = {}
    if isinstance(layer, kinds.TRANSPOSED):
        height, width = filters.up_axes(layer)
        geometry = {"dilation_h": height.dilation, "dilation_w": width.dilation}
    elif kind.stream is not LayerKind.FULLY_CONNECTED:
        geometry = {
            **dict(zip(("stride_h", "stride_w"), kinds.pair(layer.strides), strict=True)),
            **dict(zip(("dilation_h", "dilation_w"), kinds.pair(layer.dilation_rate), strict=True)),
        }
    block = layer.block_shape[1] if isinstance(layer, layers.NestedKernel) else 1
    return LayerParams(
        kind=stream,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        in_channels=inputs,
        out_channels=out_channels,
        depth_multiplier=last if kind.stream is LayerKind.DEPTHWISE else 1,
        # As in the exporter, blocks that do not divide the channels are stored as single weights.
        block_size=1 if inputs % block else block,
        # A relu follows most kernels, whose outputs then begin at -128.
        output_offset=-128,
        **geometry,
    )
