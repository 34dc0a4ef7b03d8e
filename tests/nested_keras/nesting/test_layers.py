import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras.nesting import layers, masks
from tests.nested_keras import nets

SPARSITIES = (0.9, 0.6, 0.25)
# Each nested layer beside the Keras layer it stands for.
PAIRS = {
    "conv": (
        layers.NestedConv2D,
        keras.layers.Conv2D,
        {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        (6, 6, 3),
    ),
    "conv_dilated": (
        layers.NestedConv2D,
        keras.layers.Conv2D,
        {"filters": 2, "kernel_size": (1, 3), "dilation_rate": 2, "use_bias": False},
        (6, 6, 3),
    ),
    "conv_groups": (
        layers.NestedConv2D,
        keras.layers.Conv2D,
        {"filters": 4, "kernel_size": (3, 2), "groups": 2, "activation": "relu"},
        (6, 6, 6),
    ),
    "transposed": (
        layers.NestedConv2DTranspose,
        keras.layers.Conv2DTranspose,
        {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        (4, 3, 3),
    ),
    "transposed_valid": (
        layers.NestedConv2DTranspose,
        keras.layers.Conv2DTranspose,
        {"filters": 2, "kernel_size": (1, 3), "strides": (2, 1), "activation": "relu"},
        (4, 3, 3),
    ),
    "transposed_1d": (
        layers.NestedConv1DTranspose,
        keras.layers.Conv1DTranspose,
        {"filters": 5, "kernel_size": 4, "strides": 3, "padding": "same", "activation": "relu"},
        (7, 3),
    ),
    "depthwise": (
        layers.NestedDepthwiseConv2D,
        keras.layers.DepthwiseConv2D,
        {"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "activation": "tanh"},
        (6, 6, 3),
    ),
    "conv1d": (
        layers.NestedConv1D,
        keras.layers.Conv1D,
        {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        (9, 3),
    ),
    "conv1d_groups": (
        layers.NestedConv1D,
        keras.layers.Conv1D,
        {"filters": 4, "kernel_size": 3, "groups": 2},
        (9, 6),
    ),
    "conv1d_causal": (
        layers.NestedConv1D,
        keras.layers.Conv1D,
        {"filters": 2, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        (9, 3),
    ),
    "depthwise1d": (
        layers.NestedDepthwiseConv1D,
        keras.layers.DepthwiseConv1D,
        {"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "activation": "tanh"},
        (9, 3),
    ),
    "dense": (layers.NestedDense, keras.layers.Dense, {"units": 7, "activation": "relu"}, (5,)),
    "dense_3d": (layers.NestedDense, keras.layers.Dense, {"units": 4, "use_bias": False}, (2, 5)),
}


def make(name, **kwargs):
    """Returns a built nested layer with random weights, its twin's class and config, a batch."""
    nested_class, twin_class, config, shape = PAIRS[name]
    layer = nested_class(**config, sparsities=SPARSITIES, **kwargs)
    x = nets.images(4, shape)
    layer(x)
    nets.randomise(layer, seed=3)
    return layer, twin_class(**config), x


@pytest.mark.parametrize("name", PAIRS)
def test_each_level_is_the_plain_layer_with_a_masked_kernel(name):
    layer, twin, x = make(name)
    kernel = layer.kernel.numpy()
    twin(x)
    if layer.use_bias:
        twin.bias.assign(layer.bias)
    twin.kernel.assign(kernel)
    for level in (None, 0, 1, 2):
        np.testing.assert_array_equal(layer(x, level=level), twin(x), "dense until pruned")
    layer.prune()
    np.testing.assert_array_equal(layer.level_map.numpy(), masks.level_map(kernel, SPARSITIES))
    for level in range(3):
        twin.kernel.assign(np.where(layer.level_map.numpy() <= level, kernel, 0))
        np.testing.assert_array_equal(layer(x, level=level), twin(x))
        np.testing.assert_array_equal(layer.mask(level), layer.level_map.numpy() <= level)
    np.testing.assert_array_equal(layer(x), twin(x), "no level is the densest")


@pytest.mark.parametrize("name", PAIRS)
def test_gradient_is_zero_outside_the_mask(name):
    layer, _, x = make(name)
    layer.prune()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x, level=1)))
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    assert not gradient[~layer.mask(1)].any()
    assert gradient[layer.mask(1)].any()


@pytest.mark.parametrize("name", PAIRS)
def test_layer_survives_saving_with_its_mask(name, tmp_path):
    layer, _, x = make(name)
    layer.prune()
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs, level=1))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded.layers[1].level_map, layer.level_map)
    assert loaded.layers[1].get_config() == layer.get_config()
    assert loaded.layers[1].sparsities == SPARSITIES


def test_blocks_run_along_the_input_channels():
    layer, _, _ = make("conv", block_shape=(1, 2))
    kernel = layer.kernel.numpy()
    layer.prune(0.5)
    expected = masks.level_map(kernel, [s * 0.5 for s in SPARSITIES], block_shape=(1, 2))
    np.testing.assert_array_equal(layer.level_map.numpy(), expected)
    assert layer.get_config()["block_shape"] == [1, 2]


def test_blocks_of_a_transposed_kernel_run_along_its_last_axis():
    """A kernel of Conv2DTranspose is (kernel_h, kernel_w, out, in)."""
    layer, _, _ = make("transposed", block_shape=(1, 2))
    assert layer.kernel.shape == (3, 3, 5, 3)
    layer.prune()
    level_map = layer.level_map.numpy()
    np.testing.assert_array_equal(level_map[..., 0], level_map[..., 1])
    assert layer.blocks == 3 * 3 * 5 * 2
    assert [layer.kept_blocks(level) for level in range(layer.levels)] == [
        layer.final_blocks(level) for level in range(layer.levels)
    ]


def test_pruning_zeroes_what_no_level_uses():
    layer, _, _ = make("conv")
    kernel = layer.kernel.numpy()
    layer.prune()
    kept = layer.mask(2)
    np.testing.assert_array_equal(layer.kernel.numpy(), np.where(kept, kernel, 0))


def test_a_weight_that_a_level_has_lost_stays_lost_unless_weights_may_regrow():
    layer, _, _ = make("conv")
    layer.prune()
    before = layer.level_map.numpy()
    kernel = np.where(before == 0, 0.1, np.where(before == 3, 0.0, 1.0 + before))
    layer.kernel.assign(kernel)
    layer.prune()
    np.testing.assert_array_equal(layer.level_map.numpy(), before)
    layer.prune(regrow=True)
    np.testing.assert_array_equal(layer.level_map.numpy(), masks.level_map(kernel, SPARSITIES))
    assert (layer.level_map.numpy() != before).any()


def test_mixed_precision_runs_in_half_and_keeps_float_weights():
    layer, _, x = make("conv", dtype="mixed_bfloat16")
    layer.prune()
    assert layer(x, level=0).dtype == tf.bfloat16
    assert layer.kernel.dtype == "float32"
    assert layer.level_map.dtype == "uint8"


def test_wrong_arguments_are_refused():
    conv = {"filters": 4, "kernel_size": 3, "sparsities": (0.5,), "name": "c"}
    with pytest.raises(ValueError, match="c: data_format must be 'channels_last': got 'channels_f"):
        layers.NestedConv2D(**conv, data_format="channels_first")
    with pytest.raises(ValueError, match=r"block_shape must be one of .*: got \(1, 3\)"):
        layers.NestedConv2D(**conv, block_shape=(1, 3))
    with pytest.raises(ValueError, match=r"must not increase .* got \(0.1, 0.2\)"):
        layers.NestedDense(4, sparsities=(0.1, 0.2))
    with pytest.raises(ValueError, match=r"d: block_shape of a depthwise kernel .* got \(1, 2\)"):
        layers.NestedDepthwiseConv2D(3, sparsities=(0.5,), block_shape=(1, 2), name="d")
    with pytest.raises(ValueError, match=r"d: block_shape of a depthwise kernel .* got \(1, 2\)"):
        layers.NestedDepthwiseConv1D(3, sparsities=(0.5,), block_shape=(1, 2), name="d")


def test_wrong_levels_and_ratios_are_refused():
    layer, _, x = make("dense")
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        layer(x, level=3)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got -1"):
        layer.mask(-1)
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\]: got 1.5"):
        layer.prune(1.5)


def make_norms(shape=(4, 4, 3), **kwargs):
    """Returns a norm of three levels and a plain Keras norm per level, of equal random weights."""
    norm = layers.NestedBatchNormalization(levels=3, momentum=0.7, epsilon=1e-2, **kwargs)
    norm.build((None, *shape))
    nets.randomise(norm, seed=5)
    twins = []
    for level in range(3):
        twin = keras.layers.BatchNormalization(momentum=0.7, epsilon=1e-2, **kwargs)
        twin.build((None, *shape))
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            if getattr(twin, name) is not None:
                getattr(twin, name).assign(getattr(norm, name)[level])
        twins.append(twin)
    return norm, twins


@pytest.mark.parametrize("kwargs", [{}, {"center": False}, {"scale": False}])
@pytest.mark.parametrize("shape", [(4, 4, 3), (5, 3), (1, 1, 3), (3,)])
def test_batch_norm_is_keras_batch_norm_at_each_level(shape, kwargs):
    norm, twins = make_norms(shape, **kwargs)
    x = nets.images(8, shape) * 2 + 1
    # On images and series TensorFlow's fused operator trains, which rounds otherwise.
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=0 if shape == (3,) else 2e-6)
    np.testing.assert_array_equal(norm(x, level=1), twins[1](x))
    for level in (1, 0, 2, 1):
        close(norm(x, training=True, level=level), twins[level](x, training=True))
        for row, twin in enumerate(twins):
            close(norm.moving_mean[row], twin.moving_mean)
            close(norm.moving_variance[row], twin.moving_variance)
        close(norm(x, level=level), twins[level](x))
    np.testing.assert_array_equal(norm(x), norm(x, level=2), "no level is the densest")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_batch_norm_has_the_gradients_of_keras_batch_norm(dtype):
    norm, twins = make_norms(dtype=dtype)
    x = tf.constant(nets.images(8, (4, 4, 3)))
    weight = tf.constant(nets.images(8, (4, 4, 3), seed=1))
    gradients = []
    for layer, variables, kwargs in (
        (norm, [norm.gamma, norm.beta], {"level": 1}),
        (twins[1], [twins[1].gamma, twins[1].beta], {}),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.cast(layer(x, training=True, **kwargs), tf.float32)
            loss = tf.reduce_sum(weight * outputs)
        gradients.append(tape.gradient(loss, [x, *(v.value for v in variables)]))
    (dx, *dvariables), (twin_dx, *twin_dvariables) = gradients
    tolerance = 1e-4 if dtype == "float32" else 0.1  # the weights are up to 4, of 8 bits
    np.testing.assert_allclose(dx, twin_dx, rtol=0, atol=tolerance)
    for gradient, twin in zip(dvariables, twin_dvariables, strict=True):
        np.testing.assert_allclose(gradient[1], twin, rtol=0, atol=tolerance * 10)
        np.testing.assert_array_equal(tf.gather(gradient, [0, 2]), np.zeros((2, 3)))


def test_frozen_batch_norm_runs_in_inference():
    norm, _ = make_norms(trainable=False)
    x = nets.images(8, (4, 4, 3))
    before = norm.moving_mean.numpy()
    np.testing.assert_array_equal(norm(x, training=True, level=0), norm(x, level=0))
    np.testing.assert_array_equal(norm.moving_mean.numpy(), before)


def test_batch_norm_honours_masks():
    norm, twins = make_norms(shape=(5, 3))
    x = nets.images(4, (5, 3))
    mask = np.arange(5)[None, :] < np.array([[5], [2], [1], [3]])
    np.testing.assert_array_equal(
        norm(x, training=True, mask=mask, level=1), twins[1](x, training=True, mask=mask)
    )


def test_batch_norm_hands_its_statistics_to_the_sink():
    norm, _ = make_norms()
    x = nets.images(8, (4, 4, 3))
    before = norm.moving_mean.numpy()
    found = []
    norm.statistics_sink = lambda *args: found.append(args)
    outputs = norm(x, training=False, level=1)
    norm.statistics_sink = None
    ((layer, level, mean, variance),) = found
    assert layer is norm
    assert level == 1
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, x.var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), before)
    normal = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-2)
    expected = normal * norm.gamma.numpy()[1] + norm.beta.numpy()[1]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_config_round_trip():
    norm, _ = make_norms(gamma_regularizer="l2")
    copy = layers.NestedBatchNormalization.from_config(norm.get_config())
    assert copy.get_config() == norm.get_config()
    assert copy.levels == 3
    assert norm.gamma.shape == (3, 3)
    assert norm.gamma.regularizer is not None


def test_wrong_batch_norms_are_refused():
    with pytest.raises(ValueError, match="b: axis must be -1: got 1"):
        layers.NestedBatchNormalization(levels=2, axis=1, name="b")
    with pytest.raises(ValueError, match=r"levels must be in 1\.\.16: got 17"):
        layers.NestedBatchNormalization(levels=17)
    with pytest.raises(ValueError, match="b: renorm must be False: got True"):
        layers.NestedBatchNormalization(levels=2, renorm=True, name="b")
    norm, _ = make_norms()
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        norm(nets.images(2, (4, 4, 3)), level=3)
