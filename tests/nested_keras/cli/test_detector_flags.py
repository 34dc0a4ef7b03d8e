"""The commands on a detector: `run --draw`, `codegen` and `firmware`."""

import json
import re

import numpy as np
import pytest

from nested_keras import runtime
from nested_keras.detection import Anchors, Limits, decoding
from nested_keras.firmware import HostModel
from tests.nested_keras.cli.commands import nested_keras_command
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.arm

ANCHORS = Anchors(feature_maps=((4, 4),), shapes=(((0.3, 0.3),),))


def write_detector(path):
    """A model whose outputs are parts of its input [1, 4, 4, 7]: offsets and scores."""
    builder = ModelBuilder()
    scale = {"scale": 0.04, "zero_point": 0}
    x = builder.tensor((1, 4, 4, 7), **scale)
    outputs = []
    for name, first, last in (("boxes", 0, 4), ("scores", 4, 7)):
        begin = builder.constant(np.array([0, 0, 0, first], np.int32))
        size = builder.constant(np.array([1, 4, 4, last - first], np.int32))
        part = builder.tensor((1, 4, 4, last - first), **scale)
        builder.op("SLICE", [x, begin, size], [part], "SliceOptions")
        shape = builder.constant(np.array([1, 16, last - first], np.int32))
        outputs.append(builder.tensor((1, 16, last - first), name=name, **scale))
        builder.op("RESHAPE", [part, shape], [outputs[-1]], "ReshapeOptions")
    path.write_bytes(builder.build([x], outputs))


@pytest.fixture(scope="module", name="detector")
def fixture_detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "cells.tflite"
    write_detector(path)
    path.with_suffix(".anchors.json").write_text(ANCHORS.to_json())
    x = np.random.default_rng(3).integers(-128, 128, (3, 4, 4, 7)).astype(np.int8)
    np.savez(path.with_name("data.npz"), x_test=x)
    return path, x


@pytest.mark.parametrize("target", ["reference", "litert", "host", "qemu"])
def test_run_reports_the_boxes_of_every_target(target, detector, tmp_path, capsys):
    path, x = detector
    out = tmp_path / "run.json"
    arguments = ("--target", target, "--data", path.with_name("data.npz"), "--json", out)
    assert nested_keras_command("run", path, *arguments, "--min-score", 0.6) == 0
    decoder = runtime.decoder_for(path, ANCHORS.boxes(), Limits(score_threshold=0.6))
    expected = decoder.detect(*runtime.ReferenceModel(path).run(x))
    count = sum(map(len, expected))
    assert count > 3
    assert re.search(rf"^0 +{count} ", capsys.readouterr().out, re.MULTILINE)
    (row,) = json.loads(out.read_text())["levels"]
    assert row["mismatches_against_reference"] == 0
    assert row["average_precision"] is None
    for boxes, wanted in zip(row["detections"], map(decoding.found, expected), strict=True):
        assert [box["box"] for box in boxes] == wanted.boxes.tolist()
        assert [box["score"] for box in boxes] == wanted.scores.tolist()
        assert [box["class"] for box in boxes] == wanted.classes.tolist()


def test_run_fails_where_boxes_differ(detector, capsys, monkeypatch):
    path, _ = detector
    detect = HostModel.detect

    def one_less(self, boxes, scores):
        first, *rest = detect(self, boxes, scores)
        return first[:-1], *rest

    monkeypatch.setattr(HostModel, "detect", one_less)
    arguments = ("--target", "host", "--data", path.with_name("data.npz"))
    assert nested_keras_command("run", path, *arguments) == 1
    assert "values differ from the NumPy reference" in capsys.readouterr().err


def test_codegen_and_firmware_find_the_boxes_by_themselves(detector, tmp_path, capsys):
    path, _ = detector
    arguments = ("--out", tmp_path / "lib", "--name", "cells", "--max-boxes", 9)
    assert nested_keras_command("codegen", path, *arguments) == 0
    assert "cells_detect() finds the boxes" in capsys.readouterr().out
    assert "#define CELLS_MAX_BOXES 9\n" in (tmp_path / "lib" / "cells.h").read_text()
    arguments = ("--board", "mps2_an500", "--out", tmp_path / "firmware")
    assert nested_keras_command("firmware", path, *arguments) == 0
    assert "MODEL_MAX_BOXES 50" in (tmp_path / "firmware" / "model" / "model.h").read_text()


def test_wrong_anchors_and_limits_are_refused(detector, tmp_path, capsys):
    path, _ = detector
    arguments = ("--target", "reference", "--data", path.with_name("data.npz"))

    def error(*more):
        assert nested_keras_command("run", path, *arguments, *more) == 1
        return capsys.readouterr().err

    other = tmp_path / "other.json"
    other.write_text(Anchors(((2, 2),), (((0.3, 0.3),),)).to_json())
    assert "a detector of 4 anchors must have the outputs" in error("--anchors", other)
    other.write_text("{}")
    assert f"{other}: expected the JSON of anchors" in error("--anchors", other)
    assert "score_threshold must be in" in error("--min-score", 0)
    assert "images [n, height, width, 1 or 3]: got [3, 4, 4, 7]" in error("--draw", tmp_path)


def test_boxes_are_drawn_for_detectors_alone(model, data, tmp_path, capsys):
    arguments = ("--target", "reference", "--data", data, "--draw", tmp_path)
    assert nested_keras_command("run", model, *arguments) == 1
    assert "--draw is for a detector, which has its anchors beside it" in capsys.readouterr().err


def test_two_outputs_without_anchors_are_refused(detector, tmp_path, capsys):
    path, _ = detector
    lonely = tmp_path / "lonely.tflite"
    lonely.write_bytes(path.read_bytes())
    arguments = ("--target", "reference", "--data", path.with_name("data.npz"))
    assert nested_keras_command("run", lonely, *arguments) == 1
    assert "got 1 and 2; a detector needs its anchors" in capsys.readouterr().err
