"""Data files that a command reads or refuses."""

import zipfile

import numpy as np
import pytest

from nested_keras.cli import data_files
from tests import zoo
from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def damaged_data(path, kind):
    """Writes a data file that `run` must refuse."""
    x = zoo.data("four_levels_default_exclude")
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
        ("npy", "expected a .npz archive of numpy.savez: got a .npy file"),
        ("cut", "expected a .npz archive of numpy.savez: got a damaged archive"),
        ("empty", "got an empty file"),
        ("tflite", "got a file of another kind"),
        ("flipped", "array x_test cannot be read: "),
        ("terabytes", "array x_test "),
        ("bytes", "x_test must be an array that numpy.savez wrote"),
        ("objects", "the array holds Python objects where numbers are expected"),
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


def test_spread_reaches_every_part():
    for count, samples in ((10, 10), (10, 30), (1000, 7), (7, 6), (1, 1)):
        found = data_files.spread(count, samples)
        assert len(found) == min(count, samples)
        assert (np.diff(found) > 0).all()
        assert found[0] >= 0
        assert found[-1] < count
