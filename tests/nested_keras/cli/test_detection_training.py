"""`nested-keras train --task detection`, as a user calls it."""

import json
import re

import keras
import pytest

from nested_keras.detection import Anchors
from nested_keras.nesting.model import NestedModel, load_model
from tests.nested_keras.cli.commands import nested_keras_command
from tests.nested_keras.detection import pictures

pytestmark = pytest.mark.slow

ANCHORS = Anchors.ssd(((3, 4),), (0.4, 0.6), (1.0,))


def detector(classes=2):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((24, 32, 3))
    for filters in (4, 6, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    outputs = {}
    for name, values in (("boxes", 4), ("scores", classes + 1)):
        y = keras.layers.Conv2D(2 * values, 1)(x)
        outputs[name] = keras.layers.Reshape((24, values), name=name)(y)
    return keras.Model(image, outputs)


def write_base(path, **kwargs):
    detector(**kwargs).save(path)
    path.with_suffix(".anchors.json").write_text(ANCHORS.to_json())
    return path


@pytest.fixture
def words(tmp_path):
    base = write_base(tmp_path / "base.keras")
    data = pictures.voc_folder(tmp_path / "voc")
    common = ("train", "--task", "detection", "--model", base, "--data", data, "--epochs", 1)
    return (*common, "--sparsities", "0.8,0.5", "--out", tmp_path / "nested.keras")


def test_trains_and_measures_every_level(words, tmp_path, capsys):
    assert nested_keras_command(*words, "--batch-size", 4) == 0
    text = capsys.readouterr().out
    assert "Data: 6 images for training, 3 for tests; classes blue, red" in text
    assert re.search(r"level +sparsity +mAP@0.5 +mAP +AP@0.5 +AP@0.5\n", text)
    assert re.search(r"\n0 +0\.8\d\d +\d+\.\d\d% +\d+\.\d\d% +\d+\.\d% +\d+\.\d%\n", text)
    model = load_model(tmp_path / "nested.keras")
    assert isinstance(model, NestedModel)
    assert sorted(model.output) == ["boxes", "scores"]
    kept = json.loads((tmp_path / "nested.data.json").read_text())
    assert kept["classes"] == ["blue", "red"]
    assert Anchors.from_json((tmp_path / "nested.anchors.json").read_text()) == ANCHORS
    assert not (tmp_path / "nested.training").exists()


def test_the_other_flags(words, tmp_path, capsys):
    """Windows of COCO data, one class of two, a budget, int8 rounding, no teacher."""
    data = pictures.coco_folder(tmp_path / "coco")
    base = write_base(tmp_path / "one.keras", classes=1)
    more = ("--data", data, "--model", base, "--classes", "red", "--window", 40, "--budget")
    last = ("cycles", "--quantize-aware", 1, "--no-distill", "--augment", "none")
    assert nested_keras_command(*words, *more, *last) == 0
    text = capsys.readouterr().out
    assert "24 images for training, 12 for tests; classes red" in text
    assert "Predicted cycles of the levels" in text
    assert json.loads((tmp_path / "nested.data.json").read_text())["window"] == 40


def test_export_keeps_the_anchors(words, tmp_path):
    assert nested_keras_command(*words, "--batch-size", 4) == 0
    tflite = tmp_path / "model.tflite"
    data = ("--data", tmp_path / "voc", "--samples", 4)
    assert nested_keras_command("export", tmp_path / "nested.keras", *data, "--out", tflite) == 0
    assert Anchors.from_json(tflite.with_suffix(".anchors.json").read_text()) == ANCHORS


@pytest.mark.arm
def test_the_exported_detector_runs_on_the_folder(words, tmp_path, capsys):
    assert nested_keras_command(*words, "--batch-size", 4) == 0
    tflite, voc = tmp_path / "model.tflite", tmp_path / "voc"
    data = ("--data", voc, "--samples", 4)
    assert nested_keras_command("export", tmp_path / "nested.keras", *data, "--out", tflite) == 0
    capsys.readouterr()
    out, drawn = tmp_path / "run.json", tmp_path / "drawn"
    flags = ("--data", voc, "--min-score", 0.01, "--draw", drawn, "--json", out, "--limit", 2)
    assert nested_keras_command("run", tflite, "--target", "host", *flags) == 0
    assert re.search(r"level +boxes +mAP@0.5 +instructions", capsys.readouterr().out)
    result = json.loads(out.read_text())
    assert result["inputs"] == 2
    for row in result["levels"]:
        assert 0 <= row["average_precision"] <= 1
        assert len(row["detections"]) == 2
        assert row["detections"][0]
    assert sorted(path.name for path in drawn.iterdir()) == [
        f"000{image}_level{level}.png" for image in (0, 1) for level in (0, 1)
    ]


def refused(words, capsys, *more):
    assert nested_keras_command(*words, *more) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_wrong_input_is_one_line(words, tmp_path, capsys):
    base = write_base(tmp_path / "three.keras", classes=3)
    line = refused(words, capsys, "--model", base)
    assert "must have the 3 classes of the model: got 2 (blue, red)" in line
    line = refused(words, capsys, "--task", "classification", "--window", 9)
    assert line.endswith("--window goes with --task detection")
    line = refused(words, capsys, "--data", tmp_path)
    assert "expected Annotations, JPEGImages and ImageSets of Pascal VOC" in line
    base.with_suffix(".anchors.json").write_text("{}")
    assert "three.anchors.json: expected the JSON" in refused(words, capsys, "--model", base)
    base.with_suffix(".anchors.json").unlink()
    line = refused(words, capsys, "--model", base)
    assert "boxes and scores must be [n, 76, 4] and [n, 76, classes + 1]" in line
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(base)
    assert "its outputs in a dict, 'boxes' and 'scores'" in refused(words, capsys, "--model", base)


def test_a_broken_image_is_named_before_the_training(words, tmp_path, capsys):
    image = tmp_path / "voc/JPEGImages/img003.png"
    image.write_bytes(image.read_bytes()[:-60])
    assert "img003.png: cannot be read as an image" in refused(words, capsys)
    assert not (tmp_path / "nested.keras").exists()


def test_a_classifier_is_not_trained_on_images_with_boxes(tmp_path, capsys):
    base = keras.Sequential(
        [
            keras.Input((24, 32, 3)),
            keras.layers.Conv2D(2, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    base.save(tmp_path / "base.keras")
    data = pictures.voc_folder(tmp_path / "voc")
    words = ("--model", tmp_path / "base.keras", "--data", data, "--out", tmp_path / "nested.keras")
    assert nested_keras_command("train", *words) == 1
    assert "got images with boxes, which go with --task detection" in capsys.readouterr().err
    assert not (tmp_path / "nested.keras").exists()
