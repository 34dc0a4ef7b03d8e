"""The content of a packed stream, as plain frozen dataclasses."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nested_keras.format import constants
from nested_keras.typing import Int8Array, Int32Array, UInt8Array


class FormatError(ValueError):
    """Bytes that are no valid stream, or values that the stream cannot hold."""


class LayerKind(enum.IntEnum):
    """The kind of a layer."""

    CONV = 0
    DEPTHWISE = 1
    FULLY_CONNECTED = 2


class Encoding(enum.IntEnum):
    """How a level block stores the weights that its level adds."""

    EMPTY = 0
    DENSE = 1
    DELTA8 = 2
    DELTA16 = 3
    CODED = 4


class Tables(enum.IntEnum):
    """How a level block stores its bias, multiplier and shift."""

    EXACT = 0
    SAME = 1
    PACKED = 2
    SIGNED = 3


def require_range(name: str, value: int, *, low: int, high: int) -> None:
    """Raises FormatError unless low <= value <= high."""
    if not low <= value <= high:
        raise FormatError(f"{name} must be in {low}..{high}: got {value}")


def require_equal(name: str, value: object, *, expected: object) -> None:
    """Raises FormatError unless value == expected."""
    if value != expected:
        raise FormatError(f"{name} must be {expected}: got {value}")


_U8 = (0, 255)
_POSITIVE_U8 = (1, 255)
_POSITIVE_U16 = (1, 65535)
_FIELD_RANGES = {
    "kernel_h": _POSITIVE_U16,
    "kernel_w": _POSITIVE_U16,
    "in_channels": _POSITIVE_U16,
    "out_channels": _POSITIVE_U16,
    "depth_multiplier": _POSITIVE_U16,
    "stride_h": _POSITIVE_U8,
    "stride_w": _POSITIVE_U8,
    "dilation_h": _POSITIVE_U8,
    "dilation_w": _POSITIVE_U8,
    "pad_top": _U8,
    "pad_left": _U8,
    "input_offset": (-127, 128),
    "output_offset": (-128, 127),
    "activation_min": (-128, 127),
    "activation_max": (-128, 127),
}


@dataclass(frozen=True)
class LayerParams:
    """Everything a kernel must know about a layer except its weights and tables.

    Attributes:
        kind: Convolution, depthwise convolution or fully connected.
        kernel_h: Filter rows; 1 for fully connected.
        kernel_w: Filter columns; 1 for fully connected.
        in_channels: Channels of the input.
        out_channels: Channels of the output; in_channels * depth_multiplier for depthwise.
        depth_multiplier: Output channels per input channel of a depthwise layer, else 1.
        stride_h: Vertical stride, 1..255.
        stride_w: Horizontal stride, 1..255.
        dilation_h: Vertical dilation, 1..255.
        dilation_w: Horizontal dilation, 1..255.
        pad_top: Rows of padding above the input, 0..255.
        pad_left: Columns of padding left of the input, 0..255.
        input_offset: Minus the input's zero point, -127..128.
        output_offset: The output's zero point, -128..127.
        activation_min: Lower clamp of the output, -128..127.
        activation_max: Upper clamp of the output, activation_min..127.
        block_size: Neighbouring input channels that one entry holds: 1, 2 or 4.

    Raises:
        FormatError: If a value is out of its range or contradicts another value.
    """

    kind: LayerKind
    kernel_h: int
    kernel_w: int
    in_channels: int
    out_channels: int
    depth_multiplier: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    input_offset: int = 0
    output_offset: int = 0
    activation_min: int = -128
    activation_max: int = 127
    block_size: int = 1

    def __post_init__(self) -> None:
        """Checks every range, then the relations between the fields."""
        for name, (low, high) in _FIELD_RANGES.items():
            require_range(name, getattr(self, name), low=low, high=high)
        if self.activation_min > self.activation_max:
            raise FormatError(
                "activation_min must not exceed activation_max: "
                f"got {self.activation_min} > {self.activation_max}"
            )
        if self.kind == LayerKind.DEPTHWISE:
            require_equal(
                "out_channels of a depthwise layer",
                self.out_channels,
                expected=self.in_channels * self.depth_multiplier,
            )
        else:
            require_equal("depth_multiplier", self.depth_multiplier, expected=1)
        if self.kind == LayerKind.FULLY_CONNECTED:
            for name in ("kernel_h", "kernel_w", "stride_h", "stride_w"):
                require_equal(f"{name} of a fully connected layer", getattr(self, name), expected=1)
            for name in ("dilation_h", "dilation_w"):
                require_equal(f"{name} of a fully connected layer", getattr(self, name), expected=1)
            for name in ("pad_top", "pad_left"):
                require_equal(f"{name} of a fully connected layer", getattr(self, name), expected=0)
        require_range(
            "weights per output channel",
            self.weights_per_channel,
            low=1,
            high=constants.STREAM_MAX_CHANNEL_WEIGHTS,
        )
        if self.block_size not in constants.BLOCK_SIZES:
            raise FormatError(f"block_size must be one of (1, 2, 4): got {self.block_size}")
        if self.filter_shape[-1] % self.block_size:
            raise FormatError(
                f"block_size must divide the filter's {self.filter_shape[-1]} input channels: "
                f"got {self.block_size}"
            )

    @property
    def filter_shape(self) -> tuple[int, int, int, int]:
        """Shape [out_channels, kernel_h, kernel_w, in_channels]; the last is 1 for depthwise."""
        filter_in = 1 if self.kind == LayerKind.DEPTHWISE else self.in_channels
        return (self.out_channels, self.kernel_h, self.kernel_w, filter_in)

    @property
    def weights_per_channel(self) -> int:
        """Weights of one output channel, K in docs/nested_format.md."""
        return int(np.prod(self.filter_shape[1:], dtype=np.int64))

    @property
    def blocks_per_channel(self) -> int:
        """Block positions of one output channel."""
        return self.weights_per_channel // self.block_size


@dataclass(frozen=True, eq=False)
class NestedWeights:
    """One layer's int8 weights with the levels that use them, O output channels and N levels.

    Attributes:
        params: The layer.
        weights: int8 [O, kernel_h, kernel_w, I], I = 1 for depthwise.
        level_map: uint8, same shape: the first level that uses the weight; N means no level does.
        bias: int32 [N, O], in units of the accumulator; `input_offset` is not folded in, because
            only the stream holds a folded bias.
        multiplier: int32 [N, O], Q31: 0 or an absolute value in 2^30..2^31-1; may be negative.
        shift: int8 [N, O], -31..30, positive to the left.

    Raises:
        FormatError: If a shape, type or value is not as above, or N is not in 1..16.
    """

    params: LayerParams
    weights: Int8Array
    level_map: UInt8Array
    bias: Int32Array
    multiplier: Int32Array
    shift: Int8Array

    def __post_init__(self) -> None:
        """Checks types, shapes and value ranges."""
        tables = (self.levels, self.params.out_channels)
        for name, dtype, shape in (
            ("weights", np.int8, self.params.filter_shape),
            ("level_map", np.uint8, self.params.filter_shape),
            ("bias", np.int32, tables),
            ("multiplier", np.int32, tables),
            ("shift", np.int8, tables),
        ):
            array = getattr(self, name)
            require_equal(f"dtype of {name}", array.dtype, expected=np.dtype(dtype))
            require_equal(f"shape of {name}", array.shape, expected=shape)
        require_range("levels", self.levels, low=1, high=constants.STREAM_MAX_LEVELS)
        require_range("level_map", int(self.level_map.max()), low=0, high=self.levels)
        check_tables(self.multiplier, self.shift)

    @property
    def levels(self) -> int:
        """Number of levels, N."""
        return len(self.bias)

    def without_dilation(self) -> NestedWeights:
        """Returns the layer with a larger filter of dilation 1, with gaps between the weights.

        Raises:
            FormatError: If the larger filter does not fit the format.
        """
        p = self.params
        params = dataclasses.replace(
            p,
            kernel_h=(p.kernel_h - 1) * p.dilation_h + 1,
            kernel_w=(p.kernel_w - 1) * p.dilation_w + 1,
            dilation_h=1,
            dilation_w=1,
        )
        weights = np.zeros(params.filter_shape, np.int8)
        level_map = np.full(params.filter_shape, self.levels, np.uint8)
        taps = np.s_[:, :: p.dilation_h, :: p.dilation_w]
        weights[taps], level_map[taps] = self.weights, self.level_map
        return dataclasses.replace(self, params=params, weights=weights, level_map=level_map)


def check_tables(multiplier: Int32Array, shift: Int8Array) -> None:
    """Raises FormatError unless all multipliers and shifts are in the ranges of NestedWeights."""
    magnitude = np.abs(multiplier.astype(np.int64))
    wrong = (magnitude != 0) & (
        (magnitude < constants.MIN_MULTIPLIER) | (magnitude > constants.MAX_MULTIPLIER)
    )
    if wrong.any():
        raise FormatError(
            f"multiplier must be 0 or +-({constants.MIN_MULTIPLIER}..{constants.MAX_MULTIPLIER}): "
            f"got {multiplier[wrong][0]}"
        )
    for value in (int(shift.min()), int(shift.max())):
        require_range("shift", value, low=constants.MIN_SHIFT, high=constants.MAX_SHIFT)


@dataclass(frozen=True)
class TableBits:
    """How the fields of a channel are packed.

    Attributes:
        sign_bits: 1 where multipliers have a sign.
        multiplier_bits: Bits of a multiplier below the leading one, 0..30.
        shift_bits: Bits of a shift, 0..6.
        bias_bits: Bits of a bias, 0..32.
        bias_fraction: Bits of a bias below half a step of the output, about; 0..31.
        shift_base: The smallest shift.
    """

    sign_bits: int
    multiplier_bits: int
    shift_bits: int
    bias_bits: int
    bias_fraction: int
    shift_base: int

    @property
    def form(self) -> Tables:
        """The form of the tables."""
        return Tables.SIGNED if self.sign_bits else Tables.PACKED

    @property
    def channel_bits(self) -> int:
        """Bits of a channel, at most 32."""
        return self.sign_bits + self.multiplier_bits + self.shift_bits + self.bias_bits

    def bytes(self, channels: int) -> int:
        """Bytes of the fields of all channels."""
        return (channels * self.channel_bits + 7) // 8


@dataclass(frozen=True)
class Code:
    """The parameters of a CODED block.

    Attributes:
        last_gap: The largest gap with a code, 0..254.
        first_magnitude: The smallest magnitude with a code, 0..128.
        last_magnitude: The largest magnitude with a code.
        words: 32-bit words of the codes, of gaps and of values.
    """

    last_gap: int
    first_magnitude: int
    last_magnitude: int
    words: int

    @property
    def magnitudes(self) -> int:
        """Magnitudes from the first to the last."""
        return self.last_magnitude - self.first_magnitude + 1

    @property
    def length_bytes(self) -> int:
        """Bytes of the array of code lengths, four bits for each gap and magnitude."""
        return (self.last_gap + 1 + self.magnitudes + 1) // 2


@dataclass(frozen=True)
class StoredLevel:
    """The tables of a level and the weights that it adds, as a stream stores them.

    In an estimate (`nested_keras.allocation.budget`) only `encoding` and `entries` are known.

    Attributes:
        encoding: How the weights are stored.
        entries: Stored entries of `block_size` weights, fillers included.
        level: The level, 0 = sparsest.
        count_bits: Bits of a channel's count; 0 without counts.
        nnz: Nonzero weights that the level adds.
        bytes: Length of the level's block.
        tables: How the tables are stored.
        table_bits: The fields of PACKED and SIGNED tables.
        code: The parameters of a CODED block.
        has_packed_tables: Whether the tables of the level are packed, here or, where the tables are
            the SAME, in a level before.
    """

    encoding: Encoding
    entries: int
    level: int = 0
    count_bits: int = 0
    nnz: int = 0
    bytes: int = 0
    tables: Tables = Tables.EXACT
    table_bits: TableBits | None = None
    code: Code | None = None
    has_packed_tables: bool = False


# Picks one of the ways to store a level from a list that is never empty.
Chooser: TypeAlias = Callable[[Sequence[StoredLevel]], StoredLevel]
