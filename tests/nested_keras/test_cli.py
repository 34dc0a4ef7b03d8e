"""The command line, as a user calls it."""

import importlib.metadata
import json
import pathlib
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import nested_keras
from nested_keras import cli, export
from nested_keras.callbacks import NestedPruning
from nested_keras.cli import data_files
from nested_keras.nesting.model import NestedModel
from nested_keras.runtime import LiteRTModel
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
def write_data(path, **changed):
    """Writes x_train, y_train, x_test and y_test of three classes, the first two sorted."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, 3, 48))
    images = rng.normal(size=(48, 6, 6, 1)).astype(np.float32) + labels[:, None, None, None]
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(path, **{**arrays, **changed})
    return path


def write_base(path, *ends):
    """Writes a tiny classifier with the given last layers."""
    x = inputs = keras.Input((6, 6, 1))
    for layer in (
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        *ends,
    ):
        x = layer(x)
    keras.Model(inputs, x).save(path)
    return path


def train_arguments(folder, *ends, **changed):
    base = write_base(folder / "base.keras", *ends or (keras.layers.Dense(3),))
    data = write_data(folder / "train.npz", **changed)
    common = ("--sparsities", "0.8,0.5", "--batch-size", 20, "--out", folder / "nested.keras")
    return ("train", "--model", base, "--data", data, *common)


@pytest.mark.parametrize(
    ("make", "loss", "from_logits"),
    [
        (lambda: [keras.layers.Dense(3)], "SparseCategoricalCrossentropy", True),
        (lambda: [keras.layers.Dense(3), keras.layers.Softmax()], "SparseCategorical", False),
        (lambda: [keras.layers.Dense(1)], "BinaryCrossentropy", True),
        (lambda: [keras.layers.Dense(1, activation="sigmoid")], "BinaryCrossentropy", False),
    ],
)
def test_train_takes_the_loss_from_the_end_of_the_model(
    make, loss, from_logits, tmp_path, monkeypatch
):
    compiled = {}
    compile_ = NestedModel.compile

    def spy(self, optimizer, loss, **kwargs):
        compiled.update(loss=loss, **kwargs)
        compile_(self, optimizer, loss, **kwargs)

    monkeypatch.setattr(NestedModel, "compile", spy)
    labels = {name: np.arange(48) % 2 for name in ("y_train", "y_test")}
    command = train_arguments(tmp_path, *make(), **(labels if "Binary" in loss else {}))
    assert nested_keras_command(*command, "--epochs", 1) == 0
    assert type(compiled["loss"]).__name__.startswith(loss)
    assert compiled["loss"].get_config()["from_logits"] is from_logits
    if "Binary" in loss:
        assert compiled["metrics"][0].threshold == (0.0 if from_logits else 0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base.keras",
        "nested.keras",
        "train.npz",
    ]


@pytest.mark.parametrize(
    ("ends", "changed", "message"),
    [
        ([keras.layers.Dense(3, activation="tanh")], {}, "or in logits: got 3 outputs of"),
        ([keras.layers.Dense(3, activation="sigmoid")], {}, "or in logits: got 3 outputs of"),
        ([], {"y_train": np.arange(48)}, "y_train must hold whole numbers in 0..3: got 4 at 4"),
        ([], {"y_test": np.full(48, -1)}, "y_test must hold whole numbers in 0..3: got -1 at 0"),
        ([], {"x_train": np.full((48, 6, 6, 1), np.nan)}, "x_train must be finite: got 1728 val"),
        ([], {"x_test": np.zeros((48, 6, 1))}, "x_test must have the shape [n, 6, 6, 1] of the"),
        ([], {"y_train": np.zeros(7)}, "y_train: expected 48 labels, one per input: got 7"),
        ([], {"y_train": np.eye(48)}, "got shape (48, 48) (of one-hot labels take argmax(axis=1))"),
    ],
)
def test_train_refuses_before_it_trains(ends, changed, message, tmp_path, capsys):
    assert (
        nested_keras_command(
            *train_arguments(tmp_path, *ends or [keras.layers.Flatten()], **changed)
        )
        == 1
    )
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert "Epoch" not in captured.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.keras", "train.npz"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("none/x.keras", "expected a folder to write x.keras to: "),
        ("x.tflite", "expected the name of a file that ends in .keras: got"),
        ("folder.keras", "expected a file to write: "),
    ],
)
def test_train_refuses_an_output_before_it_trains(out, message, tmp_path, capsys):
    (tmp_path / "folder.keras").mkdir()
    arguments = ("--model", "none", "--data", "none", "--out", tmp_path / out)
    assert nested_keras_command("train", *arguments) == 1
    assert message in capsys.readouterr().err


def test_train_reports_a_loss_that_is_nan(tmp_path, capsys):
    out = tmp_path / "nested.keras"
    out.write_bytes(b"earlier")
    arguments = (*train_arguments(tmp_path), "--epochs", 2, "--learning-rate", 1e30)
    assert nested_keras_command(*arguments) == 1
    assert "the loss must stay finite: it is " in capsys.readouterr().err
    assert out.read_bytes() == b"earlier"
    assert not (tmp_path / "nested.training").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on(number, tmp_path, capsys, monkeypatch):
    """And ends as the uninterrupted one, bit for bit."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    keras.utils.set_random_seed(3)
    commands = [(*train_arguments(folder), "--epochs", 3) for folder in (whole, cut)]
    (cut / "base.keras").write_bytes((whole / "base.keras").read_bytes())
    assert nested_keras_command(*commands[0]) == 0

    begin = NestedPruning.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 2:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(NestedPruning, "on_epoch_begin", interrupt)
        assert nested_keras_command(*commands[1]) == 128 + number
    text = capsys.readouterr().err.splitlines()[-1]
    assert f"{cut / 'nested.training'} keeps 2 epochs; give the same command again" in text
    assert nested_keras_command(*commands[1], "--seed", 5) == 1
    assert "with another seed: give the same to go on" in capsys.readouterr().err
    assert nested_keras_command(*commands[1]) == 0
    assert "Going on after 2 epochs" in capsys.readouterr().out
    assert not (cut / "nested.training").exists()
    models = [nested_keras.load_model(folder / "nested.keras") for folder in (whole, cut)]
    for want, got in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(got, want)


def test_export_calibrates_on_all_of_sorted_data(tmp_path, monkeypatch):
    seen = {}

    def to_tflite(model, *, representative_dataset):
        seen["data"] = representative_dataset
        return zoo.exported("four_levels_default_exclude").tflite

    monkeypatch.setattr(export, "to_tflite", to_tflite)
    monkeypatch.setattr(nested_keras.model, "load_model", lambda *args, **kwargs: None)
    data = write_data(tmp_path / "d.npz", x_train=np.arange(60.0).reshape(60, 1))
    out = tmp_path / "m.tflite"
    assert nested_keras_command("export", "m", "--data", data, "--samples", 6, "--out", out) == 0
    assert (seen["data"][:, 0] // 10).tolist() == [0, 1, 2, 3, 4, 5]


def damaged_data(path, kind):
    """Writes a data file that `run` must refuse."""
    x = zoo.make("four_levels_default_exclude").data
    y = np.arange(len(x)) % 3
    np.savez(path, x_test=x, y_test=y)
    content = path.read_bytes()
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, x)
    elif kind in ("cut", "empty", "tflite"):
        made = {"cut": content[:999], "empty": b"", "tflite": b"\x1c\0\0\0TFL3"}
        path.write_bytes(made[kind])
    elif kind == "flipped":
        path.write_bytes(content[:200] + bytes([content[200] ^ 255]) + content[201:])
    elif kind == "terabytes":
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"
        start = b"\x93NUMPY\x01\x00v\x00"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_test.npy", start + header.ljust(117).encode() + b"\n")
    elif kind == "bytes":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_test", b"text")
    else:
        changed = {
            "objects": {"x_test": np.array([{}, 1], dtype=object)},
            "strings": {"x_test": np.array(["a"])},
            "complex": {"x_test": x.astype(np.complex64)},
            "nan": {"x_test": x * np.nan},
            "inf": {"x_test": np.where(x == x.max(), 1e300, np.float64(x))},
            "scalar": {"x_test": np.float32(1)},
            "no input": {"x_test": x[:0]},
            "shape": {"x_test": x[:, :-1]},
            "scalar label": {"y_test": np.int64(1)},
            "labels that are strings": {"y_test": np.array(["a"] * len(x))},
            "negative labels": {"y_test": y - 1},
            "large labels": {"y_test": y + 1},
            "fractions": {"y_test": y + 0.5},
            "nan labels": {"y_test": y * np.nan},
            "one-hot": {"y_test": np.eye(3)[y]},
            "few labels": {"y_test": y[:2]},
        }[kind]
        np.savez(path, **{"x_test": x, "y_test": y, **changed})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("npy", "expected a .npz archive as numpy.savez writes it: got a .npy file"),
        ("cut", "expected a .npz archive as numpy.savez writes it: got a damaged archive"),
        ("empty", "got an empty file"),
        ("tflite", "got a file of another kind"),
        ("flipped", "array x_test cannot be read: "),
        ("terabytes", "array x_test "),
        ("bytes", "x_test must be an array that numpy.savez wrote"),
        ("objects", "it holds Python objects where numbers are expected"),
        ("strings", "x_test must hold real numbers: got <U1"),
        ("complex", "x_test must hold real numbers: got complex64"),
        ("nan", "x_test must be finite: got "),
        ("inf", "x_test must be finite: got 1 values of NaN or infinity"),
        ("scalar", "x_test must hold at least one input [n, ...]: got shape ()"),
        ("no input", "x_test must hold at least one input [n, ...]: got shape (0, "),
        ("shape", "must have the shape ['n', "),
        ("scalar label", "labels in y_test, one per input: got shape ()"),
        ("labels that are strings", "labels must hold class indices: got <U1"),
        ("negative labels", "labels must hold whole numbers in 0..2: got -1 at 0"),
        ("large labels", "labels must hold whole numbers in 0..2: got 3 at 2"),
        ("fractions", "labels must hold whole numbers in 0..2: got 0.5 at 0"),
        ("nan labels", "labels must hold whole numbers in 0..2: got nan at 0"),
        ("one-hot", "(of one-hot labels take argmax(axis=1))"),
        ("few labels", "labels in y_test, one per input: got shape (2,)"),
    ],
)
def test_bad_data_are_one_line(kind, message, model, tmp_path, capsys):
    path = tmp_path / "bad.npz"
    damaged_data(path, kind)
    assert nested_keras_command("run", model, "--target", "reference", "--data", path) == 1
    text = capsys.readouterr().err
    assert text.startswith("nested-keras: error: ")
    assert message in text
    assert "pickle" not in text
    assert len(text.splitlines()) == 1


def test_run_fails_where_outputs_differ(model, data, capsys, monkeypatch):
    run = LiteRTModel.run
    monkeypatch.setattr(LiteRTModel, "run", lambda self, x, level: run(self, x, level) ^ 1)
    assert nested_keras_command("run", model, "--target", "litert", "--data", data) == 1
    captured = capsys.readouterr()
    assert "values differ from the NumPy reference" in captured.err
    assert "mismatches" in captured.out


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


def test_out_of_memory_is_one_line(model, capsys, monkeypatch):
    def read(path):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr(pathlib.Path, "read_bytes", read)
    assert nested_keras_command("inspect", model) == 1
    expected = "inspect needs more memory than there is. Unable to allocate 3 TiB"
    assert expected in capsys.readouterr().err


def test_version_and_python_m(capsys):
    assert nested_keras_command("--version") == 0
    version = f"nested-keras {importlib.metadata.version('nested_keras')}"
    assert capsys.readouterr().out.strip() == version
    command = [sys.executable, "-m", "nested_keras", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == version


def test_spread_reaches_every_part():
    for count, samples in ((10, 10), (10, 30), (1000, 7), (7, 6), (1, 1)):
        found = data_files.spread(count, samples)
        assert len(found) == min(count, samples)
        assert (np.diff(found) > 0).all()
        assert found[0] >= 0
        assert found[-1] < count


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
        ("--block-shape", "2x2", "expected one of 1x1, 1x2, 1x4: got '2x2'"),
        ("--epochs", "0", "expected a whole number of 1 or more: got '0'"),
    ],
)
def test_bad_flags_say_what_was_expected(flag, value, message, capsys):
    required = ("--model", "m", "--data", "d", "--out", "o")
    assert nested_keras_command("train", *required, flag, value) == 2
    assert message in capsys.readouterr().err
