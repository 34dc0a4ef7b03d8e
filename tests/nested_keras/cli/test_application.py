"""What all commands have: help, errors of one line, a version."""

import importlib.metadata
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.nested_keras.cli.commands import nested_keras_command, write_data

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "command",
    ["demo", "train", "export", "inspect", "run", "codegen", "firmware", "strip", "bench"],
)
def test_help_of_each_command_is_worth_reading(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert nested_keras_command(command, "--help") == 0
    text = capsys.readouterr().out
    *lines, folder = text.splitlines()  # the folder of the documents may be long
    assert max(map(len, lines)) <= 80
    assert (Path(folder) / "docs" / "training.md").is_file()
    assert text.startswith(f"usage: nested-keras {command}")
    assert len(text.splitlines()) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "nothing.tflite"), "No such file or directory: 'nothing.tflite'"),
        (("strip", "MODEL", "--levels", "5", "--out", "x"), "levels must be in 1..4: got 5"),
        (
            ("run", "MODEL", "--target", "litert", "--data", "EMPTY"),
            "expected arrays x_test; got other (missing x_test)",
        ),
        (("inspect", "EMPTY"), "TFL3"),
        (
            ("run", "MODEL", "--target", "renode", "--data", "DATA"),
            "RENODE names '/nowhere/renode', which is no program that can be run",
        ),
    ],
)
def test_errors_are_one_line(arguments, message, model, data, folder, capsys, monkeypatch):
    monkeypatch.setenv("RENODE", "/nowhere/renode")
    np.savez(folder / "empty.npz", other=np.zeros(1))
    paths = {"MODEL": str(model), "EMPTY": str(folder / "empty.npz"), "DATA": str(data)}
    assert nested_keras_command(*(paths.get(word, word) for word in arguments)) == 1
    text = capsys.readouterr().err
    assert text.startswith("nested-keras: error: ")
    assert message in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        "inspect",
        "run --target reference --data DATA",
        "codegen --out OUT",
        "strip --levels 1 --out OUT",
        "firmware --board mps2_an500 --out OUT",
        "bench model",
    ],
)
def test_a_file_that_is_no_tflite_is_not_read(command, data, tmp_path, capsys):
    """It may be larger than the memory."""
    path = tmp_path / "large.tflite"
    path.touch()
    os.truncate(path, 1 << 40)
    words = command.replace("DATA", str(data)).replace("OUT", str(tmp_path / "out")).split()
    at = 2 if words[0] == "bench" else 1
    assert nested_keras_command(*words[:at], path, *words[at:]) == 1
    expected = "not a .tflite file: expected 'TFL3' at byte 4, got 00 00 00 00"
    assert expected in capsys.readouterr().err


def test_too_little_memory_is_one_line(model, data, capsys, monkeypatch):
    def run_levels(*_, **__):
        return np.zeros(1 << 60, np.int8)

    monkeypatch.setattr("nested_keras.report.run_levels", run_levels)
    assert nested_keras_command("run", model, "--target", "reference", "--data", data) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("nested-keras: error: not enough memory: Unable to allocate 1.00 EiB")


def test_warnings_of_tensorflow_stay_away_from_the_terminal(model, data, monkeypatch, caplog):
    def run_levels(*_, **__):
        tf_logger = logging.getLogger("tensorflow")
        tf_logger.warning("5 out of the last 5 calls triggered tf.function retracing")
        tf_logger.error("an error")
        raise ValueError("the end")

    monkeypatch.setattr("nested_keras.report.run_levels", run_levels)
    assert nested_keras_command("run", model, "--target", "reference", "--data", data) == 1
    assert [record.message for record in caplog.records] == ["an error"]


@pytest.mark.parametrize(
    ("arguments", "package", "message"),
    [
        (
            ("train", "--model", "m", "--data", "d", "--out", "o"),
            "keras",
            "nested-keras train needs the package keras: pip install 'nested_keras[train]'",
        ),
        (
            ("demo", "--out", "o"),
            "keras",
            "nested-keras demo needs the package keras: pip install 'nested_keras[demo]'",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    arguments, package, message, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "nested_keras.demo", raising=False)
    assert nested_keras_command(*arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 cut", b"\x89HDF\r\n\x1a\n cut", None]
)
def test_files_that_are_no_model_are_one_line(content, tmp_path, capsys):
    path = tmp_path / "model.keras"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    data = write_data(tmp_path / "train.npz")
    for command, *others in (
        ("train", "--model", path, "--data", data, "--out", tmp_path / "o.keras"),
        ("export", path, "--data", data, "--out", tmp_path / "o.tflite"),
        ("inspect", path),
        ("strip", path, "--levels", 1, "--out", tmp_path / "o.tflite"),
        ("codegen", path, "--out", tmp_path / "library"),
        ("run", path, "--target", "reference", "--data", data),
    ):
        assert nested_keras_command(command, *others) == 1
        text = capsys.readouterr().err
        assert text.startswith("nested-keras: error: ")
        assert len(text.splitlines()) == 1


def test_version_and_python_m(capsys):
    assert nested_keras_command("--version") == 0
    version = f"nested-keras {importlib.metadata.version('nested_keras')}"
    assert capsys.readouterr().out.strip() == version
    command = [sys.executable, "-m", "nested_keras", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == version


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--sparsities", "a,b", "expected comma-separated fractions such as 0.9,0.8,0.7: got"),
        ("--block-shape", "2x2", "expected one of 1x1, 1x2, 1x4: got '2x2'"),
        ("--epochs", "0", "expected a whole number of 1 or more: got '0'"),
    ],
)
def test_bad_flags_say_what_was_expected(flag, value, message, capsys):
    required = ("--model", "m", "--data", "d", "--out", "o")
    assert nested_keras_command("train", *required, flag, value) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "redirected", "status"),
    [
        ("inspect MODEL", "", 141),
        ("inspect MODEL --json - 2>&1", "", 141),
        ("strip MODEL --levels 1 --out OUT", "", 141),
        ("train --help", "", 0),  # argparse passes over the error
        ("inspect nothing.tflite", "2>&1", 141),
    ],
)
def test_an_output_that_nobody_reads_ends_the_command(
    arguments, redirected, status, model, tmp_path
):
    arguments = arguments.replace("OUT", str(tmp_path / "out.tflite"))
    words = f"{sys.executable} -m nested_keras {arguments.replace('MODEL', str(model))}"
    # The reader has gone before the command prints its first line.
    script = f"{{ ({words} {redirected}; echo $? >&3) | :; }} 3>&1"
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == (f"{status}\n", "")
