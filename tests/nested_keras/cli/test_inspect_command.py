"""`nested-keras inspect`, as a user calls it."""

import json
import re

import pytest

from tests import zoo
from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def test_inspect_shows_layers_and_levels(model, capsys):
    assert nested_keras_command("inspect", model) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"stored as +cycles", text)
    assert " DELTA8 " in text
    assert re.search(r"^input \S+: int8 1x\d+.*, scale [\d.e-]+, zero point -?\d+$", text, re.M)
    assert re.search(r"^output \S+: int8 1x", text, re.M)
    assert [line.split()[0] for line in text.splitlines()[-4:]] == ["0", "1", "2", "3"]


def test_inspect_shows_what_is_not_nested(folder, capsys):
    path = folder / "builtin.tflite"
    path.write_bytes(zoo.exported("depthwise_plain_bias").tflite)
    assert nested_keras_command("inspect", path) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("dw "))
    assert "not nested" in row


def test_inspect_as_json(model, capsys):
    assert nested_keras_command("inspect", model, "--json", "-", "--quiet") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in found["levels"]] == [0, 1, 2, 3]
    layer = next(layer for layer in found["layers"] if layer["nested"])
    assert len(layer["nnz"]) == len(layer["bytes"]) == len(layer["cycles"]) == 4
    assert sum(layer["nnz"][0] for layer in found["layers"]) == found["levels"][0]["nnz"]
