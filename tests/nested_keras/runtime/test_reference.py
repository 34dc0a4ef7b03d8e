from pathlib import Path

import numpy as np
import pytest

from nested_keras.runtime import ModelError, ReferenceModel
from tests.nested_keras.runtime.oracle import Draw
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.slow

SHAPE = (1, 5, 3, 4)


@pytest.fixture(scope="module")
def model() -> bytes:
    layers = [
        random_layer(conv_params(), levels=3, seed=0),
        random_layer(dense_params(input_offset=7), levels=3, seed=1),
    ]
    return nested_model(*layers, shapes=(SHAPE, SHAPE, (1, 5)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return Draw(0).int8(70, *SHAPE[1:])  # more than one internal chunk


def test_details(model: bytes) -> None:
    reference = ReferenceModel(model)
    assert reference.levels == 3
    (x,), (y,) = reference.input_details, reference.output_details
    assert (x.name, x.shape, x.dtype, x.zero_point) == ("image", SHAPE, "int8", 3)
    assert (y.shape, y.dtype, y.zero_point) == ((1, 5), "int8", -7)
    assert x.scale == pytest.approx(0.05)


def test_levels_differ_and_the_densest_is_the_default(model: bytes, images: np.ndarray) -> None:
    reference = ReferenceModel(model)
    outputs = [reference.run(images, level) for level in range(3)]
    assert outputs[0].shape == (70, 5)
    assert outputs[0].dtype == np.int8
    assert not np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[1], outputs[2])
    np.testing.assert_array_equal(reference.run(images), outputs[2])


def test_batches_give_what_single_images_give(model: bytes, images: np.ndarray) -> None:
    reference = ReferenceModel(model)
    singles = [reference.run(images[i : i + 1], 1) for i in range(len(images))]
    np.testing.assert_array_equal(reference.run(images, 1), np.concatenate(singles))


def test_float_images_are_quantised(model: bytes, images: np.ndarray) -> None:
    reference = ReferenceModel(model)
    real = (images.astype(np.float32) - 3) * np.float32(0.05)
    np.testing.assert_array_equal(reference.run(real), reference.run(images))


def test_a_path(model: bytes, images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    for name in (path, str(path)):
        np.testing.assert_array_equal(
            ReferenceModel(name).run(images), ReferenceModel(model).run(images)
        )


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.tflite"):
        ReferenceModel(tmp_path / "nothing.tflite")


def test_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "text.tflite"
    path.write_text("hello, this is no model")
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        ReferenceModel(path)


@pytest.mark.parametrize("level", [-1, 3])
def test_level_out_of_range(model: bytes, images: np.ndarray, level: int) -> None:
    with pytest.raises(ValueError, match=rf"level must be in 0\.\.2: got {level}"):
        ReferenceModel(model).run(images, level)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.zeros((2, 5, 4, 4), np.int8), r"shape \['n', 5, 3, 4\]: got \[2, 5, 4, 4\]"),
        (np.zeros((5, 3, 4), np.int8), r"shape \['n', 5, 3, 4\]: got \[5, 3, 4\]"),
        (np.zeros(SHAPE, np.complex64), "must be int8 or real numbers: got complex64"),
        (np.zeros((0, 5, 3, 4), np.int8), r"positive multiple of 1, .*: got \[0\]"),
        ([np.zeros(SHAPE, np.int8)] * 2, "expected 1 inputs: got 2"),
    ],
)
def test_wrong_inputs(model: bytes, x: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ReferenceModel(model).run(x)


def test_several_inputs_and_outputs() -> None:
    builder = ModelBuilder()
    a, b = (builder.tensor((1, 4), scale=0.5, name=name) for name in "ab")
    total, larger = (builder.tensor((1, 4), scale=0.5) for _ in range(2))
    builder.op("ADD", [a, b], [total], "AddOptions")
    builder.op("RELU", [total], [larger])
    reference = ReferenceModel(builder.build([a, b], [total, larger]))
    x, y = np.array([[1, -2, 3, 100]] * 3, np.int8), np.array([[1, 1, 1, 100]] * 3, np.int8)
    outputs = reference.run([x, y])
    assert isinstance(outputs, tuple)
    assert outputs[0].tolist() == [[2, -1, 4, 127]] * 3
    assert outputs[1].tolist() == [[2, 0, 4, 127]] * 3


def test_inputs_of_different_lengths() -> None:
    builder = ModelBuilder()
    a, b, y = (builder.tensor((1, 4), scale=0.5) for _ in range(3))
    builder.op("ADD", [a, b], [y], "AddOptions")
    with pytest.raises(ValueError, match=r"the same for all inputs: got \[1, 2\]"):
        ReferenceModel(builder.build([a, b], [y])).run(
            [np.zeros((1, 4), np.int8), np.zeros((2, 4), np.int8)]
        )


@pytest.mark.parametrize("kind", ["rank", "axis", "pad", "constant"])
def test_graphs_that_mix_samples_are_looped(kind: str) -> None:
    """The first axis is not a batch in these: each sample must give what it gives alone."""
    builder = ModelBuilder()
    x = builder.tensor((1, 3), scale=0.5, zero_point=2)
    if kind == "rank":
        y = builder.tensor((1, 2, 3), scale=0.5, zero_point=2)
        other = builder.constant(Draw(1).int8(1, 2, 3), scale=0.5)
        builder.op("ADD", [x, other], [y], "AddOptions")
    elif kind == "axis":
        y = builder.tensor((2, 3), scale=0.5, zero_point=2)
        builder.op("CONCATENATION", [x, x], [y], "ConcatenationOptions", axis=0)
    elif kind == "pad":
        y = builder.tensor((2, 3), scale=0.5, zero_point=2)
        builder.op("PAD", [x, builder.constant(np.array([[1, 0], [0, 0]], np.int32))], [y])
    else:
        y = builder.tensor((1, 5), scale=0.5, zero_point=2)
        other = builder.constant(Draw(1).int8(1, 2), scale=0.5, zero_point=2)
        builder.op("CONCATENATION", [x, other], [y], "ConcatenationOptions", axis=1)
    reference = ReferenceModel(builder.build([x], [y]))
    samples = Draw(2).int8(4, 3)
    singles = np.concatenate([reference.run(samples[i : i + 1]) for i in range(4)])
    np.testing.assert_array_equal(reference.run(samples), singles)


def test_a_model_with_a_batch_of_its_own() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((2, 4), scale=0.5) for _ in range(2))
    builder.op("RELU", [x], [y])
    reference = ReferenceModel(builder.build([x], [y]))
    samples = Draw(0).int8(6, 4)
    np.testing.assert_array_equal(reference.run(samples), np.maximum(samples, 0))
    with pytest.raises(ValueError, match=r"positive multiple of 2, .*: got \[3\]"):
        reference.run(samples[:3])
