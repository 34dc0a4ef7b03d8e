"""Folders of images that a command reads or refuses."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from nested_keras.cli import image_folder
from nested_keras.cli.parts import Reading
from tests.nested_keras.cli.commands import nested_keras_command, write_base

SHAPE = (None, 6, 5, 3)


def write_images(folder, *, classes=("cat", "dog"), count=10, size=(9, 7), suffix=".png"):
    """Writes grey images, brighter from class to class."""
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            value = 40 + 100 * index + number
            Image.new("RGB", size, (value,) * 3).save(folder / name / f"{number:02}{suffix}")
    return folder


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_images_get_the_size_of_the_input(suffix, tmp_path):
    folder = write_images(tmp_path / "data", suffix=suffix)
    parts = [
        image_folder.load(folder, p, shape=SHAPE, reading=Reading()) for p in ("train", "test")
    ]
    assert [part.x.shape for part in parts] == [(16, 6, 5, 3), (4, 6, 5, 3)]
    assert [np.bincount(part.y).tolist() for part in parts] == [[8, 8], [2, 2]]
    assert parts[0].classes == parts[1].classes == ("cat", "dog")
    # Each image is in one part, and black is 0, white 1.
    values = sorted(float(image.mean()) * 255 for part in parts for image in part.x)
    np.testing.assert_allclose(values, [*range(40, 50), *range(140, 150)], atol=0.6)
    grey = image_folder.load(
        folder, "train", shape=(None, 6, 5, 1), reading=Reading(pixels=(-1.0, 1.0))
    )
    assert grey.x.shape == (16, 6, 5, 1)
    np.testing.assert_allclose((grey.x[..., 0] + 1) / 2, parts[0].x[..., 0], atol=0.01)


@pytest.mark.parametrize("second", ["test", "val", "validation"])
def test_two_folders_are_the_two_parts(second, tmp_path):
    write_images(tmp_path / "train", count=3)
    write_images(tmp_path / second, count=2, classes=("dog",))
    for part, labels in (("train", [0, 0, 0, 1, 1, 1]), ("test", [1, 1])):
        found = image_folder.load(tmp_path, part, shape=SHAPE, reading=Reading())
        assert found.y.tolist() == labels
        assert found.classes == ("cat", "dog")


def test_a_model_keeps_the_order_of_its_classes(tmp_path):
    folder = write_images(tmp_path / "data")
    found = image_folder.load(folder, "train", shape=SHAPE, reading=Reading(classes=("dog", "cat")))
    assert found.x[found.y == 0].mean() > found.x[found.y == 1].mean()
    with pytest.raises(ValueError, match=r"trained for \(cat, cow\): got 'dog'"):
        image_folder.load(folder, "train", shape=SHAPE, reading=Reading(classes=("cat", "cow")))


def spoil(folder, kind):
    if kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "one class":
        shutil.rmtree(folder / "dog")
    elif kind == "empty class":
        (folder / "ant").mkdir()
    elif kind == "text":
        (folder / "cat" / "00.png").write_text("hello")
    elif kind == "cut":
        whole = (folder / "cat" / "00.png").read_bytes()
        (folder / "cat" / "00.png").write_bytes(whole[:50])
    elif kind == "16 bit":
        Image.new("I;16", (4, 4)).save(folder / "cat" / "00.png")
    elif kind == "single":
        for path in [*folder.glob("*/0[1-9].png")]:
            path.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "expected a folder of images for each class: got no folder"),
        ("one class", "expected two classes or more: got cat"),
        ("empty class", "ant: expected images (.png, .jpg, .jpeg, .bmp, .webp): got none"),
        ("text", "00.png: cannot be read as an image: "),
        ("cut", "00.png: cannot be read as an image: "),
        ("16 bit", "00.png: cannot be read as an image: more than 8 bits a channel"),
    ],
)
def test_bad_folders_are_one_line(kind, message, tmp_path, capsys):
    folder = write_images(tmp_path / "data")
    spoil(folder, kind)
    with pytest.raises(ValueError, match=r"expected|cannot") as error:
        image_folder.load(folder, "train", shape=SHAPE, reading=Reading())
    assert message in str(error.value)


def test_a_single_image_of_each_class_has_no_test_part(tmp_path):
    folder = write_images(tmp_path / "data", count=1)
    with pytest.raises(ValueError, match="expected two images or more of a class"):
        image_folder.load(folder, "test", shape=SHAPE, reading=Reading())


def test_the_model_must_take_images(tmp_path):
    folder = write_images(tmp_path / "data")
    with pytest.raises(ValueError, match=r"1 or 3\]: got \['n', 20, 4\]"):
        image_folder.load(folder, "train", shape=(None, 20, 4), reading=Reading())


@pytest.mark.slow
def test_train_export_and_run_on_a_folder(tmp_path, capsys):
    """The class names and the reading of the pixels stay with the model."""
    base = write_base(tmp_path / "base.keras", keras.layers.Dense(2))
    folder = write_images(tmp_path / "data", count=12)
    nested, tflite = tmp_path / "nested.keras", tmp_path / "model.tflite"
    flags = ("--sparsities", "0.8,0.5", "--epochs", 1, "--batch-size", 8, "--pixels=-1,1")
    train = ("train", "--model", base, "--data", folder, *flags, "--out", nested)
    assert nested_keras_command(*train) == 0
    assert "Data: 20 examples for training, 4 for tests" in capsys.readouterr().out
    assert nested_keras_command("export", nested, "--data", folder, "--out", tflite) == 0
    kept = json.loads((tmp_path / "model.data.json").read_text())
    assert kept["classes"] == ["cat", "dog"]
    assert kept["pixels"] == [-1, 1]
    run = ("run", tflite, "--target", "litert", "--data", folder, "--json", "-", "--quiet")
    capsys.readouterr()
    assert nested_keras_command(*run) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["inputs"] == 4
    assert captured.err == ""
    assert nested_keras_command("strip", tflite, "--levels", 1, "--out", tmp_path / "s.tflite") == 0
    assert (tmp_path / "s.data.json").exists()
    shutil.rmtree(folder / "dog")
    write_images(folder, classes=("ant", "bee"))
    assert nested_keras_command(*train) == 1
    err = capsys.readouterr().err
    assert "must have the 2 classes of the model: got 3 (ant, bee, cat)" in err
