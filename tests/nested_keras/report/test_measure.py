"""Levels measured on each target."""

import os

import numpy as np
import pytest

from nested_keras import export, report
from tests import zoo
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.renode.launcher import write_launcher

pytestmark = pytest.mark.arm

MODEL = "four_levels_default_exclude"


@pytest.fixture(scope="module")
def model():
    return zoo.exported(MODEL).tflite


@pytest.fixture(scope="module")
def x():
    return zoo.data(MODEL)


def test_sizes_grow_with_the_level_and_add_up(model):
    sizes = report.level_sizes(model)
    layers = export.summarize_model(model)
    assert [size.level for size in sizes] == [0, 1, 2, 3]
    for level, size in enumerate(sizes):
        assert size.nnz == sum(layer.nnz[level] for layer in layers)
        assert size.weight_bytes == sum(layer.bytes[level] for layer in layers)
        total = sum(layer.weights for layer in layers)
        assert size.sparsity == pytest.approx(1 - size.nnz / total)
    assert sizes[0].nnz < sizes[-1].nnz


def test_a_dense_model_has_one_level():
    (size,) = report.level_sizes(zoo.exported(MODEL).dense_tflite)
    assert size.level == 0


def one_score(zero_point, scale, *, real):
    """Writes a model that computes relu and has one score per input."""
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 1), scale=scale, zero_point=zero_point) for _ in range(2))
    builder.op("RELU", [x], [y])
    if not real:
        return builder.build([x], [y])
    z = builder.tensor((1, 1), dtype="float32")
    builder.op("DEQUANTIZE", [y], [z], "DequantizeOptions")
    return builder.build([x], [z])


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    ("zero_point", "scale", "scores"),
    [(-128, 1 / 256, [0.0, 0.25, 0.75, 0.9]), (-128, 0.5, [-0.0, 0.0, 0.5, 9.0])],
    ids=["sigmoid", "logit"],
)
def test_one_score_is_one_of_two_classes(zero_point, scale, scores, real):
    content = one_score(zero_point, scale, real=real)
    x = np.float32(scores)[:, None]
    (row,) = report.run_levels(content, x, np.array([0, 0, 1, 0]), target="reference").levels
    assert row.accuracy == 0.75
    with pytest.raises(ValueError, match=r"whole numbers in 0..1: got 2 at 3"):
        report.run_levels(content, x, np.array([0, 0, 1, 2]), target="reference")


def test_accuracy_counts_the_largest_output():
    outputs = np.array([[1, 5, 5], [-128, -127, 127], [3, 2, 1]], np.int8)
    assert report.accuracy(outputs, np.array([1, 2, 2])) == pytest.approx(2 / 3)
    assert report.accuracy(outputs.reshape(3, 1, 1, 3), np.array([[1], [2], [0]])) == 1.0


def test_accuracy_wants_a_label_per_input():
    with pytest.raises(ValueError, match="expected 2 labels, one per input: got 3"):
        report.accuracy(np.zeros((2, 3), np.int8), np.zeros(3, np.int32))


@pytest.mark.parametrize("target", report.TARGETS)
def test_every_target_gives_the_reference_s_outputs(target, model, x, tmp_path, monkeypatch):
    if target == "renode":
        stand_in = write_launcher(tmp_path, "-m", "tests.renode.monitor")
        monkeypatch.setenv("RENODE", str(stand_in))
    run = report.run_levels(model, x[:4], target=target, build_dir=tmp_path)
    assert (run.target, run.inputs) == (target, 4)
    assert run.runtime == ("standalone" if target in ("qemu", "renode") else None)
    assert [level.level for level in run.levels] == [0, 1, 2, 3]
    for level in run.levels:
        assert level.mismatches_against_reference == 0
        assert level.accuracy is None
    counted = [level.instructions for level in run.levels]
    if target in ("qemu", "renode"):
        assert counted == sorted(counted)
        assert len(set(counted)) == 4
        assert run.levels[0].flash_bytes > run.levels[0].arena_bytes > 0
    else:
        assert counted == [None] * 4


@pytest.mark.skipif(
    not os.environ.get("TFLM_ROOT"),
    reason="TFLM_ROOT does not name a TFLite Micro tree with a library built for the Cortex-M7",
)
def test_tflite_micro_on_the_device(model, x, tmp_path):
    run = report.run_levels(model, x[:2], target="qemu", device_runtime="tflm", build_dir=tmp_path)
    assert (run.target, run.runtime) == ("qemu", "tflm")
    assert [level.mismatches_against_reference for level in run.levels] == [0] * 4
    counted = [level.instructions for level in run.levels]
    assert counted == sorted(counted)
    assert run.levels[0].flash_bytes > run.levels[0].arena_bytes > 0


def test_a_mismatch_is_counted(model, x, monkeypatch):
    from nested_keras import runtime

    class OneOff(runtime.LiteRTModel):
        def run(self, x, level=None):
            output = np.array(super().run(x, level))
            output[0, 0] ^= 1
            return output

    monkeypatch.setattr(runtime, "LiteRTModel", OneOff)
    run = report.run_levels(model, x[:2], target="litert")
    assert [level.mismatches_against_reference for level in run.levels] == [1, 1, 1, 1]


def test_bad_arguments(model, x):
    with pytest.raises(ValueError, match=r"target must be one of reference, .*: got 'gpu'"):
        report.run_levels(model, x, target="gpu")
    with pytest.raises(ValueError, match="runtime 'tflm' is for the targets qemu, renode: got"):
        report.run_levels(model, x, target="litert", device_runtime="tflm")
    with pytest.raises(ValueError, match=r"x must hold at least one input .*: got shape \(0, "):
        report.run_levels(model, x[:0], target="reference")
