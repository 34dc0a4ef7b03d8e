"""The layers to measure, with reproducible weights and inputs."""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nested_keras.cortex_m import cycles
from nested_keras.format import Chooser, LayerKind, LayerParams, NestedWeights, Stream
from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.nesting import masks
from nested_keras.tflite import operators
from nested_keras.typing import Int8Array

SPARSITIES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)

# The input's zero point is -128, as behind a ReLU. The output is not clamped, so that the check
# against the reference sees every value.
_INPUT_OFFSET = 128
_OUTPUT_OFFSET = -7
# Standard deviation of uniform int8 inputs, and the goal for the outputs.
_INPUT_STD = 74.0
_OUTPUT_STD = 40.0
_BIAS_LIMIT = 2000


@dataclass(frozen=True)
class Layer:
    """One layer of the table, on square images with "same" padding.

    Attributes:
        name: The name in the table; layers of one name have one shape and one baseline.
        kind: Convolution, depthwise convolution or fully connected.
        size: Input height and width; 1 for fully connected.
        in_channels: Input channels or features.
        out_channels: Output channels or features.
        kernel: Kernel height and width.
        stride: In both directions.
        sparsities: The sparsities to measure.
        block_sizes: The block shapes 1xN to measure; N above 1 only for a pruned layer.
        is_nested: Whether the sparsities are the levels of one stream, or separate streams.
        is_plain: Whether to measure the dense operator (nk_conv2d_s8, ...), or the packed stream.
    """

    name: str
    kind: LayerKind
    size: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    sparsities: tuple[float, ...] = SPARSITIES
    block_sizes: tuple[int, ...] = (1,)
    is_nested: bool = False
    is_plain: bool = False

    @property
    def label(self) -> str:
        """The name of the layer and of this variant."""
        if self.is_nested:
            return f"{self.name}, {len(self.sparsities)} levels"
        return f"{self.name}, dense operator" if self.is_plain else self.name

    @property
    def output_size(self) -> int:
        """Output height and width."""
        return -(-self.size // self.stride)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """[1, height, width, channels]."""
        return (1, self.size, self.size, self.in_channels)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """[1, height, width, channels]."""
        return (1, self.output_size, self.output_size, self.out_channels)

    @property
    def image_size(self) -> cycles.ImageSize:
        """The sizes for the cost model."""
        return cycles.ImageSize.of(self.kind, self.input_shape, self.output_shape)

    @property
    def pad(self) -> int:
        """Padding above and to the left, TensorFlow's "same"."""
        return max((self.output_size - 1) * self.stride + self.kernel - self.size, 0) // 2


_CONV, _DEPTHWISE, _FC = LayerKind.CONV, LayerKind.DEPTHWISE, LayerKind.FULLY_CONNECTED
_DENSE_ONLY = (0.0,)
_LEVELS = (0.9, 0.8, 0.7)

_STREAMS = (
    Layer("3x3 32->32 @16x16", _CONV, 16, 32, 32, 3, block_sizes=(1, 4)),
    Layer("3x3 16->16 @32x32", _CONV, 32, 16, 16, 3),
    Layer("3x3 64->64 @8x8", _CONV, 8, 64, 64, 3),
    Layer("3x3 32->64 stride 2, 16x16 -> 8x8", _CONV, 16, 32, 64, 3, stride=2),
    Layer("1x1 64->64 @8x8", _CONV, 8, 64, 64, 1),
    Layer("1x1 128->128 @6x6", _CONV, 6, 128, 128, 1),
    Layer("1x1 256->256 @3x3", _CONV, 3, 256, 256, 1),
    Layer("FC 256->64", _FC, 1, 256, 64, 1, block_sizes=(1, 2, 4)),
    Layer("depthwise 3x3 64ch @8x8", _DEPTHWISE, 8, 64, 64, 3, sparsities=_DENSE_ONLY),
    Layer("depthwise 3x3 64ch @16x16", _DEPTHWISE, 16, 64, 64, 3, sparsities=_DENSE_ONLY),
    Layer("first layer 3x3 3->16 @32x32", _CONV, 32, 3, 16, 3, sparsities=_DENSE_ONLY),
)
# Streams of three levels, to compare a level with a stream of its own.
_NESTED = tuple(
    dataclasses.replace(layer, sparsities=_LEVELS, block_sizes=(1,), is_nested=True)
    for layer in _STREAMS
    if layer.name in ("3x3 32->32 @16x16", "1x1 64->64 @8x8", "FC 256->64")
)
# The operators of layers that are not nested.
_PLAIN = tuple(
    dataclasses.replace(layer, sparsities=_DENSE_ONLY, block_sizes=(1,), is_plain=True)
    for layer in _STREAMS
)
LAYERS = _STREAMS + _NESTED + _PLAIN


@dataclass(frozen=True, eq=False)
class Case:
    """One layer with weights, an input and the right output.

    Attributes:
        layer: The layer.
        sparsity: Share of zero blocks.
        block_size: Blocks are 1 x block_size.
        dense: The operator that gives the same outputs with stored zeros.
        stream: The packed stream, or None to run `dense`.
        level: The level of the stream.
        x: int8, layer.input_shape.
        y: int8, layer.output_shape, from the NumPy reference.
    """

    layer: Layer
    sparsity: float
    block_size: int
    dense: operators.Conv2D | operators.FullyConnected
    stream: Stream | None
    level: int
    x: Int8Array
    y: Int8Array

    @property
    def title(self) -> str:
        """The name in error messages."""
        return f"{self.layer.label} at sparsity {self.sparsity:g}"

    @property
    def kind(self) -> LayerKind:
        """The kind of the layer."""
        return self.layer.kind

    @property
    def predicted_cycles(self) -> int | None:
        """The prediction of the cost model; None without a stream."""
        if self.stream is None:
            return None
        return cycles.predict_levels(self.stream, self.layer.image_size)[self.level]


def cases_of(layer: Layer) -> tuple[Case, ...]:
    """All cases of a layer, by block shape and then in the order of its sparsities."""
    if layer.is_nested:
        return tuple(case for size in layer.block_sizes for case in level_cases(layer, size))
    return tuple(
        make_case(layer, sparsity, size)
        for size in layer.block_sizes
        for sparsity in layer.sparsities
        if sparsity > 0 or size == 1
    )


def make_case(
    layer: Layer, sparsity: float, block_size: int, *, choose: Chooser | None = None
) -> Case:
    """A case with a stream of one level; the same numbers in every run.

    Args:
        layer: The layer.
        sparsity: Share of blocks that are pruned, 0..1.
        block_size: 1, 2 or 4.
        choose: Picks the encodings; by default by predicted cycles, as the exporter does.

    Returns:
        The case.
    """
    return level_cases(
        dataclasses.replace(layer, sparsities=(sparsity,)), block_size, choose=choose
    )[0]


def level_cases(
    layer: Layer, block_size: int, *, choose: Chooser | None = None
) -> tuple[Case, ...]:
    """One stream with all sparsities of a layer as its levels, a case for each.

    Weights are normally distributed and pruned by magnitude. Each shape has one seed, so that all
    its sparsities prune the same weights and see the same input.

    Args:
        layer: The layer; its sparsities decrease.
        block_size: 1, 2 or 4.
        choose: Picks the encodings; by default by predicted cycles, as the exporter does.

    Returns:
        The cases, in the order of the sparsities.
    """
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    params = _params(layer, block_size)
    kernel = rng.standard_normal(params.filter_shape)
    x = rng.integers(-128, 128, layer.input_shape, dtype=np.int8)
    bias = rng.integers(-_BIAS_LIMIT, _BIAS_LIMIT, layer.out_channels, dtype=np.int32)
    # masks works on Keras's order, [height, width, in, out].
    level_map = masks.level_map(
        kernel.transpose(1, 2, 3, 0), layer.sparsities, block_shape=(1, block_size)
    ).transpose(3, 0, 1, 2)
    weights = _quantized(kernel)
    levels = range(len(layer.sparsities))
    tables = [_tables(layer, np.where(level_map <= level, weights, 0)) for level in levels]
    stream = Stream.pack(
        NestedWeights(
            params,
            weights,
            np.ascontiguousarray(level_map),
            np.stack([bias for _ in levels]),
            np.stack([multiplier for multiplier, _ in tables]),
            np.stack([shift for _, shift in tables]),
        ),
        choose=choose or cycles.fastest(params, layer.image_size),
    )
    return tuple(_case(layer, block_size, stream, level, x) for level in levels)


def _case(layer: Layer, block_size: int, stream: Stream, level: int, x: Int8Array) -> Case:
    dense = operators.dense_op(stream, level)
    if not isinstance(dense, operators.Conv2D | operators.FullyConnected):
        raise TypeError(f"expected a convolution or a fully connected layer: got {dense}")
    return Case(
        layer=layer,
        sparsity=layer.sparsities[level],
        block_size=block_size,
        dense=dense,
        stream=None if layer.is_plain else stream,
        level=level,
        x=x,
        y=operators.run_op(dense, [x], layer.output_shape),
    )


def _params(layer: Layer, block_size: int) -> LayerParams:
    return LayerParams(
        kind=layer.kind,
        kernel_h=layer.kernel,
        kernel_w=layer.kernel,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        stride_h=layer.stride,
        stride_w=layer.stride,
        pad_top=layer.pad,
        pad_left=layer.pad,
        input_offset=_INPUT_OFFSET,
        output_offset=_OUTPUT_OFFSET,
        block_size=block_size,
    )


def _quantized(kernel: npt.NDArray[np.float64]) -> Int8Array:
    """Per-channel int8 weights; none is zero, so that the sparsity is exact."""
    largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
    rounded = np.round(kernel / largest * 127)
    return np.where(rounded == 0, np.sign(kernel), rounded).astype(np.int8)


def _tables(
    layer: Layer, weights: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Multipliers and shifts, [out_channels] each, that give outputs of a fair spread."""
    norm = np.sqrt(np.square(weights.astype(np.float64)).sum(axis=(1, 2, 3)))
    if layer.kind == LayerKind.FULLY_CONNECTED:
        norm[:] = norm.mean()  # CMSIS-NN's baseline has one multiplier for all features
    pairs = [quantize_multiplier(_OUTPUT_STD / (_INPUT_STD * max(value, 1.0))) for value in norm]
    multiplier, shift = zip(*pairs, strict=True)
    return np.array(multiplier, np.int32), np.array(shift, np.int8)
