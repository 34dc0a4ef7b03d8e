"""Walks the table of layers: every key of every config is read, refused or without effect."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras.export import compare, export_errors, forward
from nested_keras.export.fold import fold
from nested_keras.export.graph import TRACES, trace
from nested_keras.nesting import entries, layers, model, supported
from tests.nested_keras import nets

L = keras.layers
NESTED = {"sparsities": (0.5,)}
# The least arguments of each class.
LEAST = {
    L.Conv2D: {"filters": 3, "kernel_size": 2},
    L.Conv2DTranspose: {"filters": 3, "kernel_size": 2},
    L.DepthwiseConv2D: {"kernel_size": 2},
    L.SeparableConv2D: {"filters": 3, "kernel_size": 2},
    L.Dense: {"units": 3},
    layers.NestedConv2D: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedConv2DTranspose: {"filters": 3, "kernel_size": 2, **NESTED},
    layers.NestedDepthwiseConv2D: {"kernel_size": 2, **NESTED},
    layers.NestedDense: {"units": 3, **NESTED},
    layers.NestedBatchNormalization: {"levels": 1},
    L.InputLayer: {"shape": (3,)},
    L.Rescaling: {"scale": 0.5},
    **{
        kind: {
            name: 0.2
            for name, parameter in inspect.signature(kind.__init__).parameters.items()
            if name != "self"
            and parameter.default is parameter.empty
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
    L.SpatialDropout2D: {"rate": 0.5},
    L.Activation: {"activation": "relu"},
    L.AveragePooling2D: {"pool_size": 2},
    L.MaxPooling2D: {"pool_size": 2},
    L.Permute: {"dims": (2, 1, 3)},
    L.Reshape: {"target_shape": (4, 9, 3)},
}
# For each key that is read, other values than the default.
WINDOW = [
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
NORM = [{"axis": -1, "epsilon": 0.1}, {"center": False}, {"scale": False}]
POOL = [{"pool_size": 3, "strides": 1, "padding": "same"}]
VARIANTS = {
    L.Conv2D: [*CONV, {"groups": 3, "activation": "relu"}],
    L.Conv2DTranspose: [
        *CONV,
        {"kernel_size": 3, "strides": (2, 3), "padding": "same", "output_padding": (1, 2)},
        {"kernel_size": 5, "strides": (1, 3), "activation": "softmax"},
    ],
    L.Cropping2D: [{"cropping": ((1, 0), (2, 3))}],
    L.UpSampling2D: [
        {"size": (3, 1)},
        {"interpolation": "bilinear"},
        {"size": (1, 3), "interpolation": "bilinear"},
        {"size": 1},
    ],
    L.Permute: [{"dims": (3, 1, 2)}, {"dims": (1, 3, 2)}, {"dims": (1, 2, 3)}],
    L.DepthwiseConv2D: [{"kernel_size": (3, 2), "depth_multiplier": 2}, *WINDOW],
    L.SeparableConv2D: [*CONV, {"depth_multiplier": 2}],
    L.Dense: [{"units": 5}, {"activation": "sigmoid"}, {"use_bias": False}],
    L.BatchNormalization: NORM,
    L.Activation: [{"activation": function} for function in supported.ACTIVATIONS],
    L.Rescaling: [
        {"scale": 1 / 127.5, "offset": -1.0},
        {"scale": [0.1, 2.0, 3.0], "offset": [1.0]},
    ],
    L.Normalization: [
        {"axis": None},
        {"axis": 1},
        {"axis": (1, 3)},
        {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 0.5, 4.0]},
        {"mean": 0.3, "variance": 2.0, "invert": True},
    ],
    L.RandomCrop: [{"height": 6, "width": 6}],
    L.PReLU: [{"shared_axes": [1, 2]}, {"shared_axes": [3]}],
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
    L.AveragePooling2D: POOL,
    L.MaxPooling2D: POOL,
    L.GlobalAveragePooling2D: [{"keepdims": True}],
    L.GlobalMaxPooling2D: [{"keepdims": True}],
    L.ZeroPadding2D: [{"padding": ((0, 1), (2, 3))}],
    L.Reshape: [{"target_shape": (-1,)}],
}
MERGES = (L.Add, L.Subtract, L.Average, L.Multiply, L.Maximum, L.Minimum, L.Concatenate)
BASE_KINDS = [kind for kind in supported.ENTRIES if kind.__module__.startswith("keras.")]


def named(kind):
    return kind.__name__


@pytest.mark.parametrize("kind", supported.ENTRIES, ids=named)
def test_every_key_of_a_layer_s_config_is_known(kind):
    config = kind(**LEAST.get(kind, {})).get_config()
    assert set(config) <= supported.ENTRIES[kind].keys


@pytest.mark.parametrize("kind", BASE_KINDS, ids=named)
def test_every_key_that_is_read_is_tried(kind):
    keys = {key for variant in VARIANTS.get(kind, []) for key in variant}
    made_by_the_input = {L.InputLayer: {"batch_shape", "optional"}}
    assert keys == supported.ENTRIES[kind].read - made_by_the_input.get(kind, set())


def test_export_has_a_way_for_every_layer_of_a_nested_model():
    made_anew = {L.SeparableConv2D, L.BatchNormalization}
    assert set(TRACES) == set(supported.ENTRIES) - made_anew


@pytest.mark.parametrize(
    ("kind", "variant"),
    [
        pytest.param(kind, variant, id=f"{kind.__name__}-{index}")
        for kind in BASE_KINDS
        if kind is not L.InputLayer
        for index, variant in enumerate([{}, *VARIANTS.get(kind, [])])
    ],
)
def test_nest_and_export_compute_what_the_layer_does(kind, variant):
    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(3, 1, name="before")(inputs)
    activation = variant.get("activation")
    if getattr(activation, "__name__", "") == "<lambda>":
        variant = {"activation": activation()}  # one that has weights serves one layer
    layer = kind(**{**LEAST.get(kind, {}), **variant})
    outputs = layer([x, L.Conv2D(3, 1)(inputs)] if kind in MERGES else x)
    base = nets.randomise(keras.Model(inputs, outputs), seed=0)
    if kind is L.Normalization:
        layer.finalize_state()
    nested = model.nest(base, (0.5,), exclude=())
    data = nets.images(4)
    graph = fold(trace(nested))
    compare.compare(nested, graph, (data,))
    (received,) = forward.run(graph, [data], forward.level_parameters(0), lambda _, value: value)
    np.testing.assert_allclose(received, base(data, training=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        (L.Conv2D(3, 2, name="x"), "new_argument"),
        (L.Flatten(name="x"), "order"),
    ],
)
def test_arguments_of_a_newer_keras_are_refused_unless_they_are_as_by_default(layer, key):
    config = layer.get_config()
    layer.get_config = lambda: {**config, key: None}
    assert supported.refusal(layer, "x") is None
    layer.get_config = lambda: {**config, key: 7}
    assert f"does not know: expected {key}=None, got 7" in supported.refusal(layer, "x")


class Decay(keras.regularizers.Regularizer):
    def __call__(self, kernel):
        return 0.1 * keras.ops.sum(kernel)

    def get_config(self):
        return {}


class Halved(keras.constraints.Constraint):
    def __call__(self, kernel):
        return 0.5 * kernel


def test_functions_and_objects_of_the_user_s_are_carried_as_they_are():
    def relu(x):
        return keras.ops.clip(x, 0.0, 1.0)

    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(
        4,
        3,
        activation=relu,
        kernel_regularizer=Decay(),
        kernel_constraint=Halved(),
        kernel_initializer=lambda shape, dtype: keras.ops.ones(shape, dtype),
        name="own",
    )(inputs)
    x = L.SeparableConv2D(4, 3, activation=L.PReLU(alpha_initializer="ones"), name="prelu")(x)
    base = keras.Model(inputs, x)
    with pytest.warns(UserWarning, match="export will refuse this model: layer 'own' has"):
        nested = model.nest(base, (0.5,), exclude=())
    own = nested.get_layer("own")
    assert own.activation is relu
    assert isinstance(own.kernel_regularizer, Decay)
    assert isinstance(own.kernel_constraint, Halved)
    prelu = nested.layers[-1]
    assert isinstance(prelu, L.PReLU)
    np.testing.assert_array_equal(prelu.alpha, np.ones((2, 2, 4)))
    np.testing.assert_array_equal(nested(nets.images(2)), base(nets.images(2)))
    with pytest.raises(
        export_errors.UnsupportedLayerError, match="'own' has an activation that is no fun"
    ):
        trace(nested)


class Standardized(L.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


class Mixin(L.Layer):
    def __call__(self, *args, **kwargs):
        return 2.0 * super().__call__(*args, **kwargs)


class Mixed(L.Dense, Mixin):
    pass


def patched():
    layer = L.Dense(3, name="x")
    layer.call = lambda inputs: inputs
    return layer


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Standardized(3, 3, name="x"), r"\(Standardized\) .* overrides convolution_op of Conv2D"),
        (Mixed(3, name="x"), r"\(Mixed\) .* overrides __call__ of Dense"),
        (patched(), r"\(Dense\) .* overrides call of Dense: use Dense itself in its place"),
        (L.Lambda(lambda x: x / 2.0, name="x"), r"\(Lambda\) .*: use one of Keras's own layers"),
        (L.Masking(name="x"), r"\(Masking\) is not supported: use one of these"),
        (
            L.UpSampling2D(interpolation="bicubic", name="x"),
            r"\(UpSampling2D\) must have interpolation 'nearest' or 'bilinear': got 'bicubic'",
        ),
        (L.Resizing(3, 3, name="x"), r"\(Resizing\) .*: do this to the data before"),
        (L.Rescaling(np.ones((4, 1)), name="x"), r"one scale, or one per channel: .* \(4, 1\)"),
        (L.RandomCrop(2, 2, name="x"), r"must keep the size of its images, \w+: got 2x2 \(crop"),
        (
            L.Pipeline([L.RandomFlip(), L.AutoContrast()], name="x"),
            "must hold layers alone that augment: got AutoContrast",
        ),
        (L.Activation("glu", name="x"), "has the activation 'glu', which is not supported: use"),
        (L.Dense(3, dtype="int8_from_float32", name="x"), "policy without quantization: got 'int8"),
        (lambda x: L.Dropout(0.5, name="x")(x, training=True), "must be called .*training=True"),
        (lambda x: L.Add(name="x")([x, np.ones((4, 4, 3))]), "outputs of layers alone: .*ndarray"),
        (lambda x: L.Concatenate(0, name="x")([x, x]), "axis than that of the batch: got 0"),
    ],
)
def test_nest_refuses_before_training_what_export_would_refuse(layer, message):
    inputs = keras.Input((6, 6, 3))
    outputs = layer(L.Conv2D(3, 3, name="before")(inputs))
    with pytest.raises(ValueError, match=f"^layer 'x' .*{message}|^layer 'x' {message}") as refusal:
        model.nest(keras.Model(inputs, outputs), exclude=())
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda x: x + x, r"operator '.*' \(Add\) between layers .*: use the layer Add for two"),
        (lambda x: 0.5 * x, r"\(Multiply\) between layers .*: use the layer Multiply for two"),
        (lambda x: keras.ops.mean(x, (1, 2)), r"\(Mean\) .*: use the layer GlobalAveragePooling2D"),
    ],
)
def test_nest_refuses_operators_between_layers(operator, message):
    inputs = keras.Input((6, 6, 3))
    with pytest.raises(ValueError, match=message):
        model.nest(keras.Model(inputs, operator(L.Conv2D(3, 3)(inputs))), exclude=())


@pytest.mark.parametrize("kind", [L.Flatten, L.ZeroPadding2D, L.GlobalAveragePooling2D], ids=named)
def test_channels_first_is_carried_and_not_exported(kind):
    inputs = keras.Input((6, 6, 3))
    x = kind(data_format="channels_first", name="x")(L.Conv2D(3, 3)(inputs))
    base = keras.Model(inputs, L.Dense(2)(x))
    with pytest.warns(
        UserWarning, match="refuse this model: layer 'x' .* data_format='channels_la"
    ):
        nested = model.nest(base, (0.5,), exclude=())
    np.testing.assert_array_equal(nested(nets.images(2)), base(nets.images(2)))
    with pytest.raises(
        export_errors.UnsupportedLayerError, match=r"'x' .* data_format='channels_last'"
    ):
        trace(nested)


def test_models_that_override_call_are_refused():
    class Doubled(keras.Model):
        def call(self, inputs, training=None):
            return 2.0 * super().call(inputs, training=training)

    inputs = keras.Input((6, 6, 3))
    inner = Doubled(inputs, L.Conv2D(3, 3)(inputs), name="inner")
    for base in (inner, keras.Sequential([keras.Input((6, 6, 3)), inner])):
        with pytest.raises(
            TypeError, match=r"'inner' must compute .* Doubled, which overrides call"
        ):
            model.nest(base, exclude=())
