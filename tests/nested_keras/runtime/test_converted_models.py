"""Whole models as TensorFlow's converter writes them, against LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nested_keras.runtime import LiteRTModel, ReferenceModel, lower
from tests.nested_keras.runtime.oracle import Draw

SHAPE = (12, 11, 3)
# The converter says so for every full-integer conversion, and calibrates nevertheless.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected:UserWarning"),
]


def network(keras: Any) -> Any:
    """Every builtin layer of the exporter's reach, with branches, on a batch of one."""
    layers = keras.layers
    x = inputs = keras.Input(batch_shape=(1, *SHAPE))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = layers.BatchNormalization()(x)
    x = trunk = layers.ReLU(max_value=6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.Conv2D(8, 1)(x)
    x = layers.ReLU()(layers.Add()([x, trunk]))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    pooled = layers.MaxPooling2D(2, padding="same")(x)
    other = layers.AveragePooling2D(2, padding="same")(layers.Activation("tanh")(x))
    x = layers.Concatenate()([pooled, other])
    x = layers.Conv2D(6, 3, padding="same", activation="hard_swish")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(16, activation="relu")(x)
    x = layers.Dense(5, activation="softmax")(x)
    return keras.Model(inputs, x)


def convert(model: Any, interface: str) -> bytes:
    """Full-integer conversion; `interface` is the type of the graph's inputs and outputs."""
    tf = pytest.importorskip("tensorflow")
    samples = np.random.default_rng(0).normal(size=(8, 1, *SHAPE)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(interface)
    return converter.convert()


@pytest.fixture(scope="module")
def keras_model() -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    return network(keras)


def test_every_operator_is_exact(keras_model: Any) -> None:
    model = convert(keras_model, "int8")
    kinds = {type(op).__name__ for op in lower(model).ops}
    assert kinds >= {
        "Add", "AveragePool2D", "Concatenation", "Conv2D", "DepthwiseConv2D", "FullyConnected",
        "Lookup", "MaxPool2D", "Mean", "Mul", "Pad", "Reshape", "Softmax",
    }  # fmt: skip
    reference, litert = ReferenceModel(model), LiteRTModel(model)
    x = Draw(1).int8(40, *SHAPE)
    np.testing.assert_array_equal(reference.run(x), litert.run(x), strict=True)


def test_float_interface_is_exact(keras_model: Any) -> None:
    model = convert(keras_model, "float32")
    kinds = [type(op).__name__ for op in lower(model).ops]
    assert (kinds[0], kinds[-1]) == ("Quantize", "Dequantize")
    reference, litert = ReferenceModel(model), LiteRTModel(model)
    x = np.random.default_rng(2).normal(size=(20, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(reference.run(x), litert.run(x), strict=True)
