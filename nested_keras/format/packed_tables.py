"""Bias, multiplier and shift of a level in the bits that they need.

docs/nested_format.md, "Packed tables", is normative. Packing keeps every number; `round_tables`
makes numbers that pack well.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from nested_keras.format import constants
from nested_keras.format.types import FormatError, NestedWeights, TableBits
from nested_keras.typing import Int8Array, Int32Array, UInt8Array

_LEADING = 30  # the bit of a multiplier that is always set


def bias_steps(shift: Int8Array, bias_fraction: int) -> npt.NDArray[np.int64]:
    """Returns the logarithm of the unit in which the bias of each channel is stored."""
    return np.maximum(0, -shift.astype(np.int64) - bias_fraction)


def fit_tables(bias: Int32Array, multiplier: Int32Array, shift: Int8Array) -> TableBits | None:
    """Finds the narrowest fields that hold the tables of a level, [O] each.

    Returns:
        The fields; None where a channel needs more than 32 bits, or a multiplier is zero.
    """
    magnitude = np.abs(multiplier.astype(np.int64))
    if not magnitude.all():
        return None
    wide, right = bias.astype(np.int64), -shift.astype(np.int64)
    needed = np.where(wide == 0, 0, right - _trailing_zeros(wide))
    bias_fraction = max(0, int(needed.max()))
    stored = wide >> bias_steps(shift, bias_fraction)
    # Bits of the two's complement: one for the sign of any number but zero.
    widest = int(np.where(stored < 0, ~stored, stored).max())
    bias_bits = widest.bit_length() + 1 if stored.any() else 0
    bits = TableBits(
        sign_bits=int((multiplier < 0).any()),
        multiplier_bits=_LEADING - min(_LEADING, int(_trailing_zeros(magnitude).min())),
        shift_bits=int(shift.max() - np.int64(shift.min())).bit_length(),
        bias_bits=bias_bits,
        bias_fraction=bias_fraction,
        shift_base=int(shift.min()),
    )
    return bits if bits.channel_bits <= constants.STREAM_MAX_TABLE_BITS else None


def _trailing_zeros(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Counts the zero bits below the lowest one; 62 for zero."""
    lowest = values & -values
    return np.where(lowest == 0, 62, np.frexp(lowest.astype(np.float64))[1] - 1).astype(np.int64)


def pack_tables(
    bits: TableBits, bias: Int32Array, multiplier: Int32Array, shift: Int8Array
) -> UInt8Array:
    """Packs tables for which `fit_tables` found the fields; the lowest bits come first."""
    magnitude = np.abs(multiplier.astype(np.int64)) - (1 << _LEADING)
    fields = (multiplier < 0).astype(np.int64) if bits.sign_bits else np.zeros(bias.size, np.int64)
    place = bits.sign_bits
    for field, width in (
        (magnitude >> (_LEADING - bits.multiplier_bits), bits.multiplier_bits),
        (shift.astype(np.int64) - bits.shift_base, bits.shift_bits),
        (bias.astype(np.int64) >> bias_steps(shift, bits.bias_fraction), bits.bias_bits),
    ):
        fields |= (field & ((1 << width) - 1)) << place
        place += width
    used = fields[:, np.newaxis] >> np.arange(bits.channel_bits) & 1
    return np.packbits(used.astype(np.uint8), bitorder="little")


def unpack_tables(
    packed: UInt8Array, bits: TableBits, channels: int
) -> tuple[Int32Array, Int32Array, Int8Array, UInt8Array]:
    """Inverts `pack_tables`: returns bias, multiplier, shift [O] each, and the bits left.

    Raises:
        FormatError: If a bias does not fit into 32 bits.
    """
    used, left = np.split(np.unpackbits(packed, bitorder="little"), [channels * bits.channel_bits])
    fields = used.reshape(channels, bits.channel_bits) @ (
        np.int64(1) << np.arange(bits.channel_bits, dtype=np.int64)
    )
    widths = (bits.sign_bits, bits.multiplier_bits, bits.shift_bits, bits.bias_bits)
    parts = []
    for width in widths:
        parts.append(fields & ((1 << width) - 1))
        fields = fields >> width
    negative, mantissa, step, low = parts
    multiplier = (1 << _LEADING) + (mantissa << (_LEADING - bits.multiplier_bits))
    shift = bits.shift_base + step
    if shift.max() > constants.MAX_SHIFT:
        raise FormatError(f"shift must be at most {constants.MAX_SHIFT}: got {shift.max()}")
    signed = low - ((low >> max(bits.bias_bits - 1, 0) & 1) << bits.bias_bits)
    bias = signed << bias_steps(shift.astype(np.int8), bits.bias_fraction)
    limits = np.iinfo(np.int32)
    if bias.min() < limits.min or bias.max() > limits.max:
        raise FormatError(f"bias must fit into 32 bits: got {bias[np.argmax(np.abs(bias))]}")
    return (
        bias.astype(np.int32),
        np.where(negative == 1, -multiplier, multiplier).astype(np.int32),
        shift.astype(np.int8),
        left,
    )


def round_tables(
    nested: NestedWeights, *, multiplier_bits: int, bias_fraction: int
) -> NestedWeights:
    """Rounds the tables of a layer to numbers that pack well.

    A multiplier changes by at most 2^-(multiplier_bits + 1) of itself. A bias moves the output by
    at most 2^-(bias_fraction + 1) steps before the multiplier rounds, because a step is at least
    2^-shift of the accumulator's units. A multiplier of 0 becomes the smallest one.

    Args:
        nested: The layer.
        multiplier_bits: Bits of a multiplier that stay below its leading one.
        bias_fraction: Bits of a bias that stay below a step of the output.

    Returns:
        The layer with other tables.
    """
    magnitude = np.abs(nested.multiplier.astype(np.int64))
    unit = np.int64(1) << (_LEADING - multiplier_bits)
    # The largest mantissa stays, because the next multiplier has another shift.
    rounded = np.minimum((magnitude + unit // 2) // unit * unit, 2 * (1 << _LEADING) - unit)
    multiplier = np.where(nested.multiplier < 0, -rounded, rounded)
    none = magnitude == 0
    shift = np.where(none, constants.MIN_SHIFT, nested.shift).astype(np.int8)
    steps = bias_steps(shift, bias_fraction)
    bias = nested.bias.astype(np.int64)
    half = (np.int64(1) << steps) >> 1
    moved = (bias + half) >> steps << steps
    limits = np.iinfo(np.int32)
    fits = (moved >= limits.min) & (moved <= limits.max)
    return dataclasses.replace(
        nested,
        bias=np.where(none, 0, np.where(fits, moved, bias >> steps << steps)).astype(np.int32),
        multiplier=np.where(none, 1 << _LEADING, multiplier).astype(np.int32),
        shift=shift,
    )
