"""Arguments to try of each layer that a nested model may have.

test_supported.py compares each variant with Keras in float; tests/zoo.py puts the variants of all
layers without weights into one model, which is exported and runs in every runtime.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from nested_keras.nesting import entries, layers, shape_layers, supported

L = keras.layers
NESTED = {"sparsities": (0.5,)}
# The least arguments of each class.
LEAST: dict[type, dict[str, Any]] = {
    L.Conv1D: {"filters": 3, "kernel_size": 2},
    L.Conv2D: {"filters": 3, "kernel_size": 2},
    L.Conv1DTranspose: {"filters": 3, "kernel_size": 2},
    L.Conv2DTranspose: {"filters": 3, "kernel_size": 2},
    L.DepthwiseConv1D: {"kernel_size": 2},
    L.DepthwiseConv2D: {"kernel_size": 2},
    L.SeparableConv1D: {"filters": 3, "kernel_size": 2},
    L.SeparableConv2D: {"filters": 3, "kernel_size": 2},
    L.Dense: {"units": 3},
    L.TimeDistributed: {"layer": L.Dense(3)},
    layers.NestedConv1D: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedConv2D: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedConv1DTranspose: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedConv2DTranspose: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedDepthwiseConv1D: {"kernel_size": 2, **NESTED},
    layers.NestedDepthwiseConv2D: {"kernel_size": 2, **NESTED},
    layers.NestedDense: {"units": 3, **NESTED},
    layers.NestedBatchNormalization: {"levels": 1},
    L.InputLayer: {"shape": (3,)},
    L.Rescaling: {"scale": 0.5},
    **{
        kind: {
            name: 0.2
            for name, parameter in inspect.signature(kind).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        }
        for kind in entries.augmentations()
    },
    L.RandomPosterization: {"factor": 4},
    L.RandomCrop: {"height": 6, "width": 6},
    L.Pipeline: {"layers": [L.RandomFlip(), L.RandomRotation(0.2), L.GaussianNoise(0.1)]},
    L.AlphaDropout: {"rate": 0.5},
    L.Dropout: {"rate": 0.5},
    L.GaussianDropout: {"rate": 0.5},
    L.GaussianNoise: {"stddev": 0.5},
    L.SpatialDropout1D: {"rate": 0.5},
    L.SpatialDropout2D: {"rate": 0.5},
    L.Activation: {"activation": "relu"},
    L.AveragePooling1D: {"pool_size": 2},
    L.AveragePooling2D: {"pool_size": 2},
    L.MaxPooling1D: {"pool_size": 2},
    L.MaxPooling2D: {"pool_size": 2},
    L.Permute: {"dims": (2, 1, 3)},
    L.Reshape: {"target_shape": (4, 9, 3)},
    shape_layers.Slice: {"bounds": [[1, None, 2]]},
    shape_layers.PadAxes: {"paddings": [[1, 2]]},
}
# For each key that is read, other values than the default.
WINDOW: list[dict[str, Any]] = [
    {"strides": 2, "padding": "same"},
    {"dilation_rate": 2},
    {"activation": "silu"},
    {"activation": "leaky_relu"},
    {"activation": tf.nn.relu6},
    {"activation": keras.ops.tanh},
    {"activation": L.LeakyReLU(0.3)},
    {"activation": L.ReLU(6.0)},
    {"activation": lambda: L.PReLU(alpha_initializer="random_normal")},
    {"use_bias": False},
]
CONV = [{"filters": 5, "kernel_size": (3, 2)}, *WINDOW]
CONV_1D: list[dict[str, Any]] = [
    {"filters": 6, "kernel_size": 3, "groups": 3},
    {"padding": "causal", "strides": 2},
    {"padding": "causal", "dilation_rate": 2, "kernel_size": 3},
    *WINDOW,
]
NORM = [{"axis": -1, "epsilon": 0.1}, {"center": False}, {"scale": False}]
POOL = [{"pool_size": 3, "strides": 1, "padding": "same"}]
VARIANTS: dict[type, list[dict[str, Any]]] = {
    L.Conv1D: CONV_1D,
    L.Conv2D: [*CONV, {"groups": 3, "activation": "relu"}],
    L.Conv1DTranspose: [
        {"filters": 5, "kernel_size": 3},
        *WINDOW,
        {"kernel_size": 4, "strides": 3, "padding": "same", "output_padding": 2},
        {"kernel_size": 5, "strides": 3, "activation": "softmax"},
    ],
    L.Conv2DTranspose: [
        *CONV,
        {"kernel_size": 3, "strides": (2, 3), "padding": "same", "output_padding": (1, 2)},
        {"kernel_size": 5, "strides": (1, 3), "activation": "softmax"},
    ],
    L.Cropping1D: [{"cropping": (0, 3)}],
    L.Cropping2D: [{"cropping": ((1, 0), (2, 3))}],
    L.UpSampling1D: [{"size": 3}, {"size": 1}],
    L.UpSampling2D: [
        {"size": (3, 1)},
        {"interpolation": "bilinear"},
        {"size": (1, 3), "interpolation": "bilinear"},
        {"size": 1},
    ],
    L.Permute: [{"dims": (3, 1, 2)}, {"dims": (1, 3, 2)}, {"dims": (1, 2, 3)}],
    L.DepthwiseConv1D: [{"kernel_size": 3, "depth_multiplier": 2}, *WINDOW],
    L.DepthwiseConv2D: [{"kernel_size": (3, 2), "depth_multiplier": 2}, *WINDOW],
    L.SeparableConv1D: [{"filters": 5, "kernel_size": 3}, {"depth_multiplier": 2}, *WINDOW],
    L.SeparableConv2D: [*CONV, {"depth_multiplier": 2}],
    L.Dense: [{"units": 5}, {"activation": "sigmoid"}, {"use_bias": False}],
    L.TimeDistributed: [{"layer": L.Dense(5, activation="sigmoid", use_bias=False)}],
    L.BatchNormalization: NORM,
    L.Activation: [{"activation": function} for function in supported.ACTIVATIONS],
    L.Rescaling: [
        {"scale": 1 / 127.5, "offset": -1.0},
        {"scale": [0.1, 2.0, 3.0], "offset": [1.0]},
    ],
    L.Normalization: [
        {"axis": None},
        {"axis": 1},
        {"axis": (1, -1)},
        {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 0.5, 4.0]},
        {"mean": 0.3, "variance": 2.0, "invert": True},
    ],
    L.RandomCrop: [{"height": 6, "width": 6}],
    L.PReLU: [{"shared_axes": [1]}, {"shared_axes": [2]}],
    L.ELU: [{"alpha": 0.5}],
    L.ReLU: [
        {"max_value": 6.0},
        {"max_value": 1.0},
        {"negative_slope": 0.3},
        {"max_value": 0.5, "negative_slope": 0.1, "threshold": 0.2},
    ],
    L.LeakyReLU: [{"negative_slope": 0.1}],
    L.Softmax: [{"axis": -1}],
    L.Concatenate: [{"axis": -1}, {"axis": 1}, {"axis": -2}],
    L.AveragePooling1D: POOL,
    L.AveragePooling2D: POOL,
    L.MaxPooling1D: POOL,
    L.MaxPooling2D: POOL,
    L.GlobalAveragePooling1D: [{"keepdims": True}],
    L.GlobalAveragePooling2D: [{"keepdims": True}],
    L.GlobalMaxPooling1D: [{"keepdims": True}],
    L.GlobalMaxPooling2D: [{"keepdims": True}],
    L.ZeroPadding1D: [{"padding": (0, 3)}],
    L.ZeroPadding2D: [{"padding": ((0, 1), (2, 3))}],
    L.Reshape: [{"target_shape": (-1,)}],
}
# The layers that take several tensors.
MERGES = (L.Add, L.Subtract, L.Average, L.Multiply, L.Maximum, L.Minimum, L.Concatenate)


def of(kind: type) -> list[dict[str, Any]]:
    """Returns the arguments of every variant of a layer, first those that it cannot do without."""
    least = LEAST.get(kind, {})
    return [_made({**least, **variant}) for variant in ({}, *VARIANTS.get(kind, []))]


def _made(variant: dict[str, Any]) -> dict[str, Any]:
    """Makes a layer that is an activation and has weights: it serves one layer alone."""
    if isinstance(wrapped := variant.get("layer"), L.Layer):
        # Built by an earlier model, it would draw no weights in this one.
        variant = {**variant, "layer": type(wrapped).from_config(wrapped.get_config())}
    activation = variant.get("activation")
    if getattr(activation, "__name__", "") == "<lambda>":
        return {**variant, "activation": activation()}
    return variant


def takes_series(kind: type) -> bool:
    """Returns whether a layer takes series [n, steps, channels] and no images."""
    return "1D" in kind.__name__ or kind is L.TimeDistributed
