"""The config keys that count: one entry per Keras layer that a nested model may have.

`nested_keras.export.plain_layers` has the other half of an entry: how the layer is traced and run
in float. See docs/adding_a_layer.md.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from nested_keras.nesting import layers, shape_layers
from nested_keras.tflite.operators import resizing
from nested_keras.typing import KerasLayer

L = keras.layers


@dataclasses.dataclass(frozen=True)
class Entry:
    """The keys that a layer class may have in its config, and the rules that hold for the values.

    Attributes:
        read: Keys that nesting and export follow.
        training: Keys without effect on the layer's outputs at inference.
        only: Keys that must have a certain value.
        not_exported: Keys that must have a certain value for export, and may have any for training.
        is_activation: Whether the layer may stand as the activation of another.
        augments: Whether the layer changes images in training, and does nothing at inference.
        rule: Returns a sentence on the requirement that a layer breaks, or None, where no single
            key can say so.
        rank_rule: The same, given the rank of the layer's input, batch included.
        shape_rule: The same, given the shape of the layer's input, batch included.
    """

    read: frozenset[str] = frozenset()
    training: frozenset[str] = frozenset()
    only: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    not_exported: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_activation: bool = False
    augments: bool = False
    rule: Callable[[Any], str | None] = lambda layer: None
    rank_rule: Callable[[Any, int], str | None] = lambda layer, rank: None
    shape_rule: Callable[[Any, tuple[int | None, ...]], str | None] = lambda layer, shape: None

    @property
    def keys(self) -> frozenset[str]:
        """All known keys."""
        return self.read | self.training | self.only.keys() | self.not_exported.keys() | _COMMON


# `dtype` is read by `supported.refusal`.
_COMMON = frozenset({"name", "trainable", "dtype", "activity_regularizer"})
_FORMAT = {"data_format": "channels_last"}
_WINDOW = frozenset(
    {"kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias"}
)
_NESTED = frozenset({"sparsities", "block_shape"})


def _variables(*names: str) -> frozenset[str]:
    """The keys that matter only when variables are made and trained."""
    kinds = ("initializer", "regularizer", "constraint")
    return frozenset(f"{name}_{kind}" for name in names for kind in kinds)


def _last_axis(layer: KerasLayer, rank: int) -> str | None:
    """The axis is the last one."""
    return None if layer.axis in (-1, rank - 1) else f"must have axis -1: got {layer.axis}"


def broadcasts(given: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    """Says whether a constant broadcasts to a tensor, batch included, and leaves its shape."""
    axes = shape[len(shape) - len(given) :]
    return len(given) <= len(shape) and all(
        size in (1, axis if place else 1)
        for place, (size, axis) in enumerate(zip(given, axes, strict=True), len(shape) - len(given))
    )


def _broadcast(layer: KerasLayer, shape: tuple[int | None, ...]) -> str | None:
    """`scale` and `offset` broadcast to the input, with the same values for the whole batch."""
    for key in ("scale", "offset"):
        given = np.shape(getattr(layer, key))
        if not broadcasts(given, shape):
            return f"must have a {key} that broadcasts to its input {shape}: got shape {given}"
    return None


def _holds_dense(layer: KerasLayer) -> str | None:
    if isinstance(layer.layer, L.Dense):
        if isinstance(layer.layer.activation, L.PReLU):
            return "must hold a Dense without PReLU: put the PReLU behind the TimeDistributed"
        return None
    return (
        "must hold a Dense (a layer that treats all steps alike, such as Activation, needs no "
        "TimeDistributed; a convolution along the steps is Conv1D): got "
        f"{type(layer.layer).__name__}"
    )


def _keeps_the_size(layer: KerasLayer, shape: tuple[int | None, ...]) -> str | None:
    """The size of the images stays."""
    wanted = (layer.height, layer.width)
    if wanted == shape[1:3]:
        return None
    return (
        f"must keep the size of its images, {shape[1]}x{shape[2]}: got {wanted[0]}x{wanted[1]} "
        "(crop the data before they enter the model, as in tf.data.Dataset.map)"
    )


def _only_augments(layer: KerasLayer) -> str | None:
    """All layers inside augment."""
    inner = (each for each in layer.layers if type(each) not in (*augmentations(), L.GaussianNoise))
    return next(
        (f"must hold only layers that augment: got {type(each).__name__}" for each in inner), None
    )


def augmentations() -> dict[Any, Entry]:
    """Layers that change images in training, and do nothing at inference.

    Older versions of Keras lack some of them.
    """
    known = {name: getattr(L, name, None) for name in _AUGMENTATIONS}
    return {
        kind: Entry(
            training=frozenset(inspect.signature(kind.__init__).parameters)
            | {"factor", "bounding_box_format", "data_format"},
            augments=True,
        )
        for kind in known.values()
        if kind is not None
    }


_AUGMENTATIONS = (
    "AugMix",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
)


def _few_axes(layer: KerasLayer, rank: int, axes: int = 5) -> str | None:
    if rank <= axes + 1:
        return None
    return (
        f"must have inputs of at most {axes} axes beside the batch: got {rank - 1} (put a Reshape "
        "that joins axes before it, and one that parts them behind it)"
    )


def _image_at_most(layer: KerasLayer, rank: int) -> str | None:
    """Inputs have at most 3 axes beside the batch."""
    return _few_axes(layer, rank, axes=3)


def _joined(layer: KerasLayer, rank: int) -> str | None:
    """The axis is not the axis of the batch; inputs have at most 3 axes beside the batch."""
    if layer.axis % rank:
        return _image_at_most(layer, rank)
    return f"must have another axis than the axis of the batch: got {layer.axis}"


def _interpolation(layer: KerasLayer) -> str | None:
    if layer.interpolation in ("nearest", "bilinear"):
        return None
    return f"must have interpolation 'nearest' or 'bilinear': got {layer.interpolation!r}"


def _stays_in_the_image(layer: KerasLayer, shape: tuple[int | None, ...]) -> str | None:
    """Bilinear: TFLite reads no place outside of the image."""
    if layer.interpolation != "bilinear" or layer.data_format != "channels_last":
        return None
    for before, factor in zip(shape[1:3], layer.size, strict=True):
        if before is None:
            continue
        if resizing.leaves_the_image(before, before * factor):
            return (
                f"must have a smaller size or interpolation 'nearest', because TFLite would read "
                f"outside of the image: got {before} pixels to {before * factor}"
            )
    return None


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
_PAIRWISE = Entry(rank_rule=_image_at_most)
_GLOBAL = Entry(frozenset({"keepdims"}), not_exported=_FORMAT)


def _with(entry: Entry, *keys: str) -> Entry:
    return dataclasses.replace(entry, read=entry.read | set(keys))


ENTRIES: dict[Any, Entry] = {
    L.Conv1D: _CONV,
    L.Conv2D: _CONV,
    L.Conv1DTranspose: _CONV_TRANSPOSE,
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
    layers.NestedConv1DTranspose: _with(_CONV_TRANSPOSE, *_NESTED),
    layers.NestedConv2DTranspose: _with(_CONV_TRANSPOSE, *_NESTED),
    layers.NestedDepthwiseConv1D: _with(_DEPTHWISE, *_NESTED),
    layers.NestedDepthwiseConv2D: _with(_DEPTHWISE, *_NESTED),
    layers.NestedDense: _with(_DENSE, *_NESTED),
    layers.NestedBatchNormalization: _with(_NORM, "levels", "shared_affine"),
    L.InputLayer: Entry(
        frozenset({"batch_shape", "optional"}), only={"sparse": False, "ragged": False}
    ),
    L.Rescaling: Entry(frozenset({"scale", "offset"}), shape_rule=_broadcast),
    L.Normalization: Entry(frozenset({"axis", "mean", "variance", "invert"})),
    **augmentations(),
    L.Pipeline: Entry(training=frozenset({"layers"}), augments=True, rule=_only_augments),
    L.RandomCrop: Entry(
        frozenset({"height", "width"}),
        training=frozenset({"seed", "factor", "bounding_box_format"}),
        only=_FORMAT,
        augments=True,
        shape_rule=_keeps_the_size,
    ),
    L.ActivityRegularization: Entry(training=frozenset({"l1", "l2"})),
    L.AlphaDropout: Entry(training=frozenset({"rate", "seed", "noise_shape"})),
    L.Dropout: Entry(training=frozenset({"rate", "seed", "noise_shape"})),
    L.GaussianDropout: Entry(training=frozenset({"rate", "seed"})),
    L.GaussianNoise: Entry(training=frozenset({"stddev", "seed"})),
    L.Identity: Entry(),
    L.SpatialDropout1D: _SPATIAL_DROPOUT,
    L.SpatialDropout2D: _SPATIAL_DROPOUT,
    L.Activation: Entry(frozenset({"activation"}), is_activation=True),
    L.ReLU: Entry(frozenset({"max_value", "negative_slope", "threshold"}), is_activation=True),
    L.ELU: Entry(frozenset({"alpha"}), is_activation=True),
    L.LeakyReLU: Entry(frozenset({"negative_slope"}), is_activation=True),
    L.Softmax: Entry(frozenset({"axis"}), is_activation=True, rank_rule=_last_axis),
    L.PReLU: Entry(
        frozenset({"shared_axes"}),
        _variables("alpha"),
        is_activation=True,
        rank_rule=_image_at_most,
    ),
    L.Add: _PAIRWISE,
    L.Subtract: _PAIRWISE,
    L.Average: _PAIRWISE,
    L.Multiply: _PAIRWISE,
    L.Maximum: _PAIRWISE,
    L.Minimum: _PAIRWISE,
    L.Concatenate: Entry(frozenset({"axis"}), rank_rule=_joined),
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
        frozenset({"size", "interpolation"}),
        not_exported=_FORMAT,
        rule=_interpolation,
        shape_rule=_stays_in_the_image,
    ),
    L.Permute: Entry(frozenset({"dims"}), rank_rule=_few_axes),
    L.Flatten: Entry(not_exported=_FORMAT),
    L.Reshape: Entry(frozenset({"target_shape"})),
    shape_layers.Slice: Entry(frozenset({"bounds"})),
    shape_layers.PadAxes: Entry(frozenset({"paddings"})),
}
