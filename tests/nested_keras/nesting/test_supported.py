"""Walks the table of layers: every key of every config is read, refused or without effect."""

import keras
import numpy as np
import pytest

from nested_keras.export import compare, export_errors, forward
from nested_keras.export.fold import fold
from nested_keras.export.graph import TRACES, trace
from nested_keras.nesting import kinds, model, supported
from tests.nested_keras import nets
from tests.nested_keras.nesting.layer_variants import LEAST, MERGES, VARIANTS, of, takes_series

L = keras.layers
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
    made_anew = {*kinds.SEPARABLE, L.TimeDistributed, L.BatchNormalization}
    assert set(TRACES) == set(supported.ENTRIES) - made_anew


IMAGE, SERIES = (6, 6, 3), (12, 3)


def cases():
    """Each layer with each variant, on the inputs that it takes."""
    for kind in (kind for kind in BASE_KINDS if kind is not L.InputLayer):
        only_series = takes_series(kind)
        only_images = "2D" in kind.__name__ or kind in (L.Reshape, L.Permute)
        only_images = only_images or supported.ENTRIES[kind].augments
        shapes = {IMAGE: not only_series, SERIES: not only_images}
        for shape in (shape for shape, is_taken in shapes.items() if is_taken):
            for index, variant in enumerate(of(kind)):
                name = f"{kind.__name__}-{index}-{len(shape)}"
                yield pytest.param(kind, variant, shape, id=name)


@pytest.mark.parametrize(("kind", "variant", "shape"), [*cases()])
def test_nest_and_export_compute_what_the_layer_does(kind, variant, shape):
    is_padded = kind is L.Conv1DTranspose and "output_padding" in variant
    if keras.__version__.startswith("3.12.") and is_padded:
        pytest.skip("Keras 3.12 pads this output less than it says")
    inputs = keras.Input(shape)
    conv = L.Conv2D if shape is IMAGE else L.Conv1D
    x = conv(3, 1, name="before")(inputs)
    layer = kind(**variant)
    outputs = layer([x, conv(3, 1)(inputs)] if kind in MERGES else x)
    base = nets.randomise(keras.Model(inputs, outputs), seed=0)
    if kind is L.Normalization:
        layer.finalize_state()
    nested = model.nest(base, (0.5,), exclude=())
    data = nets.images(4, shape)
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
    nested = model.nest(base, (0.5,), exclude=())
    own = nested.get_layer("own")
    assert own.activation is relu
    assert isinstance(own.kernel_regularizer, Decay)
    assert isinstance(own.kernel_constraint, Halved)
    prelu = nested.layers[-1]
    assert isinstance(prelu, L.PReLU)
    np.testing.assert_array_equal(prelu.alpha, np.ones((2, 2, 4)))
    np.testing.assert_array_equal(nested(nets.images(2)), base(nets.images(2)))
    compare.compare(nested, fold(trace(nested)), (nets.images(2),))


def test_an_activation_of_the_user_s_that_mixes_values_is_carried_and_not_exported():
    inputs = keras.Input((6, 6, 3))
    normalised = lambda x: x - keras.ops.mean(x, axis=-1, keepdims=True)  # noqa: E731
    base = keras.Model(inputs, L.Conv2D(4, 3, activation=normalised, name="own")(inputs))
    with pytest.warns(UserWarning, match="refuse this model: layer 'own' has .* each value alone"):
        nested = model.nest(base, (0.5,), exclude=())
    np.testing.assert_array_equal(nested(nets.images(2)), base(nets.images(2)))
    with pytest.raises(
        export_errors.UnsupportedLayerError, match=r"'own' has the activation .* each value alone"
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
        (
            L.UpSampling2D((2, 1500), interpolation="bilinear", name="x"),
            r"\(UpSampling2D\) must have a smaller size .*outside of .*: got 4 pixels to",
        ),
        (L.Resizing(3, 3, name="x"), r"\(Resizing\) .*: do this to the data before"),
        (
            L.Rescaling(np.ones((3, 1)), name="x"),
            r"a scale that broadcasts to its input .* \(3, 1\)",
        ),
        (L.RandomCrop(2, 2, name="x"), r"must keep the size of its images, \w+: got 2x2 \(crop"),
        (
            L.Pipeline([L.RandomFlip(), L.AutoContrast()], name="x"),
            "must hold only layers that augment: got AutoContrast",
        ),
        (L.Activation("glu", name="x"), "has the activation 'glu', which is not supported: use"),
        (L.Dense(3, dtype="int8_from_float32", name="x"), "policy without quantization: got 'int8"),
        (lambda x: L.Dropout(0.5, name="x")(x, training=True), "must be called .*training=True"),
        (lambda x: L.Add(name="x")([x, np.ones((4, 4, 3))]), "outputs of layers alone: .*ndarray"),
        (lambda x: L.Concatenate(0, name="x")([x, x]), "axis than the axis of the batch: got 0"),
        (L.TimeDistributed(L.Conv1D(2, 3), name="x"), "must hold a Dense .*: got Conv1D"),
        (
            L.TimeDistributed(L.Dense(2, activation=L.PReLU()), name="x"),
            "a Dense without PReLU: put",
        ),
        (L.TimeDistributed(L.Dense(2, activation="glu"), name="x"), "has the activation 'glu'"),
        (
            lambda x: L.TimeDistributed(L.Dense(2), name="x")(x, mask=np.ones((1, 4), bool)),
            "must be called with its inputs alone, .*mask=",
        ),
    ],
)
def test_nest_refuses_before_training_what_export_would_refuse(layer, message):
    inputs = keras.Input((6, 6, 3))
    outputs = layer(L.Conv2D(3, 3, name="before")(inputs))
    with pytest.raises(ValueError, match=f"^layer 'x' .*{message}|^layer 'x' {message}") as refusal:
        model.nest(keras.Model(inputs, outputs), exclude=())
    assert len(str(refusal.value)) < 600


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


def test_refuses_a_prelu_of_more_axes_than_tflite_takes():
    x = keras.Input((2, 3, 4, 2))
    base = keras.Model(x, L.PReLU(name="slopes")(L.Dense(2)(x)))
    message = r"'slopes' \(PReLU\) must have inputs of at most 3 axes beside the batch: got 4"
    with pytest.raises(ValueError, match=message):
        model.nest(base, (0.5,), exclude=())
