"""Models as people bring them, the whole way: nest, train, prune, save, export, every runtime."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import nested_keras
from nested_keras import callbacks, export, firmware, runtime

L = keras.layers
ops = keras.ops
SPARSITIES = (0.9, 0.7)
EXAMPLES = 16
# How far an int8 output may be from the float one in steps, if not by `Model.share`.
STEPS = 4


@dataclasses.dataclass(frozen=True)
class Model:
    """A model and how its inputs look.

    Attributes:
      build: Makes the model.
      loss: One loss, or one per output.
      scale: Standard deviation of the inputs.
      offset: Their mean.
      fits_the_board: Whether the emulated board has the memory for it.
      share: How far an int8 output may be from the float one, as a share of the range of outputs.
    """

    build: Callable[[], Any]
    loss: Any = "sparse_categorical_crossentropy"
    scale: float = 1.0
    offset: float = 0.0
    fits_the_board: bool = True
    share: float = 0.08


def se_resnet():
    """Residual blocks with a squeeze-and-excite gate, written as operators."""
    inputs = keras.Input((16, 16, 3))
    x = L.Rescaling(1 / 64, -2.0)(inputs)
    x = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    for filters, strides in ((8, 1), (16, 2)):
        y = L.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        y = ops.relu(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same", use_bias=False)(y))
        gate = ops.mean(y, axis=(1, 2), keepdims=True)
        gate = ops.relu(L.Conv2D(filters // 4, 1)(gate))
        gate = ops.relu6(L.Conv2D(filters, 1)(gate) + 3.0) / 6.0
        if strides == 2:
            x = ops.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))
        x = ops.relu(y * gate + x)
    return keras.Model(inputs, L.Dense(4, activation="softmax")(ops.mean(x, (1, 2))))


def two_towers():
    """One tower for two images, and how far its outputs are apart."""
    image = keras.Input((12, 12, 1))
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = L.Conv2D(12, 3, padding="same", activation="relu")(x)
    tower = keras.Model(image, L.GlobalAveragePooling2D()(x), name="tower")
    left, right = keras.Input((12, 12, 1), name="left"), keras.Input((12, 12, 1), name="right")
    a, b = tower(left), tower(right)
    x = ops.concatenate([abs(a - b), a * b], axis=-1)
    return keras.Model([left, right], L.Dense(1, activation="sigmoid")(x))


def autoencoder():
    """Images down to a vector and up again."""
    inputs = keras.Input((8, 8, 2))
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    x = L.Dense(6, activation="relu")(L.Flatten()(x))
    x = ops.reshape(L.Dense(4 * 4 * 8, activation="relu")(x), (-1, 4, 4, 8))
    x = L.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, L.Conv2D(2, 3, padding="same")(x))


def several_inputs_and_outputs():
    """An image and a vector; a class, a place and a map."""
    image, state = keras.Input((10, 8, 3), name="image"), keras.Input((5,), name="state")
    x = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    y = L.Dense(8, activation="relu")(state)
    x = L.Conv2D(8, 3, activation="relu")(x + ops.reshape(y, (-1, 1, 1, 8)))
    pooled = ops.concatenate([ops.max(x, (1, 2)), y], axis=-1)
    kind = L.Dense(3, activation="softmax", name="kind")(pooled)
    place = 2.0 * L.Dense(2, activation="tanh", name="place")(pooled)
    return keras.Model({"image": image, "state": state}, [kind, place, ops.sigmoid(x[..., :1])])


SMALL = {
    "se_resnet": Model(se_resnet, scale=40.0, offset=128.0),
    "two_towers": Model(two_towers, "binary_crossentropy"),
    "autoencoder": Model(autoencoder, "mse"),
    "several_inputs_and_outputs": Model(
        several_inputs_and_outputs, ["sparse_categorical_crossentropy", "mse", "mse"]
    ),
}


def application(name, side=32, *, preprocesses=False, share=0.08):
    """A model of keras.applications with random weights, and ten classes."""

    def build():
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(side, side, 3), classes=10)

    scale, offset = (60.0, 128.0) if preprocesses else (1.0, 0.0)
    return Model(build, scale=scale, offset=offset, fits_the_board=name in BOARD, share=share)


BOARD = {"MobileNet", "MobileNetV2", "MobileNetV3Small"}
LARGE = {
    "MobileNet": application("MobileNet"),
    "MobileNetV2": application("MobileNetV2"),
    "MobileNetV3Small": application("MobileNetV3Small", preprocesses=True),
    "EfficientNetB0": application("EfficientNetB0", preprocesses=True),
    "EfficientNetV2B0": application("EfficientNetV2B0", preprocesses=True),
    # Random weights enlarge what rounding takes away: a float model that rounds each activation is
    # off as far as int8, and one that rounds the weights alone is off by 0.03 to 0.15.
    "NASNetMobile": application("NASNetMobile", share=0.4),
    "ResNet50": application("ResNet50"),
    "Xception": application("Xception", 71),
    "DenseNet121": application("DenseNet121"),
    "VGG16": application("VGG16"),
}


def as_trained(base):
    """Gives biases and BatchNorm values that a trained model has."""
    rng = np.random.default_rng(1)
    for weight in base.weights:
        name = weight.path.split("/")[-1]
        if name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.6, 1.5, weight.shape))
    return base


def examples(base, made):
    """Inputs and targets, random."""
    rng = np.random.default_rng(0)

    def array(tensor):
        shape = (EXAMPLES, *tensor.shape[1:])
        return (made.scale * rng.normal(size=shape) + made.offset).astype("float32")

    x = keras.tree.map_structure(array, base.input)
    losses = made.loss if isinstance(made.loss, list) else [made.loss]
    y = [
        rng.integers(0, tensor.shape[-1], EXAMPLES)
        if loss.startswith("sparse")
        else rng.uniform(0, 1, (EXAMPLES, *tensor.shape[1:])).astype("float32")
        for tensor, loss in zip(base.outputs, losses, strict=True)
    ]
    return x, y if isinstance(made.loss, list) else y[0]


def trained(base, made, x, y):
    """Two steps of training, with the levels at their sparsities."""
    nested = nested_keras.nest(base, SPARSITIES)
    nested.compile("adam", made.loss)
    pruning = callbacks.NestedPruning()
    nested.fit(x, y, batch_size=EXAMPLES // 2, verbose=0, callbacks=[pruning])
    for level, sparsity in enumerate(SPARSITIES):
        assert nested.level_sparsity(level) == pytest.approx(sparsity, abs=0.02)
    return nested


def flat(outputs):
    return [np.asarray(each) for each in keras.tree.flatten(outputs)]


def go(name, made, folder, object_cache):
    keras.utils.set_random_seed(0)
    base = as_trained(made.build())
    x, y = examples(base, made)
    nested = trained(base, made, x, y)
    nested.save(folder / "model.keras")
    again = nested_keras.load_model(folder / "model.keras")
    tflite = export.to_tflite(nested, representative_dataset=x)
    reference = runtime.ReferenceModel(tflite)
    few = keras.tree.map_structure(lambda array: array[:4], x)
    feed = keras.tree.flatten(few) if len(base.inputs) > 1 else few
    others = {
        "LiteRT": runtime.LiteRTModel(tflite).run,
        "C": firmware.HostModel(tflite, cache_dir=object_cache).run,
    }
    if made.fits_the_board:
        device = firmware.QemuModel(tflite, build_dir=folder / "board", cache_dir=object_cache)
        outputs = device.run_all(feed).outputs
        others["QEMU"] = lambda _, level: outputs[level]
    for level in range(nested.levels):
        floats = flat(nested.at_level(level)(few, training=False))
        for got, want in zip(flat(again.at_level(level)(few, training=False)), floats, strict=True):
            np.testing.assert_array_equal(got, want)
        ints = flat(reference.run(feed, level))
        for other, run in others.items():
            for got, want in zip(flat(run(feed, level)), ints, strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"{name}: {other}, level {level}")
        for got, want, tensor in zip(ints, floats, reference.output_details, strict=True):
            real = (got.astype(np.float32) - tensor.zero_point) * tensor.scale
            off = np.abs(real.reshape(want.shape) - want).max()
            assert off <= max(made.share * np.ptp(want), STEPS * tensor.scale), (
                f"{name}, level {level}"
            )


@pytest.mark.slow
@pytest.mark.arm
@pytest.mark.parametrize("name", SMALL)
def test_small_models_go_the_whole_way(name, tmp_path, object_cache):
    go(name, SMALL[name], tmp_path, object_cache)


@pytest.mark.large
@pytest.mark.slow
@pytest.mark.arm
@pytest.mark.parametrize("name", LARGE)
def test_keras_applications_go_the_whole_way(name, tmp_path, object_cache):
    go(name, LARGE[name], tmp_path, object_cache)
