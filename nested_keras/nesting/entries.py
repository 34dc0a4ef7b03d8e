"""What of each Keras layer's config counts: one entry per layer that a nested model may have.

The other half of an entry, how the layer is traced and run in float, stands in
`nested_keras.export.plain_layers`. See docs/adding_a_layer.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from nested_keras.nesting import layers, shape_layers
from nested_keras.typing import KerasLayer

L = keras.layers


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of the config of a layer class.

    Attributes:
        read: Keys that nesting and export follow.
        training: Keys without effect on what the layer computes at inference.
        only: Keys that must have a certain value.
        not_exported: Keys that must have a certain value for export, and may have any for training.
        is_activation: Whether the layer may stand as the activation of another.
        rule: Says of a layer what it must be and is not, for what no single key can say.
        rank_rule: Says the same, given the rank of the layer's input, batch included.
    """

    read: frozenset[str] = frozenset()
    training: frozenset[str] = frozenset()
    only: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    not_exported: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_activation: bool = False
    rule: Callable[[Any], str | None] = lambda layer: None
    rank_rule: Callable[[Any, int], str | None] = lambda layer, rank: None

    @property
    def keys(self) -> frozenset[str]:
        """All keys that are known."""
        return self.read | self.training | self.only.keys() | self.not_exported.keys() | _COMMON


# `dtype` is read by `supported.refusal`.
_COMMON = frozenset({"name", "trainable", "dtype", "activity_regularizer"})
_FORMAT = {"data_format": "channels_last"}
_WINDOW = frozenset(
    {"kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias"}
)
_NESTED = frozenset({"sparsities", "block_shape"})


def _variables(*names: str) -> frozenset[str]:
    """The keys of variables that matter when they are made and when they are trained."""
    kinds = ("initializer", "regularizer", "constraint")
    return frozenset(f"{name}_{kind}" for name in names for kind in kinds)


def _last_axis(layer: KerasLayer, rank: int) -> str | None:
    """The axis is the last one."""
    return None if layer.axis in (-1, rank - 1) else f"must have axis -1: got {layer.axis}"


def _not_the_batch(layer: KerasLayer, rank: int) -> str | None:
    """The axis is not that of the batch."""
    if layer.axis % rank:
        return None
    return f"must have another axis than that of the batch: got {layer.axis}"


def _holds_dense(layer: KerasLayer) -> str | None:
    if isinstance(layer.layer, L.Dense):
        return None
    return (
        "must hold a Dense (a layer that treats all steps alike, such as Activation, needs no "
        "TimeDistributed; a convolution along the steps is Conv1D): got "
        f"{type(layer.layer).__name__}"
    )


def _relu_limits(layer: KerasLayer) -> str | None:
    """`max_value` is None or 6, without a `negative_slope` beside 6."""
    slope_and_limit = layer.negative_slope and layer.max_value is not None
    if layer.max_value in (None, 6) and not slope_and_limit:
        return None
    return (
        "must have max_value None or 6, and no negative_slope beside a max_value: got "
        f"max_value={layer.max_value}, negative_slope={layer.negative_slope}"
    )


def _few_axes(layer: KerasLayer, rank: int) -> str | None:
    if rank <= 6:
        return None
    return f"must have inputs of at most 5 axes beside the batch: got {rank - 1}"


def _interpolation(layer: KerasLayer) -> str | None:
    if layer.interpolation in ("nearest", "bilinear"):
        return None
    return f"must have interpolation 'nearest' or 'bilinear': got {layer.interpolation!r}"


_CONV = Entry(
    _WINDOW | {"filters", "groups"}, _variables("kernel", "bias"), {**_FORMAT, "lora_rank": None}
)
_CONV_TRANSPOSE = Entry(
    _WINDOW | {"filters", "output_padding"}, _variables("kernel", "bias"), _FORMAT
)
_DEPTHWISE = Entry(
    _WINDOW | {"depth_multiplier"}, _variables("depthwise", "bias"), {**_FORMAT, "groups": 1}
)
_SEPARABLE = Entry(
    _WINDOW | {"filters", "depth_multiplier"},
    _variables("depthwise", "pointwise", "bias"),
    {**_FORMAT, "groups": 1},
)
_DENSE = Entry(
    frozenset({"units", "activation", "use_bias"}),
    _variables("kernel", "bias"),
    {"lora_rank": None, "quantization_config": None},
)
_NORM = Entry(
    frozenset({"axis", "epsilon", "center", "scale"}),
    _variables("beta", "gamma", "moving_mean", "moving_variance")
    | {"momentum", "synchronized", "renorm_clipping", "renorm_momentum"},
    {"renorm": False},
    rank_rule=_last_axis,
)
_SPATIAL_DROPOUT = Entry(training=frozenset({"rate", "seed", "data_format", "noise_shape"}))
_POOL = Entry(frozenset({"pool_size", "strides", "padding"}), not_exported=_FORMAT)
_PADDING = Entry(frozenset({"padding"}), not_exported=_FORMAT)
_CROPPING = Entry(frozenset({"cropping"}), not_exported=_FORMAT)
_GLOBAL = Entry(frozenset({"keepdims"}), not_exported=_FORMAT)


def _with(entry: Entry, *keys: str) -> Entry:
    return dataclasses.replace(entry, read=entry.read | set(keys))


ENTRIES: dict[Any, Entry] = {
    L.Conv1D: _CONV,
    L.Conv2D: _CONV,
    L.Conv2DTranspose: _CONV_TRANSPOSE,
    L.DepthwiseConv1D: _DEPTHWISE,
    L.DepthwiseConv2D: _DEPTHWISE,
    L.SeparableConv1D: _SEPARABLE,
    L.SeparableConv2D: _SEPARABLE,
    L.Dense: _DENSE,
    L.TimeDistributed: Entry(frozenset({"layer"}), rule=_holds_dense),
    L.BatchNormalization: _NORM,
    layers.NestedConv1D: _with(_CONV, *_NESTED),
    layers.NestedConv2D: _with(_CONV, *_NESTED),
    layers.NestedConv2DTranspose: _with(_CONV_TRANSPOSE, *_NESTED),
    layers.NestedDepthwiseConv1D: _with(_DEPTHWISE, *_NESTED),
    layers.NestedDepthwiseConv2D: _with(_DEPTHWISE, *_NESTED),
    layers.NestedDense: _with(_DENSE, *_NESTED),
    layers.NestedBatchNormalization: _with(_NORM, "levels", "shared_affine"),
    L.InputLayer: Entry(
        frozenset({"batch_shape", "optional"}), only={"sparse": False, "ragged": False}
    ),
    L.ActivityRegularization: Entry(training=frozenset({"l1", "l2"})),
    L.Dropout: Entry(training=frozenset({"rate", "seed", "noise_shape"})),
    L.GaussianDropout: Entry(training=frozenset({"rate", "seed"})),
    L.GaussianNoise: Entry(training=frozenset({"stddev", "seed"})),
    L.Identity: Entry(),
    L.SpatialDropout1D: _SPATIAL_DROPOUT,
    L.SpatialDropout2D: _SPATIAL_DROPOUT,
    L.Activation: Entry(frozenset({"activation"}), is_activation=True),
    L.ReLU: Entry(
        frozenset({"max_value", "negative_slope"}),
        only={"threshold": 0},
        is_activation=True,
        rule=_relu_limits,
    ),
    L.LeakyReLU: Entry(frozenset({"negative_slope"}), is_activation=True),
    L.Softmax: Entry(frozenset({"axis"}), is_activation=True, rank_rule=_last_axis),
    L.Add: Entry(),
    L.Multiply: Entry(),
    L.Maximum: Entry(),
    L.Minimum: Entry(),
    L.Concatenate: Entry(frozenset({"axis"}), rank_rule=_not_the_batch),
    L.AveragePooling1D: _POOL,
    L.AveragePooling2D: _POOL,
    L.MaxPooling1D: _POOL,
    L.MaxPooling2D: _POOL,
    L.GlobalAveragePooling1D: _GLOBAL,
    L.GlobalAveragePooling2D: _GLOBAL,
    L.GlobalMaxPooling1D: _GLOBAL,
    L.GlobalMaxPooling2D: _GLOBAL,
    L.ZeroPadding1D: _PADDING,
    L.ZeroPadding2D: _PADDING,
    L.Cropping1D: _CROPPING,
    L.Cropping2D: _CROPPING,
    L.UpSampling1D: Entry(frozenset({"size"})),
    L.UpSampling2D: Entry(
        frozenset({"size", "interpolation"}), not_exported=_FORMAT, rule=_interpolation
    ),
    L.Permute: Entry(frozenset({"dims"}), rank_rule=_few_axes),
    L.Flatten: Entry(not_exported=_FORMAT),
    L.Reshape: Entry(frozenset({"target_shape"})),
    shape_layers.Slice: Entry(frozenset({"bounds"})),
    shape_layers.PadAxes: Entry(frozenset({"paddings"})),
}
