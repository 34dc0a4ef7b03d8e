"""`nested-keras run`, as a user calls it."""

import json

import pytest

from nested_keras.runtime import LiteRTModel
from tests.nested_keras.cli.commands import nested_keras_command
from tests.renode.launcher import write_launcher

pytestmark = [pytest.mark.slow, pytest.mark.arm]


@pytest.mark.parametrize("target", ["reference", "litert", "tflm", "host", "qemu", "renode"])
def test_run_reports_every_level(target, model, data, folder, capsys, monkeypatch):
    if target == "renode":
        monkeypatch.setenv("RENODE", str(write_launcher(folder, "-m", "tests.renode.monitor")))
    out = folder / f"{target}.json"
    arguments = ("--target", target, "--data", data, "--limit", 5, "--json", out)
    assert nested_keras_command("run", model, *arguments) == 0
    assert f"on {target}: 5 inputs" in capsys.readouterr().out
    result = json.loads(out.read_text())
    assert [row["level"] for row in result["levels"]] == [0, 1, 2, 3]
    for row in result["levels"]:
        assert row["mismatches_against_reference"] == 0
        assert 0 <= row["accuracy"] <= 1
        counts = [
            row[name] for name in ("instructions", "arena_bytes", "flash_bytes", "stack_bytes")
        ]
        assert (counts == [None] * 4) == (target not in ("qemu", "renode"))
    if target in ("qemu", "renode"):
        counts = [row["instructions"] for row in result["levels"]]
        assert counts == sorted(counts)
        assert counts[0] > 100


def test_run_with_tflite_micro_on_the_device_wants_its_tree(model, data, capsys, monkeypatch):
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    arguments = ("--runtime", "tflm", "--data", data)
    assert nested_keras_command("run", model, "--target", "qemu", *arguments) == 1
    assert "TFLM_ROOT is not set" in capsys.readouterr().err
    assert nested_keras_command("run", model, "--target", "host", *arguments) == 1
    text = capsys.readouterr().err
    assert "runtime 'tflm' is for the targets qemu, renode: got 'host'" in text


def test_run_fails_where_outputs_differ(model, data, capsys, monkeypatch):
    run = LiteRTModel.run
    monkeypatch.setattr(LiteRTModel, "run", lambda self, x, level: run(self, x, level) ^ 1)
    assert nested_keras_command("run", model, "--target", "litert", "--data", data) == 1
    captured = capsys.readouterr()
    assert "values differ from the NumPy reference" in captured.err
    assert "mismatches" in captured.out
