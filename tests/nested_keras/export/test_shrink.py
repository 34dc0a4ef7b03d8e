"""to_tflite(optimize=...): smaller files with the same weights, equal in all runtimes."""

import dataclasses

import numpy as np
import pytest

from nested_keras import export, nest
from nested_keras.cortex_m import stream_bytes
from nested_keras.export.shrink import check_optimize
from nested_keras.runtime import LiteRTModel, ReferenceModel
from tests.nested_keras.nets import images, mobile, randomise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nested():
    model = nest(mobile(), (0.9, 0.7, 0.4))
    randomise(model, seed=3)
    model.prune()
    return model


def exported(nested, optimize):
    return export.to_tflite(
        nested, representative_dataset=images(32, nested.input_shape[1:]), optimize=optimize
    )


@pytest.fixture(scope="module")
def files(nested):
    return {optimize: exported(nested, optimize) for optimize in ("latency", "size")}


def test_size_is_smaller_and_says_so(files):
    assert len(files["size"]) < len(files["latency"])
    rows = export.summarize_model(files["size"])
    assert any(name.endswith("+") for row in rows for name in row.encodings)


def test_runtimes_agree_on_the_smallest_file(files, nested):
    x = images(4, nested.input_shape[1:], seed=5)
    models = [kind(files["size"]) for kind in (ReferenceModel, LiteRTModel)]
    for level in range(3):
        outputs = [np.asarray(model.run(x, level)) for model in models]
        np.testing.assert_array_equal(*outputs)


def test_rounded_tables_move_outputs_little(files, nested):
    x = images(8, nested.input_shape[1:], seed=6)
    for level in range(3):
        fast, small = (
            np.asarray(ReferenceModel(files[name]).run(x, level)).astype(int)
            for name in ("latency", "size")
        )
        assert np.abs(fast - small).mean() < 0.5


def test_a_stream_that_does_not_hold_what_was_packed_is_refused(nested, monkeypatch):
    """A defect of the packer must not become a file."""

    pack_smallest = stream_bytes.pack_smallest

    def pack_wrong(stream):
        smaller = pack_smallest(stream)
        other = dataclasses.replace(smaller.weights, bias=smaller.weights.bias + 1)
        return dataclasses.replace(smaller, _unpack=lambda: other)

    monkeypatch.setattr("nested_keras.export.shrink.stream_bytes.pack_smallest", pack_wrong)
    with pytest.raises(export.ExportError, match="the smaller stream has another bias than was"):
        exported(nested, "size")


def test_a_number_of_bytes_is_kept(files, nested):
    small, large = len(files["size"]), len(files["latency"])
    assert exported(nested, large) == files["latency"]
    limit = (small + large) // 2
    assert small <= len(exported(nested, limit)) <= limit


def test_a_number_that_is_too_small_is_refused(nested):
    with pytest.raises(export.ExportError, match="the file must have at most 100 bytes: got"):
        exported(nested, 100)


def test_strip_keeps_a_prefix_of_the_smallest_streams(files, nested):
    x = images(4, nested.input_shape[1:], seed=7)
    cut = export.strip_model(files["size"], 2)
    for level in range(2):
        np.testing.assert_array_equal(
            ReferenceModel(cut).run(x, level), ReferenceModel(files["size"]).run(x, level)
        )


def test_a_number_of_bytes_may_be_of_numpy():
    assert check_optimize(np.int64(5000)) == 5000
    assert type(check_optimize(np.int64(5000))) is int


@pytest.mark.parametrize("optimize", ["small", 0, -5, True, 1.5, None, np.int64(0), np.ones(2)])
def test_another_choice_is_refused(nested, optimize):
    with pytest.raises(export.ExportError, match='optimize must be "latency", "size" or'):
        exported(nested, optimize)
