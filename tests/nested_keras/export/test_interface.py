"""Inputs and outputs of another type than int8, in every runtime."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import nested_keras
from nested_keras import export, firmware
from nested_keras.runtime import LiteRTModel, ReferenceModel
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph

L = keras.layers
pytestmark = pytest.mark.slow
TYPES = [("uint8", "float32"), ("float32", "uint8"), ("uint8", "int8"), ("int8", "uint8")]


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3)).astype(np.uint8)
    return [images, np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)]


@pytest.fixture(scope="module")
def model():
    """Pixels and measurements in, two outputs."""
    keras.utils.set_random_seed(0)
    image, row = keras.Input((5, 4, 3), name="image"), keras.Input((3,), name="row")
    x = L.Conv2D(4, 3, activation="relu")(L.Rescaling(1 / 127.5, -1.0)(image))
    x = L.Add()([L.GlobalAveragePooling2D()(x), L.Dense(4)(row)])
    outputs = [L.Dense(3, activation="softmax")(x), L.Dense(2)(x)]
    nested = nested_keras.nest(keras.Model([image, row], outputs), (0.7, 0.4), exclude=())
    nested.prune()
    return nested


@pytest.fixture(scope="module")
def int8(model, data):
    return export.to_tflite(model, representative_dataset=data)


@pytest.mark.parametrize(("inputs", "outputs"), TYPES)
def test_every_runtime_computes_what_the_int8_model_does(
    model, data, int8, inputs, outputs, tmp_path
):
    tflite = export.to_tflite(
        model,
        representative_dataset=data,
        inference_input_type=inputs,
        inference_output_type=outputs,
    )
    reference, plain = ReferenceModel(tflite), ReferenceModel(int8)
    assert [tensor.dtype for tensor in reference.input_details] == [inputs] * 2
    assert [tensor.dtype for tensor in reference.output_details] == [outputs] * 2
    assert [t.name for t in reference.input_details] == [t.name for t in plain.input_details]
    assert [t.name for t in reference.output_details] == [t.name for t in plain.output_details]
    runtimes = LiteRTModel(tflite), firmware.HostModel(tflite), firmware.TflmModel(tflite)
    device = firmware.QemuModel(tflite, build_dir=tmp_path).run_all(data)
    for level in range(reference.levels):
        expected = reference.run(data, level)
        for got, want, tensor in zip(
            expected, plain.run(data, level), plain.output_details, strict=True
        ):
            np.testing.assert_array_equal(got, as_type(want, tensor, outputs), strict=True)
        for received in (*(each.run(data, level) for each in runtimes), device.outputs[level]):
            for got, want in zip(received, expected, strict=True):
                np.testing.assert_array_equal(got, want, strict=True)


def as_type(codes, tensor, dtype):
    if dtype == "float32":
        return (codes.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    offset = 128 if dtype == "uint8" else 0
    return (codes.astype(np.int16) + offset).astype(dtype)


def test_the_edges_are_operators_of_tflite_with_names_of_the_model(model, data):
    built = export.build(
        model,
        representative_dataset=data,
        inference_input_type=tf.uint8,
        inference_output_type=np.float32,
    )
    for content in (built.tflite, built.dense_tflite):
        graph = read_graph(flatbuffer.load(content))
        kinds = [operator.kind for operator in graph.operators]
        assert kinds[:2] == ["QUANTIZE"] * 2
        assert kinds[-2:] == ["DEQUANTIZE"] * 2
        image = graph.tensors[graph.inputs[0]]
        assert (image.name, image.dtype, image.zero_point) == ("image", "uint8", 0)
        assert image.scale == pytest.approx(1.0)
    (signature,) = flatbuffer.load(built.tflite).root.signatureDefs
    assert [entry.tensorIndex for entry in signature.inputs] == list(
        read_graph(flatbuffer.load(built.tflite)).inputs
    )


def test_pixels_are_codes_of_a_uint8_model_and_real_numbers_of_others(model, data, int8):
    uint8 = export.to_tflite(model, representative_dataset=data, inference_input_type="uint8")
    wide = [data[0].astype(np.float64), data[1].astype(np.float64)]
    want = ReferenceModel(uint8).run(data)
    for content, x in ((int8, data), (int8, wide), (uint8, wide)):
        for got, expected in zip(ReferenceModel(content).run(x), want, strict=True):
            np.testing.assert_array_equal(got, expected)
    codes = [data[0].astype(np.int8), data[1]]
    with pytest.raises(ValueError, match="'image' must be uint8 or real numbers: got int8"):
        ReferenceModel(uint8).run(codes)


@pytest.mark.parametrize("wrong", ["int16", np.float64, None])
def test_other_types_are_refused(model, data, wrong):
    with pytest.raises(
        export.ExportError, match="inference_output_type must be one of int8, uint8"
    ):
        export.to_tflite(model, representative_dataset=data, inference_output_type=wrong)
