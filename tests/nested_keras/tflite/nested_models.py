"""Small nested .tflite models with random weights, level maps and per-level tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from nested_keras import format as nested_format
from nested_keras.format import LayerKind, LayerParams, NestedWeights
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def random_layer(params: LayerParams, *, levels: int, seed: int) -> NestedWeights:
    """Weights, level map and tables for `params`; some multipliers are negative."""
    rng = np.random.default_rng(seed)
    channels = 1 if params.kind == LayerKind.DEPTHWISE else params.in_channels
    shape = (params.out_channels, params.kernel_h, params.kernel_w, channels)
    level_map = rng.integers(0, levels + 1, shape).astype(np.uint8)
    weights = rng.integers(1, 128, shape) * rng.choice([-1, 1], shape)
    weights[level_map == levels] = 0
    tables = (levels, params.out_channels)
    fan_in = params.kernel_h * params.kernel_w * channels
    shift = -int(np.log2(np.sqrt(fan_in) * 64)) + rng.integers(-1, 2, tables)
    multiplier = rng.integers(2**30, 2**31, tables) * rng.choice([-1, 1, 1], tables)
    return NestedWeights(
        params=params,
        weights=weights.astype(np.int8),
        level_map=level_map,
        bias=rng.integers(-3000, 3000, tables).astype(np.int32),
        multiplier=multiplier.astype(np.int32),
        shift=shift.astype(np.int8),
    )


def conv_params(kind: LayerKind = LayerKind.CONV, **changes: Any) -> LayerParams:
    """3x3 SAME layer of 4 channels; zero points 3 (input) and -7 (output)."""
    fields: dict[str, Any] = {
        "kind": kind,
        "kernel_h": 3,
        "kernel_w": 3,
        "in_channels": 4,
        "out_channels": 4,
        "pad_top": 1,
        "pad_left": 1,
        "input_offset": -3,
        "output_offset": -7,
    }
    return LayerParams(**{**fields, **changes})


def dense_params(**changes: Any) -> LayerParams:
    """Fully connected layer of 60 -> 5 features."""
    fields = {"kernel_h": 1, "kernel_w": 1, "pad_top": 0, "pad_left": 0}
    return conv_params(
        LayerKind.FULLY_CONNECTED, **{**fields, "in_channels": 60, "out_channels": 5, **changes}
    )


def nested_model(
    *layers: NestedWeights,
    shapes: tuple[tuple[int, ...], ...],
    level_input: bool = True,
    external: bool = False,
    code: str = "custom:NESTED_SPARSE_CONV",
) -> bytes:
    """A chain of nested operators; `shapes` are those of the activations, input first."""
    builder = ModelBuilder()
    x = builder.tensor(
        shapes[0], scale=0.05, zero_point=-layers[0].params.input_offset, name="image"
    )
    level = builder.tensor((1,), dtype="int32", name="level") if level_input else -1
    source = x
    for layer, shape in zip(layers, shapes[1:], strict=True):
        stream = np.frombuffer(nested_format.encode(layer), np.uint8)
        y = builder.tensor(shape, scale=0.1, zero_point=layer.params.output_offset)
        builder.op(code, [source, level, builder.constant(stream)], [y])
        source = y
    inputs = [x, level] if level_input else [x]
    return builder.build(inputs, [source], external=external)
