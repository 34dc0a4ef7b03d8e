"""Small random nested models that reach the edges of export and of every runtime.

A few hundred to a few thousand MACs each, seeded by their position. `names()` needs no TensorFlow;
`make(name)` builds a model with its data; `exported(name)`, `data(name)` and `outputs(name)` keep
what comes of it for the session, for all processes that share `kept_in`.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import files

EXAMPLES = 12
# The folder of what is exported, or None to keep it in this process alone.
kept_in: Path | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """How to make one model.

    Attributes:
      build: Makes the Keras model that is nested.
      sparsities: One per level.
      gammas: How the BatchNorm gammas are drawn, see `_gammas`.
      exclude: As `nest`; the empty default nests everything but what `nest` cannot.
      options: Other arguments of `nest`.
    """

    build: Callable[[], Any]
    sparsities: tuple[float, ...] = (0.8, 0.5)
    gammas: str = "mixed"
    exclude: tuple[str, ...] | None = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class ZooModel:
    """A nested model with random weights, masks and statistics.

    Attributes:
      name: Its name in the zoo.
      model: The NestedModel.
      data: Representative data: float32 [12, ...], or a list of such arrays for several inputs.
    """

    name: str
    model: Any
    data: Any


def names() -> tuple[str, ...]:
    """Names of all models."""
    return tuple(_ROWS)


def make(name: str) -> ZooModel:
    """Builds a model; the same one at every call."""
    import keras

    import nested_keras

    # Before the seed is set, because the module makes layers, and random layers draw their seeds.
    from tests.nested_keras.nesting import layer_variants  # noqa: F401

    row = _ROWS[name]
    seed = list(_ROWS).index(name)
    rng = np.random.default_rng(seed)
    keras.utils.clear_session(free_memory=False)  # which would take longer than the rest
    keras.utils.set_random_seed(seed)
    base = row.build()
    model = nested_keras.nest(base, row.sparsities, exclude=row.exclude, **row.options)
    _randomize(model, row.gammas, rng)
    model.prune()
    data = [
        rng.normal(size=(EXAMPLES, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs
    ]
    return ZooModel(name, model, data[0] if len(data) == 1 else data)


def exported(name: str) -> Any:
    """The ExportedModel of a model."""
    return _export(name)[0]


def data(name: str) -> Any:
    """The data of a model."""
    return _export(name)[1]


def outputs(name: str) -> list[list[npt.NDArray[np.float32]]]:
    """What each level of the Keras model makes of the data: its outputs."""
    return _export(name)[2]


@functools.cache
def _export(name: str) -> tuple[Any, Any, Any]:
    path = None if kept_in is None else kept_in / f"{name}.pickle"
    if path is not None and path.exists():
        return pickle.loads(path.read_bytes())
    import keras

    from nested_keras import export

    zoo_model = make(name)
    levels = map(zoo_model.model.at_level, range(zoo_model.model.levels))
    made = (
        export.build(zoo_model.model, representative_dataset=zoo_model.data),
        zoo_model.data,
        [[np.asarray(x) for x in keras.tree.flatten(level(zoo_model.data))] for level in levels],
    )
    if path is not None:
        files.write_bytes(path, pickle.dumps(made))
    return made


def _randomize(model: Any, gammas: str, rng: np.random.Generator) -> None:
    """Draws biases and BatchNorm values, different at each level."""
    from nested_keras.nesting.layers import NestedBatchNormalization

    for layer in model.layers:
        if isinstance(layer, NestedBatchNormalization):
            shape = layer.moving_mean.shape
            if layer.scale:
                layer.gamma.assign(_gammas(gammas, shape, rng))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.3, shape))
            layer.moving_mean.assign(rng.normal(0, 0.2, shape))
            layer.moving_variance.assign(rng.uniform(0.3, 1.5, shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))


def _gammas(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gammas [levels, channels].

    "positive"; "mixed": a third of the channels negative; "flipped": the sign drawn for each level
    anew; "tiny": half of the values 1e-12 to 1e-3 times as large; "zero": half of the values zero,
    and the first channel zero at all levels.
    """
    values = rng.uniform(0.5, 1.5, shape)
    if kind == "mixed":
        values *= np.where(rng.random(shape[1]) < 1 / 3, -1, 1)
    elif kind == "flipped":
        values *= np.where(rng.random(shape) < 1 / 2, -1, 1)
    elif kind == "tiny":
        values *= np.where(rng.random(shape) < 1 / 2, 10.0 ** rng.uniform(-12, -3, shape), 1)
        values *= np.where(rng.random(shape) < 1 / 3, -1, 1)
    elif kind == "zero":
        values *= rng.random(shape) < 1 / 2
        values[:, 0] = 0
    else:
        assert kind == "positive", kind
    return values


# Builders. Each returns a small functional or Sequential Keras model.


def _layers() -> Any:
    import keras

    return keras.layers


def _conv_bn(x: Any, filters: int, kernel: Any = 3, *, relu: Any = "relu", **kwargs: Any) -> Any:
    layers = _layers()
    x = layers.Conv2D(filters, kernel, use_bias=False, **{"padding": "same", **kwargs})(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(relu)(x) if relu else x


def _classify(x: Any, *, classes: int = 3, activation: Any = "softmax") -> Any:
    layers = _layers()
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(classes, activation=activation)(x)


def _model(shape: tuple[int, ...], network: Callable[[Any], Any]) -> Any:
    import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, network(inputs))


def conv(
    shape: tuple[int, int, int] = (6, 6, 3), *, filters: int = 5, kernel: Any = 3, **kwargs: Any
) -> Callable[[], Any]:
    """Convolution, BatchNorm, relu, pooling, Dense and softmax."""
    return lambda: _model(shape, lambda x: _classify(_conv_bn(x, filters, kernel, **kwargs)))


def bare_conv(shape: tuple[int, int, int] = (5, 4, 3), **kwargs: Any) -> Callable[[], Any]:
    """One convolution with bias, nothing else."""
    return lambda: _model(shape, _layers().Conv2D(4, 3, **kwargs))


def two_convs(shape: tuple[int, int, int] = (6, 6, 3), **kwargs: Any) -> Callable[[], Any]:
    """Two convolutions with BatchNorm, no head."""
    return lambda: _model(shape, lambda x: _conv_bn(_conv_bn(x, 6, **kwargs), 4, 1, **kwargs))


def depthwise(
    shape: tuple[int, int, int] = (6, 6, 4), *, kernel: Any = 3, bn: bool = True, **kwargs: Any
) -> Callable[[], Any]:
    """Depthwise convolution with BatchNorm and relu6, then a pointwise one."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.DepthwiseConv2D(
            kernel, use_bias=not bn, name="dw", **{"padding": "same", **kwargs}
        )(x)
        if bn:
            x = layers.BatchNormalization()(x)
        x = layers.ReLU(6.0)(x)
        return _classify(_conv_bn(x, 6, 1))

    return lambda: _model(shape, network)


def separable() -> Any:
    """SeparableConv2D with BatchNorm."""
    layers = _layers()

    def network(x: Any) -> Any:
        x = layers.SeparableConv2D(6, 3, padding="same", strides=2)(x)
        return _classify(layers.ReLU()(layers.BatchNormalization()(x)))

    return _model((7, 7, 3), network)


def residual(*, relu: bool, projection: bool = False) -> Callable[[], Any]:
    """A residual block, with or without relu after the sum."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4)
        strides = 2 if projection else 1
        y = _conv_bn(_conv_bn(x, 4, strides=strides), 4, relu=None)
        shortcut = layers.Conv2D(4, 1, strides=2)(x) if projection else x
        y = layers.Add()([y, shortcut])
        return _classify(layers.ReLU()(y) if relu else y)

    return lambda: _model((6, 6, 3), network)


def preactivation() -> Any:
    """BatchNorm and relu before the convolutions: two BatchNorms cannot be folded."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.Conv2D(4, 3, padding="same")(x)
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(4, 3, padding="same")(y)
        x = layers.Add()([x, y])
        return _classify(layers.ReLU()(layers.BatchNormalization()(x)))

    return _model((5, 5, 3), network)


def bn_without_scale() -> Any:
    """BatchNorm without gamma after a convolution with bias; one without beta after that."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3)(x))
        x = layers.BatchNormalization(center=False)(layers.Conv2D(4, 1)(x))
        return _classify(layers.ReLU()(x))

    return _model((5, 5, 2), network)


def bn_after_relu() -> Any:
    """The activation stands between convolution and BatchNorm."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.Conv2D(4, 3, activation="relu")(x)
        return _classify(layers.BatchNormalization()(x))

    return _model((5, 5, 2), network)


def concat(*, fixed: bool = False) -> Callable[[], Any]:
    """Two branches side by side; one ends in a sigmoid if `fixed`."""

    def network(x: Any) -> Any:
        layers = _layers()
        a = _conv_bn(x, 3, 1, relu="sigmoid" if fixed else "relu")
        b = _conv_bn(x, 5, 3, relu=None)
        return _classify(_conv_bn(layers.Concatenate()([a, b, x]), 4, 1))

    return lambda: _model((5, 5, 2), network)


def pooled(kind: str, **kwargs: Any) -> Callable[[], Any]:
    """Pooling between convolutions."""

    def network(x: Any) -> Any:
        pool = getattr(_layers(), kind)(**kwargs)
        return _classify(_conv_bn(pool(_conv_bn(x, 4)), 4))

    return lambda: _model((7, 7, 2), network)


def padded() -> Any:
    """Explicit zero padding before a VALID convolution with stride 2, as MobileNet has it."""

    def network(x: Any) -> Any:
        x = _layers().ZeroPadding2D(((0, 1), (0, 1)))(_conv_bn(x, 4))
        return _classify(_conv_bn(x, 4, 3, strides=2, padding="valid", relu="relu6"))

    return _model((6, 6, 2), network)


def dense_bn() -> Any:
    """Dense with BatchNorm, as in an autoencoder."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(8)(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(5, use_bias=False)(x)))
        return layers.Dense(10)(x)

    return _model((10,), network)


def dense_on_image() -> Any:
    """Dense along the last axis of an image, with BatchNorm."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(4)(x)))
        return layers.Dense(3, activation="sigmoid")(layers.Flatten()(x))

    return _model((3, 2, 5), network)


def mlp_bn_alone() -> Any:
    """BatchNorm on features that cannot be folded: the sum feeds two readers."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.Dense(6, activation="relu")(x)
        y = layers.BatchNormalization()(x)
        return layers.Dense(2)(layers.Add()([layers.Dense(6)(y), x]))

    return _model((7,), network)


def one_output() -> Any:
    """Dense with a single output and a sigmoid."""
    return _model((4, 4, 2), lambda x: _classify(_conv_bn(x, 4), classes=1, activation="sigmoid"))


def shared() -> Any:
    """One convolution at two scales, its BatchNorm shared too, then called on its own output."""

    def network(x: Any) -> Any:
        layers = _layers()
        layer = layers.Conv2D(3, 3, padding="same", name="shared")
        norm = layers.BatchNormalization()
        a = layers.ReLU()(norm(layer(x)))
        b = layers.ReLU()(norm(layer(layers.AveragePooling2D(2)(x))))
        c = layer(a)
        sums = [layers.GlobalAveragePooling2D()(each) for each in (b, c)]
        return layers.Dense(2)(layers.Concatenate()(sums))

    return _model((6, 6, 3), network)


def two_outputs(*, intermediate: bool) -> Callable[[], Any]:
    """Two heads; or a head and the feature map that it reads."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4)
        boxes = x if intermediate else layers.Reshape((-1, 2))(layers.Conv2D(4, 3)(x))
        return [_classify(x), boxes]

    return lambda: _model((5, 5, 2), network)


def two_inputs() -> Any:
    """An image and a vector of features."""
    import keras

    layers = _layers()
    image, features = keras.Input((5, 5, 2), name="image"), keras.Input((3,), name="features")
    x = layers.GlobalAveragePooling2D()(_conv_bn(image, 4))
    y = layers.Dense(4, activation="relu")(features)
    return keras.Model([image, features], layers.Dense(2)(layers.Add()([x, y])))


def squeeze_excite() -> Any:
    """Channels weighted by a sigmoid gate: a broadcast product."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4, relu=None)
        x = layers.Activation("hard_silu")(x)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
        return _classify(layers.Multiply()([x, gate]))

    return _model((5, 5, 2), network)


def squeeze_excite_by_rank() -> Any:
    """The gate is a vector: Keras puts its axes of one after the batch."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4)
        gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
        return _classify(layers.Add()([layers.Multiply()([x, gate]), gate]))

    return _model((5, 5, 2), network)


def extrema() -> Any:
    """Maximum and minimum of two and of three branches, some of fixed scale or of lower rank."""

    def network(x: Any) -> Any:
        layers = _layers()
        a, b, c = (_conv_bn(x, 4, relu=relu) for relu in (None, "relu", "tanh"))
        row = layers.GlobalAveragePooling2D()(b)
        x = layers.ReLU()(layers.Maximum()([a, b, c]))
        x = layers.Minimum()([x, layers.Dense(4)(row)])
        gates = [layers.Conv2D(4, 1, activation=name)(x) for name in ("sigmoid", "tanh", "sigmoid")]
        low, high = layers.Minimum()(gates[:2]), layers.Maximum()([gates[0], gates[2]])
        return _classify(layers.Concatenate()([layers.Maximum()([x, low]), high]))

    return _model((5, 5, 2), network)


def bounded_relu6() -> Any:
    """A relu6 of what lies between -1 and 1 anyway, also behind operators that keep its scale."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4, relu=None)
        a = layers.ReLU(6.0)(layers.Conv2D(4, 1, activation="sigmoid")(x))
        b = layers.ReLU(6.0)(layers.MaxPooling2D(2, 1, "same")(layers.Activation("tanh")(x)))
        c = layers.Conv2D(4, 1, activation="tanh")(x)
        c = layers.ReLU(6.0)(layers.ReLU(6.0)(layers.Concatenate()([c, layers.Softmax()(x)])))
        x = layers.Concatenate()([layers.Add()([a, b]), c])
        return layers.ReLU(6.0)(layers.Dense(3, activation="softmax")(layers.Flatten()(x)))

    return _model((4, 4, 2), network)


def functions() -> Any:
    """Functions by table, slopes that are learnt, differences and means of branches."""

    def network(x: Any) -> Any:
        layers = _layers()
        slopes = {"alpha_initializer": "random_normal"}
        a = layers.PReLU(shared_axes=[1, 2], **slopes)(_conv_bn(x, 4, relu=None))
        b = layers.Conv2D(4, 3, padding="same", activation=layers.PReLU(**slopes))(a)
        c = layers.Conv2D(4, 1, activation=layers.ReLU(1.5, 0.1, 0.2))(x)
        x = layers.ReLU()(layers.Subtract()([a, layers.ELU(0.7)(b)]))
        x = layers.Average()([x, c, layers.Activation("mish")(c), layers.Activation("softplus")(c)])
        x = layers.Conv2D(5, 1, activation="gelu")(x)
        return _classify(layers.Activation("hard_sigmoid")(x))

    return _model((4, 4, 2), network)


def front() -> Any:
    """Layers that images and measurements pass first, in front of a padded convolution."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.RandomFlip()(layers.Rescaling(0.3, -1.0)(x))
        x = layers.Normalization(mean=[0.1, -0.2, 0.0], variance=[1.0, 2.0, 0.3])(x)
        x = layers.RandomCrop(4, 5)(layers.GaussianNoise(0.1)(x))
        x = _conv_bn(layers.Conv2D(3, 3, padding="same")(x), 4)
        x = layers.Normalization(axis=1, mean=[0.1, 0.2, 0.3, 0.4], variance=[1.3] * 4)(x)
        return _classify(x)

    return _model((4, 5, 3), network)


def every_layer() -> Any:
    """Each layer without weights, in each of its variants, between convolutions and an output."""
    import keras

    from nested_keras.export.plain_layers import TRACES
    from tests.nested_keras.nesting import layer_variants

    inputs = keras.Input((6, 6, 3)), keras.Input((12, 3))
    a, b = (_conv_bn(inputs[0], 3, relu=relu) for relu in ("relu", None))
    series = keras.layers.Conv1D(3, 1, activation="relu")(inputs[1])
    outputs = []
    for kind in (kind for kind in TRACES if kind is not keras.layers.InputLayer):
        for variant in layer_variants.of(kind):
            x = series if layer_variants.takes_series(kind) else a
            y = kind(**variant)([a, b] if kind in layer_variants.MERGES else x)
            # Outputs of their own, also behind layers that do nothing at inference.
            outputs.append(keras.layers.Dense(2)(y))
    return keras.Model(inputs, outputs)


def called_twice() -> Any:
    """One layer twice on one tensor, two equal layers on one tensor, layers as activations."""

    def network(x: Any) -> Any:
        layers = _layers()
        conv = layers.Conv2D(4, 3, padding="same", activation=layers.LeakyReLU(0.3))
        x = layers.Add()([conv(x), conv(x)])
        y = layers.Conv2D(4, 3, padding="same")(x)
        y = layers.Concatenate()([layers.ReLU()(y), layers.ReLU()(y)])
        return _classify(layers.Conv2D(4, 1, activation=layers.ReLU(6.0))(y))

    return _model((5, 5, 2), network)


def activations() -> Any:
    """leaky_relu, tanh, silu and a relu that cannot be fused."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4, 1, relu=None)
        x = layers.LeakyReLU(0.1)(x)
        y = layers.ReLU()(x)
        x = layers.Add()([layers.Activation("tanh")(x), y, x])
        return _classify(layers.Activation("silu")(x))

    return _model((4, 4, 2), network)


def sequential() -> Any:
    """A Sequential model with Flatten, Dropout and global maximum."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.Dropout(0.5),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.GlobalMaxPooling2D(),
            layers.Dense(4),
            layers.Softmax(),
        ]
    )


def unet() -> Any:
    """Down and up again: nearest pixels, a transposed convolution, skips and a mask."""

    def network(x: Any) -> Any:
        layers = _layers()
        skip = _conv_bn(x, 4)
        below = _conv_bn(layers.MaxPooling2D()(skip), 6)
        deep = _conv_bn(layers.MaxPooling2D()(below), 6)
        y = layers.Conv2DTranspose(6, 2, strides=2, use_bias=False)(deep)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = _conv_bn(layers.Concatenate()([y, below]), 4)
        y = layers.Concatenate()([layers.UpSampling2D()(y), skip])
        return layers.Conv2D(1, 1, activation="sigmoid")(y)

    return _model((8, 8, 3), network)


def autoencoder() -> Any:
    """A decoder of transposed convolutions behind a Dense layer."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 4, strides=2)
        x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
        x = layers.Reshape((4, 3, 4))(layers.Dense(48)(x))
        x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2DTranspose(3, 4, strides=2, padding="same")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.UpSampling2D((1, 2), interpolation="bilinear")(x)
        return layers.Conv2D(1, 3, padding="same")(x)

    return _model((9, 8, 2), network)


def transposed(*arguments: Any, **options: Any) -> Callable[[], Any]:
    """A transposed convolution with BatchNorm between two plain ones."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.Conv2DTranspose(3, *arguments, name="up", **options)(_conv_bn(x, 4))
        x = layers.Activation("tanh")(layers.BatchNormalization()(x))
        return _conv_bn(layers.Cropping2D(((1, 0), (0, 2)))(x), 2)

    return lambda: _model((4, 3, 2), network)


def resnext() -> Any:
    """A residual block with a grouped convolution, then one with a group for each channel."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = _conv_bn(x, 12, 1)
        y = _conv_bn(_conv_bn(x, 8, 1), 8, groups=4, name="grouped")
        x = layers.ReLU()(layers.Add()([_conv_bn(y, 12, 1, relu=None), x]))
        return _classify(_conv_bn(x, 24, (3, 2), groups=12, strides=2, relu="relu6"))

    return _model((6, 5, 3), network)


def pixel_shuffle() -> Any:
    """Depth to space as Keras users write it, and axes in another order."""

    def network(x: Any) -> Any:
        layers = _layers()
        x = layers.Reshape((4, 3, 2, 3, 2))(_conv_bn(x, 12))
        x = layers.Reshape((8, 9, 2))(layers.Permute((1, 3, 2, 4, 5))(x))
        x = layers.Permute((2, 1, 3))(_conv_bn(x, 4, strides=(1, 2)))
        return layers.Permute((3, 1, 2))(_conv_bn(x, 3))

    return _model((4, 3, 2), network)


def _series(name: str) -> Callable[[], Any]:
    """A model of `series_nets`, which loads Keras."""

    def build() -> Any:
        from tests import series_nets

        return getattr(series_nets, name)()

    return build


def operators() -> Any:
    """Sums, products and functions written as operators; a hard swish as MobileNetV3 has it."""

    def network(x: Any) -> Any:
        from keras import ops

        layers = _layers()
        x = ops.relu(_conv_bn(x, 4, relu=None) - 0.3)
        y = layers.Conv2D(4, 3, padding="same")(x)
        y = y * ops.relu6(y + 3.0) * (1.0 / 6.0)
        x = 0.5 * x + y / np.array([1.0, -2.0, 3.0, 0.5], np.float32)
        gate = ops.mean(ops.maximum(x, -0.2), axis=(1, 2), keepdims=True)
        x = ops.minimum(x * ops.sigmoid(layers.Conv2D(4, 1)(gate)), abs(y))
        x = ops.concatenate([x, ops.max(x, 2, keepdims=True)], axis=2)
        return _classify(1.0 - ops.clip(x, -0.4, 0.5))

    return _model((5, 6, 2), network)


def sliced() -> Any:
    """Slices and paddings of every axis: the shortcut of the first ResNets, halves of channels."""

    def network(x: Any) -> Any:
        from keras import ops

        x = _conv_bn(x, 4)
        short = ops.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (1, 2)))
        x = ops.relu(_conv_bn(x, 7, strides=2, relu=None) + short)
        a, b = ops.split(x[..., 1:], 2, axis=-1)
        x = ops.concatenate([a * b, ops.flip(a, 1), b[:, ::-1]], axis=-1)
        return [_classify(_conv_bn(x, 3, 1)), ops.stack([x[:, 0, 1], x[:, -1, 0]], axis=1)]

    return _model((6, 5, 2), network)


_FIVE = (0.95, 0.9, 0.8, 0.5, 0.2)
_NEST_DW = {"overrides": {"dw": {"sparsities": (0.9, 0.4)}}}
_ROWS: dict[str, Row] = {
    # Geometry of the convolution.
    "conv3x3_same": Row(conv()),
    "conv3x3_same_stride2": Row(conv((7, 6, 3), strides=2)),
    "conv3x3_valid": Row(conv(padding="valid")),
    "conv3x3_valid_stride2": Row(conv((8, 7, 2), padding="valid", strides=2)),
    "conv1x1": Row(conv((4, 4, 8), kernel=1)),
    "conv1x1_stride2": Row(conv((5, 5, 4), kernel=1, strides=2)),
    "conv5x5_same": Row(conv((6, 6, 2), kernel=5, filters=3)),
    "conv5x5_valid_stride2": Row(conv((9, 8, 1), kernel=5, padding="valid", strides=2)),
    "conv3x1_uneven": Row(conv((7, 5, 2), kernel=(3, 1), strides=(2, 1))),
    "conv_dilated": Row(conv((8, 8, 2), dilation_rate=2)),
    "odd_sizes": Row(two_convs((11, 5, 3), strides=2)),
    "one_pixel": Row(conv((1, 1, 6))),
    "one_row": Row(conv((1, 12, 2), strides=2)),
    "kernel_larger_than_image": Row(conv((2, 3, 3), kernel=5)),
    "one_channel": Row(conv((6, 6, 1), filters=1)),
    "many_channels": Row(conv((2, 2, 70), kernel=1, filters=20), (0.95, 0.7)),
    # No activation, no BatchNorm, no head.
    "bare_conv": Row(bare_conv()),
    "bare_conv_no_bias": Row(bare_conv(use_bias=False, padding="same")),
    "bare_conv_relu6": Row(bare_conv(activation="relu6")),
    "linear_end": Row(two_convs(relu=None)),
    # Blocks, on and off the channel count.
    "block2": Row(conv((5, 5, 4), kernel=3), options={"block_shape": (1, 2)}),
    "block2_off": Row(conv((5, 5, 5), kernel=3), options={"block_shape": (1, 2)}),
    "block4": Row(conv((4, 4, 8), kernel=3), options={"block_shape": (1, 4)}),
    "block4_off": Row(conv((4, 4, 6), kernel=3), options={"block_shape": (1, 4)}),
    "block4_dense": Row(dense_bn, (0.75, 0.25), options={"block_shape": (1, 4)}),
    # Levels.
    "one_level": Row(conv(), (0.7,)),
    "one_level_full": Row(residual(relu=True), (0.0,)),
    "empty_level": Row(two_convs(), (1.0, 0.5)),
    "empty_and_full": Row(two_convs(), (1.0, 0.0)),
    "only_empty": Row(two_convs(), (1.0,)),
    "full_level": Row(conv(), (0.6, 0.0)),
    "five_levels": Row(two_convs(), _FIVE),
    "four_levels_default_exclude": Row(residual(relu=True), (0.9, 0.8, 0.7, 0.6), exclude=None),
    # BatchNorm gains.
    "gammas_flipped": Row(two_convs(), (0.8, 0.5, 0.2), gammas="flipped"),
    "gammas_tiny": Row(two_convs(), (0.8, 0.5, 0.2), gammas="tiny"),
    "gammas_tiny_linear": Row(two_convs(relu=None), (0.8, 0.5), gammas="tiny"),
    "gammas_zero": Row(two_convs(), (0.8, 0.5, 0.2), gammas="zero"),
    "gammas_zero_dense": Row(dense_bn, (0.8, 0.0), gammas="zero"),
    # Depthwise.
    "depthwise_plain": Row(depthwise(), exclude=("dw",)),
    "depthwise_plain_bias": Row(depthwise(bn=False), exclude=("dw",)),
    "depthwise_nested": Row(depthwise(), options=_NEST_DW),
    "depthwise_nested_stride2": Row(
        depthwise((7, 5, 3), strides=2), options=_NEST_DW, gammas="flipped"
    ),
    "depthwise_nested_valid5x5": Row(
        depthwise((6, 7, 2), kernel=5, padding="valid"), options=_NEST_DW
    ),
    "depthwise_one_channel": Row(depthwise((5, 5, 1)), options=_NEST_DW),
    "depthwise_multiplier": Row(depthwise((5, 5, 2), depth_multiplier=3)),
    "separable": Row(separable),
    # Graphs.
    "residual": Row(residual(relu=False)),
    "residual_relu": Row(residual(relu=True), _FIVE[1:]),
    "residual_projection": Row(residual(relu=True, projection=True), gammas="flipped"),
    "preactivation": Row(preactivation, gammas="flipped"),
    "bn_after_relu": Row(bn_after_relu),
    "bn_without_scale": Row(bn_without_scale),
    "concat": Row(concat()),
    "concat_fixed_scale": Row(concat(fixed=True)),
    "max_pool": Row(pooled("MaxPooling2D", pool_size=2)),
    "average_pool_same": Row(pooled("AveragePooling2D", pool_size=3, strides=2, padding="same")),
    "padded": Row(padded),
    "dense_bn": Row(dense_bn, (0.8, 0.5, 0.2)),
    "dense_on_image": Row(dense_on_image),
    "mlp_bn_alone": Row(mlp_bn_alone),
    "one_output": Row(one_output),
    "shared": Row(shared),
    "two_outputs": Row(two_outputs(intermediate=False)),
    "two_outputs_intermediate": Row(two_outputs(intermediate=True)),
    "two_inputs": Row(two_inputs),
    "squeeze_excite": Row(squeeze_excite),
    "activations": Row(activations),
    "sequential": Row(sequential),
    "squeeze_excite_by_rank": Row(squeeze_excite_by_rank),
    "called_twice": Row(called_twice),
    "extrema": Row(extrema),
    # Up again, and groups.
    "unet": Row(unet),
    "unet_block4": Row(unet, (0.7, 0.3), options={"block_shape": (1, 4)}),
    "autoencoder": Row(autoencoder, (0.8, 0.5, 0.2)),
    "transposed_uneven": Row(transposed(3, (2, 3), padding="same", output_padding=(0, 2))),
    "transposed_wide": Row(transposed((2, 5), (3, 2))),
    "transposed_dilated": Row(transposed(3, dilation_rate=2, padding="same")),
    "transposed_plain": Row(transposed(3, 2, padding="same"), exclude=("up",)),
    "resnext": Row(resnext, gammas="flipped"),
    "resnext_plain": Row(resnext, exclude=("grouped",)),
    "pixel_shuffle": Row(pixel_shuffle),
    "every_layer": Row(every_layer),
    "series_activity": Row(_series("activity"), (0.8, 0.5, 0.2)),
    "series_sensor": Row(_series("sensor"), options={"block_shape": (1, 2)}),
    "series_causal": Row(_series("causal"), gammas="flipped"),
    "series_keywords": Row(_series("keywords")),
    "series_branches": Row(_series("branches")),
    "series_autoencoder": Row(_series("autoencoder")),
    # Operators between layers.
    "operators": Row(operators, (0.8, 0.5, 0.2)),
    "sliced": Row(sliced),
    "functions": Row(functions),
    "front": Row(front),
    "bounded_relu6": Row(bounded_relu6),
}
