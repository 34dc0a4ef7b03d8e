"""The command line, as a user calls it."""

import json
import sys

import keras
import numpy as np
import pytest

from nested_keras import cli
from tests import zoo
from tests.renode.launcher import write_launcher


def nested_keras_command(*arguments):
    """Runs the command; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["nested-keras", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def model(folder):
    path = folder / "model.tflite"
    path.write_bytes(zoo.exported("four_levels_default_exclude").tflite)
    return path


@pytest.fixture(scope="module")
def data(folder):
    """Test inputs of the model with labels."""
    x = zoo.make("four_levels_default_exclude").data
    path = folder / "data.npz"
    np.savez(path, x_test=x, y_test=np.arange(len(x)) % 3)
    return path


@pytest.mark.parametrize(
    "command",
    ["demo", "train", "export", "inspect", "run", "codegen", "firmware", "strip", "bench"],
)
def test_help_of_each_command_is_worth_reading(command, capsys):
    assert nested_keras_command(command, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: nested-keras {command}")
    assert len(text.splitlines()) > 10


def test_inspect_shows_layers_and_levels(model, capsys):
    assert nested_keras_command("inspect", model) == 0
    text = capsys.readouterr().out
    assert "nonzeros per level" in text
    assert "predicted cycles per level" in text
    assert "DELTA8 / " in text
    assert [line.split()[0] for line in text.splitlines()[-4:]] == ["0", "1", "2", "3"]


def test_inspect_shows_what_is_not_nested(folder, capsys):
    path = folder / "builtin.tflite"
    path.write_bytes(zoo.exported("depthwise_plain_bias").tflite)
    assert nested_keras_command("inspect", path) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("dw "))
    assert "not nested" in row


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


def test_firmware_without_data_runs_zeros(model, folder, capsys):
    out = folder / "zeros"
    assert nested_keras_command("firmware", model, "--board", "mps2_an500", "--out", out) == 0
    assert f"Wrote {out / 'firmware.elf'}" in capsys.readouterr().out


def test_strip_keeps_the_sparsest_levels(model, data, folder, capsys):
    out = folder / "stripped.tflite"
    assert nested_keras_command("strip", model, "--levels", 2, "--out", out) == 0
    assert "levels 0..1" in capsys.readouterr().out
    assert out.stat().st_size < model.stat().st_size
    assert nested_keras_command("run", out, "--target", "litert", "--data", data) == 0


def test_codegen_writes_a_library(model, folder, capsys):
    out = folder / "library"
    assert nested_keras_command("codegen", model, "--out", out, "--name", "net") == 0
    assert "net_invoke()" in capsys.readouterr().out
    assert {"net.c", "net.h"} <= {path.name for path in out.iterdir()}


def test_firmware_for_an_unknown_board(model, folder, capsys):
    arguments = ("--board", "arduino", "--out", folder / "arduino")
    assert nested_keras_command("firmware", model, *arguments) == 1
    expected = "board must be one of mps2_an500, nucleo_f767zi: got 'arduino'"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("board", ["mps2_an500", "nucleo_f767zi"])
def test_firmware_is_built_for_a_board(board, model, data, folder, capsys):
    out = folder / board
    arguments = ("--board", board, "--data", data, "--limit", 2, "--out", out)
    assert nested_keras_command("firmware", model, *arguments) == 0
    assert f"Wrote {out}/firmware.elf: " in capsys.readouterr().out
    assert (out / "firmware.elf").read_bytes().startswith(b"\x7fELF")


def test_train_then_export(folder, capsys):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    images = rng.normal(size=(96, 6, 6, 2)).astype(np.float32) + labels[:, None, None, None]
    np.savez(
        folder / "train.npz",
        x_train=images[:64],
        y_train=labels[:64],
        x_test=images[64:],
        y_test=labels[64:],
    )
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(8, 3, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)).save(folder / "base.keras")
    nested, tflite = folder / "nested.keras", folder / "trained.tflite"
    common = ("--data", folder / "train.npz")
    train = ("--model", folder / "base.keras", "--sparsities", "0.8,0.5", "--epochs", 2)
    assert nested_keras_command("train", *common, *train, "--out", nested) == 0
    assert "0.799" in (text := capsys.readouterr().out) or "0.800" in text or "0.802" in text
    assert nested_keras_command("export", nested, *common, "--samples", 16, "--out", tflite) == 0
    assert "verified" in capsys.readouterr().out
    assert nested_keras_command("run", tflite, "--target", "litert", *common) == 0


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


def test_too_little_memory_is_one_line(model, data, capsys, monkeypatch):
    def run_levels(*_, **__):
        return np.zeros(1 << 60, np.int8)

    monkeypatch.setattr("nested_keras.report.run_levels", run_levels)
    assert nested_keras_command("run", model, "--target", "reference", "--data", data) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("nested-keras: error: not enough memory: Unable to allocate 1.00 EiB")


@pytest.mark.parametrize(
    ("arguments", "package", "message"),
    [
        (
            ("train", "--model", "m", "--data", "d", "--out", "o"),
            "keras",
            "nested-keras train needs the package keras: pip install 'nested_keras[train]'",
        ),
        (
            ("train", "--model", "m", "--data", "d", "--out", "o"),
            "tensorflow_model_optimization",
            "needs the package tensorflow-model-optimization: pip install 'nested_keras[train]'",
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
    ("flag", "value", "message"),
    [
        ("--sparsities", "a,b", "expected comma-separated fractions such as 0.9,0.8,0.7: got"),
        ("--block_shape", "2x2", "expected one of 1x1, 1x2, 1x4: got '2x2'"),
        ("--epochs", "0", "expected a whole number of 1 or more: got '0'"),
    ],
)
def test_bad_flags_say_what_was_expected(flag, value, message, capsys):
    required = ("--model", "m", "--data", "d", "--out", "o")
    assert nested_keras_command("train", *required, flag, value) == 2
    assert message in capsys.readouterr().err
