"""Layers to pack, and tools to take streams apart without the code under test."""

import dataclasses
import struct
import zlib

import numpy as np
from hypothesis import strategies as st

from nested_keras.format import (
    Encoding,
    LayerKind,
    LayerParams,
    NestedWeights,
    Tables,
    encode,
    most_compact,
    round_tables,
)

PROFILES = ("mixed", "sparse", "zero", "pruned", "full", "late")


def random_layer(params, *, levels, profile="mixed", seed=0):
    """A layer with int8 weights, multipliers and shifts over their whole ranges.

    Biases have up to 30 bits and a sign, so that every folded bias fits into 32 bits.

    Profiles: mixed (some of each level, some pruned, some zero), sparse (one weight in 400), zero
    (all weights zero), pruned (nonzero weights, no level uses them), full (level 0 uses all), late
    (the last level uses all).
    """
    rng = np.random.default_rng(seed)
    shape, tables = params.filter_shape, (levels, params.out_channels)
    weights = rng.integers(-128, 128, shape).astype(np.int8)
    level_map = rng.integers(0, levels + 1, shape).astype(np.uint8)
    if profile == "sparse":
        level_map[rng.random(shape) > 1 / 400] = levels
    elif profile == "zero":
        weights[:] = 0
    elif profile == "pruned":
        level_map[:] = levels
    elif profile in ("full", "late"):
        weights[weights == 0] = 1
        level_map[:] = 0 if profile == "full" else levels - 1
    magnitude = rng.integers(1 << 30, 1 << 31, tables)
    return NestedWeights(
        params=params,
        weights=weights,
        level_map=level_map,
        bias=rng.integers(-(1 << 30), 1 << 30, tables).astype(np.int32),
        multiplier=(magnitude * rng.integers(-1, 2, tables)).astype(np.int32),
        shift=rng.integers(-31, 31, tables).astype(np.int8),
    )


def coded(options):
    """A chooser of CODED weights and packed tables, where there are any."""
    options = [o for o in options if o.encoding is Encoding.CODED] or options
    return most_compact([o for o in options if o.tables >= Tables.PACKED] or options)


def encode_packed(nested):
    """The stream of a layer with rounded tables; weights are CODED and tables packed."""
    return encode(round_tables(nested, multiplier_bits=11, bias_fraction=4), choose=coded)


@st.composite
def packed_layers(draw, max_levels=5):
    """Layers whose tables pack: as of an export, with biases of some 20 bits."""
    nested = draw(layers(max_levels=max_levels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tables = nested.bias.shape
    multiplier = np.abs(nested.multiplier.astype(np.int64))
    if draw(st.booleans()):
        multiplier *= rng.choice([-1, 1], tables)
    nested = dataclasses.replace(
        nested,
        bias=nested.bias >> draw(st.integers(8, 30)),
        multiplier=np.where(multiplier == 0, 1 << 30, multiplier).astype(np.int32),
        shift=rng.integers(-8, -8 + draw(st.integers(1, 8)), tables).astype(np.int8),
    )
    if draw(st.booleans()):  # each level as the level before
        nested = dataclasses.replace(
            nested,
            **{
                name: getattr(nested, name)[np.zeros(nested.levels, int)]
                for name in ("bias", "multiplier", "shift")
            },
        )
    return round_tables(
        nested,
        multiplier_bits=draw(st.integers(0, 16)),
        bias_fraction=draw(st.integers(0, 8)),
    )


@st.composite
def layer_params(draw):
    """Small layers of every kind; at times a long row, for gaps beyond one byte."""
    kind = draw(st.sampled_from(LayerKind))
    block_size = 1 if kind == LayerKind.DEPTHWISE else draw(st.sampled_from((1, 2, 4)))
    small = st.integers(1, 3)
    inputs = draw(st.one_of(small, st.integers(300, 700))) * block_size
    activation_min = draw(st.integers(-128, 127))
    fields = {
        "in_channels": inputs,
        "out_channels": draw(st.integers(1, 5)),
        "kernel_h": 1,
        "kernel_w": 1,
        "block_size": block_size,
        "input_offset": draw(st.integers(-127, 128)),
        "output_offset": draw(st.integers(-128, 127)),
        "activation_min": activation_min,
        "activation_max": draw(st.integers(activation_min, 127)),
    }
    if kind != LayerKind.FULLY_CONNECTED:
        fields |= {name: draw(small) for name in ("kernel_h", "kernel_w")}
        for name in ("stride_h", "stride_w", "dilation_h", "dilation_w"):
            fields[name] = draw(st.integers(1, 255))
        fields |= {name: draw(st.integers(0, 255)) for name in ("pad_top", "pad_left")}
    if kind == LayerKind.DEPTHWISE:
        fields["in_channels"] = draw(small)
        fields["depth_multiplier"] = draw(small)
        fields["out_channels"] = fields["in_channels"] * fields["depth_multiplier"]
    return LayerParams(kind=kind, **fields)


@st.composite
def layers(draw, max_levels=16):
    """Any layer with 1..max_levels levels."""
    return random_layer(
        draw(layer_params()),
        levels=draw(st.integers(1, max_levels)),
        profile=draw(st.sampled_from(PROFILES)),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def block_ends(stream):
    """Offsets where level blocks end, found through their block_bytes fields."""
    ends, start = [], 64
    while start < len(stream):
        start += struct.unpack_from("<I", stream, start)[0]
        ends.append(start)
    return ends


def reseal(stream):
    """Recomputes all checksums, so that a test reaches the checks behind them."""
    sealed = bytearray(stream)
    struct.pack_into("<I", sealed, 60, zlib.crc32(sealed[:60]))
    start = 64
    while start + 32 <= len(sealed):
        size = struct.unpack_from("<I", sealed, start)[0]
        covered = sealed[start : start + 28] + sealed[start + 32 : start + size]
        struct.pack_into("<I", sealed, start + 28, zlib.crc32(covered))
        start += max(size, 32)
    return bytes(sealed)


def patch(stream, offset, layout, *values):
    """Overwrites fields at an offset, struct layout as in "<H", and recomputes all checksums."""
    patched = bytearray(stream)
    struct.pack_into(layout, patched, offset, *values)
    return reseal(patched)
