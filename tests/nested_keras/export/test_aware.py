"""Quantisation-aware training: what is trained is what the file computes."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras import callbacks, export, load_model, nest
from nested_keras.distillation import Distillation
from nested_keras.runtime import ReferenceModel
from tests import zoo
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

LOSS = "sparse_categorical_crossentropy"


def blobs(count, *, seed):
    """Images of three classes that a small network tells apart by their colours."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.normal(scale=0.7, size=(count, 6, 6, 3)) + 0.2 * np.eye(3)[y][:, None, None]
    return x.astype("float32"), y


def network():
    x = inputs = keras.Input((6, 6, 3))
    for filters, name in ((8, "first"), (8, "second"), (8, "third")):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_norm")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@functools.cache
def trained_weights():
    keras.utils.set_random_seed(0)
    nested = nest(network(), (0.7, 0.4))
    nested.compile(keras.optimizers.Adam(1e-2), LOSS)
    images, labels = blobs(512, seed=0)
    with pytest.warns(UserWarning, match="levels are not at their sparsities"):
        nested.fit(images, labels, epochs=3, verbose=0)  # dense first
    nested.prune()
    nested.fit(images, labels, epochs=3, verbose=0)
    callbacks.reestimate_batch_norm(nested, images)
    return nested.get_weights()


def trained(*, stretch=1.0):
    """A trained nested model whose second layer's channels differ in scale.

    `stretch` multiplies some input channels of the second layer's filters and divides what feeds
    them, which changes nothing in float; in int8, the other weights of each filter get few steps.
    """
    nested = nest(network(), (0.7, 0.4))
    nested.compile(keras.optimizers.Adam(1e-2), LOSS, metrics=["accuracy"])
    nested.set_weights(trained_weights())
    factors = np.ones(8)
    factors[:2] = stretch
    norm, second = nested.get_layer("first_norm"), nested.get_layer("second")
    norm.gamma.assign(norm.gamma.numpy() / factors)
    norm.beta.assign(norm.beta.numpy() / factors)
    second.kernel.assign(second.kernel.numpy() * factors[:, None])
    return nested


def int8_outputs(tflite, x, level):
    reference = ReferenceModel(tflite)
    detail = reference.output_details[0]
    return (reference.run(x, level=level).astype(float) - detail.zero_point) * detail.scale


def int8_accuracy(tflite, x, y):
    levels = range(ReferenceModel(tflite).levels)
    return [float(np.mean(int8_outputs(tflite, x, level).argmax(-1) == y)) for level in levels]


@pytest.mark.parametrize(
    "name",
    [
        "block2",
        "conv3x3_same",
        "depthwise_nested",
        "dense_bn",
        "residual",
        "separable",
        "squeeze_excite",
        "two_inputs",
        "two_outputs",
    ],
)
def test_every_level_computes_what_the_file_does(name):
    made = zoo.make(name)
    model, data = made.model, made.data
    before = [variable.numpy() for variable in model.variables]
    export.quantize_aware(model, representative_dataset=data)
    tflite = export.to_tflite(model, representative_dataset=data)
    assert tflite == zoo.exported(name).tflite, "nothing was trained"
    reference = ReferenceModel(tflite)
    for level in range(model.levels):
        outputs = keras.tree.flatten(model.at_level(level)(data))
        expected = keras.tree.flatten(reference.run(data, level=level))
        for got, want, detail in zip(outputs, expected, reference.output_details, strict=True):
            steps = got.numpy() / detail.scale - (want.astype(float) - detail.zero_point)
            assert np.abs(steps).max() <= 1.01
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_steps_that_tflite_fixes_are_rounded_to_but_not_in_outputs():
    inputs = keras.Input((6,))
    x = 0.02 * keras.layers.Dense(8)(inputs)
    gate = keras.layers.Dense(4, activation="sigmoid")(x)
    small = keras.ops.minimum(0.02 * gate, keras.ops.tanh(keras.layers.Dense(4)(x)))
    model = nest(keras.Model(inputs, [50.0 * small, keras.ops.reshape(gate, (-1, 2, 2))]), (0.5,))
    model.prune()
    data = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    plain = model(data)
    export.quantize_aware(model, representative_dataset=data)
    reference = ReferenceModel(export.to_tflite(model, representative_dataset=data))
    got, ints = model.at_level(0)(data), reference.run(data, level=0)
    detail = reference.output_details[0]
    steps = got[0].numpy() / detail.scale - (ints[0].astype(float) - detail.zero_point)
    assert np.abs(steps).max() <= 1.01  # 16 without the rounding of tanh
    # A loss may take the logarithm of a probability, which rounds to zero.
    assert len(np.unique(got[1])) > len(np.unique(ints[1]))
    np.testing.assert_allclose(got[1], plain[1], atol=0.01)


def test_what_int8_costs_is_won_back():
    nested = trained(stretch=300.0)
    x, y = blobs(512, seed=0)
    x_test, y_test = blobs(512, seed=1)

    def exported():
        return export.to_tflite(nested, representative_dataset=x)

    floats = [row["accuracy"] for row in nested.evaluate_levels(x_test, y_test)]
    lost = int8_accuracy(exported(), x_test, y_test)
    assert np.subtract(floats, lost).max() > 0.1
    export.quantize_aware(nested, representative_dataset=x)
    np.testing.assert_allclose(
        [row["accuracy"] for row in nested.evaluate_levels(x_test, y_test)], lost, atol=0.03
    )
    maps = [layer.level_map.numpy() for layer in nested.nested_layers]
    nested.fit(x, y, epochs=4, verbose=0)
    for layer, level_map in zip(nested.nested_layers, maps, strict=True):
        np.testing.assert_array_equal(layer.level_map, level_map)
    won = int8_accuracy(exported(), x_test, y_test)
    assert np.subtract(floats, won).max() < 0.07
    np.testing.assert_allclose(
        [row["accuracy"] for row in nested.evaluate_levels(x_test, y_test)], won, atol=0.03
    )


def test_gradients_reach_kernels_gamma_and_beta_through_the_rounding():
    nested = trained()
    x, _ = blobs(16, seed=0)
    export.quantize_aware(nested, representative_dataset=x)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(nested.at_level(0)(x)))
    gradients = tape.gradient(loss, nested.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert all(np.any(gradient) for gradient in gradients)
    for layer in nested.nested_layers:
        at = [v is layer.kernel for v in nested.trainable_variables].index(True)
        assert not np.any(gradients[at].numpy()[~layer.mask(0)])
    moving = nested.get_layer("first_norm").moving_mean.numpy()
    nested.fit(x, np.zeros(16), epochs=1, verbose=0)
    np.testing.assert_array_equal(nested.get_layer("first_norm").moving_mean, moving)


def test_ranges_are_saved_and_loaded(tmp_path):
    nested = trained()
    x, y = blobs(64, seed=0)
    export.quantize_aware(nested, representative_dataset=x)
    nested.fit(x, y, epochs=1, verbose=0)
    tflite = export.to_tflite(nested, representative_dataset=x)
    nested.save(tmp_path / "model.keras")
    copy = load_model(tmp_path / "model.keras")
    assert copy.quantization == nested.quantization
    for level in range(nested.levels):
        np.testing.assert_array_equal(copy.at_level(level)(x), nested.at_level(level)(x))
    assert copy.evaluate_levels(x, y) == nested.evaluate_levels(x, y)
    with pytest.raises(
        ValueError, match=r"quantize-aware model must be saved as \.keras: got .*h5"
    ):
        nested.save(tmp_path / "model.h5")  # which has no place for the ranges
    # Other data have other ranges: those of the file count.
    assert export.to_tflite(copy, representative_dataset=3 * x) == tflite
    for model in (nested, copy):  # the optimizer is loaded, too
        model.fit(x, y, epochs=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(copy.at_level(1)(x), nested.at_level(1)(x), atol=1e-6)
    fresh = trained()
    export.quantize_aware(fresh, representative_dataset=3 * x)  # other ranges than the file's
    nested.save_weights(tmp_path / "w.weights.h5")
    fresh.load_weights(tmp_path / "w.weights.h5")
    assert fresh.quantization == nested.quantization
    np.testing.assert_array_equal(fresh.at_level(0)(x), nested.at_level(0)(x))


def test_options_of_training_go_with_it():
    nested = trained()
    x, y = blobs(64, seed=0)
    export.quantize_aware(nested, representative_dataset=x)
    nested.compile(
        keras.optimizers.Adam(1e-3),
        LOSS,
        metrics=["accuracy"],
        routing=0.5,
        distillation=Distillation(in_place=True),
    )
    history = nested.fit(x, y, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert {"level_0_accuracy", "level_1_accuracy"} <= set(history)


def test_statistics_cannot_move_under_the_scales():
    nested = trained()
    x, _ = blobs(16, seed=0)
    export.quantize_aware(nested, representative_dataset=x)
    with pytest.raises(ValueError, match=r"BatchNorm statistics must stay after .*quantize_aware"):
        callbacks.reestimate_batch_norm(nested, x)


def test_a_model_in_mixed_precision_rounds_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        base = nets.randomise(network(), seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    nested = nest(base, (0.5,))
    nested.prune()
    x = nets.images(16)
    export.quantize_aware(nested, representative_dataset=x)
    assert nested.at_level(0)(x).dtype == "float32"
