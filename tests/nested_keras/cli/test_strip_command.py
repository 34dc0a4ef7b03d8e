"""`nested-keras strip`, as a user calls it."""

import shutil

import pytest

from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def test_strip_keeps_the_sparsest_levels(model, data, folder, capsys):
    out = folder / "stripped.tflite"
    assert nested_keras_command("strip", model, "--levels", 2, "--out", out) == 0
    assert "levels 0..1" in capsys.readouterr().out
    assert out.stat().st_size < model.stat().st_size
    assert nested_keras_command("run", out, "--target", "litert", "--data", data) == 0


def test_what_lies_beside_a_model_goes_along(model, tmp_path):
    """The names of the classes, and the anchors of a detector."""
    whole, out = shutil.copy(model, tmp_path), tmp_path / "one.tflite"
    for name in ("data", "anchors"):
        (tmp_path / f"model.{name}.json").write_text(name)
    assert nested_keras_command("strip", whole, "--levels", 1, "--out", out) == 0
    for name in ("data", "anchors"):
        assert (tmp_path / f"one.{name}.json").read_text() == name
