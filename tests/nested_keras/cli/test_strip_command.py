"""`nested-keras strip`, as a user calls it."""

import pytest

from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def test_strip_keeps_the_sparsest_levels(model, data, folder, capsys):
    out = folder / "stripped.tflite"
    assert nested_keras_command("strip", model, "--levels", 2, "--out", out) == 0
    assert "levels 0..1" in capsys.readouterr().out
    assert out.stat().st_size < model.stat().st_size
    assert nested_keras_command("run", out, "--target", "litert", "--data", data) == 0
