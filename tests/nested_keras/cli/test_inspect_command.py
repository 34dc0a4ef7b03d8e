"""`nested-keras inspect`, as a user calls it."""

import json
import re

import pytest

from nested_keras.firmware import generate
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


def test_inspect_predicts_the_cycles_of_a_core(model, capsys):
    cycles = {}
    for core in ("m7", "m4", "m33"):
        assert nested_keras_command("inspect", model, "--core", core, "--json", "-", "--quiet") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["core"] == core
        cycles[core] = [row["cycles"] for row in found["levels"]]
    assert cycles["m4"] == cycles["m33"]
    for single, dual in zip(cycles["m4"], cycles["m7"], strict=True):
        assert 1.2 * dual < single < 4 * dual


def test_the_last_table_adds_up_the_cycles_of_each_level(model, tmp_path, capsys):
    path = tmp_path / "found.json"
    assert nested_keras_command("inspect", model, "--clock", "216e6", "--json", path) == 0
    text = capsys.readouterr().out.replace(f"Wrote {path}\n", "")
    found = json.loads(path.read_text())
    layers = [layer for layer in found["layers"] if layer["nested"]]
    rows = [line.split() for line in text.splitlines()[-4:]]
    for level, (row, cells) in enumerate(zip(found["levels"], rows, strict=True)):
        assert row["cycles"] == sum(layer["cycles"][level] for layer in layers) > 0
        assert cells[-2:] == [f"{row['cycles']:,}", f"{row['cycles'] / 216e3:.3f}"]
    assert "ms at" in text
    assert "216 MHz" in text


def test_inspect_shows_the_memory_of_generated_c(model, tmp_path, capsys):
    assert nested_keras_command("inspect", model) == 0
    text = capsys.readouterr().out
    library = generate(model, tmp_path)
    assert (
        f"generated C: arena {library.arena_bytes:,}, stack {library.stack_bytes:,}, "
        f"constants {library.data_bytes:,} bytes\n"
    ) in text


@pytest.mark.parametrize("clock", ["0", "-1", "inf", "nan", "fast"])
def test_a_clock_that_cannot_be_is_refused(model, clock, capsys):
    assert nested_keras_command("inspect", model, f"--clock={clock}") == 2
    assert f"--clock: expected a frequency above 0 in Hz: got {clock}" in capsys.readouterr().err
