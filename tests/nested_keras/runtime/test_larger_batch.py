"""Batches in LiteRT: the outputs of single samples, from fewer calls of the interpreter."""

import numpy as np
import pytest

from nested_keras.runtime import LiteRTModel
from nested_keras.runtime.larger_batch import with_batch
from nested_keras.tflite import flatbuffer
from tests import zoo
from tests.nested_keras.runtime.oracle import Draw
from tests.nested_keras.runtime.test_litert import CHAIN, SHAPE, chain
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.slow


def calls_of(model: LiteRTModel, x: np.ndarray, level: int, monkeypatch: pytest.MonkeyPatch):
    """Runs a batch; returns the outputs and the sizes of the batches that went in."""
    sizes = []
    run = LiteRTModel._run_batch

    def spy(self, inputs, level):
        sizes.append(len(inputs[0]))
        return run(self, inputs, level)

    with monkeypatch.context() as patch:
        patch.setattr(LiteRTModel, "_run_batch", spy)
        return model.run(x, level), sizes


def test_many_samples_run_at_once(monkeypatch) -> None:
    model, images = LiteRTModel(chain()), Draw(0).int8(35, *SHAPE[1:])
    for level in range(3):
        found, sizes = calls_of(model, images, level, monkeypatch)
        assert sizes == [16, 16, 1, 1, 1]
        singles = [model.run(images[i : i + 1], level) for i in range(len(images))]
        np.testing.assert_array_equal(found, np.concatenate(singles))


@pytest.mark.parametrize("name", ["squeeze_excite", "dense_on_image"])
def test_reshapes_take_the_batch(name, monkeypatch) -> None:
    model = LiteRTModel(zoo.exported(name).tflite)
    x = np.resize(zoo.data(name), (17, *model.input_details[0].shape[1:]))
    found, sizes = calls_of(model, x, 0, monkeypatch)
    assert sizes == [16, 1]
    singles = [model.run(x[i : i + 1], 0) for i in range(len(x))]
    np.testing.assert_array_equal(found, np.concatenate(singles))


def test_constants_keep_their_shape() -> None:
    tree = with_batch(chain(), 16)
    shapes = [list(tensor.shape) for tensor in tree.subgraph.tensors if tensor.shape is not None]
    for shape in CHAIN:
        assert [16, *shape[1:]] in shapes
        assert list(shape) not in shapes
    assert [1] in shapes  # the level
    flatbuffer.save(tree)


def test_a_model_that_mixes_samples_keeps_its_batch() -> None:
    builder = ModelBuilder()
    x, y = builder.tensor((1, 3), scale=0.5), builder.tensor((2, 3), scale=0.5)
    builder.op("CONCATENATION", [x, x], [y], "ConcatenationOptions", axis=0)
    assert with_batch(builder.build([x], [y]), 16) is None
