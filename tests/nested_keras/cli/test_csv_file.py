"""CSV files that a command reads or refuses."""

import numpy as np
import pytest

from nested_keras.cli import csv_file
from nested_keras.cli.parts import Reading


def load(path, text, *, shape=(None, 2, 3), part="train", **reading):
    path.write_text(text)
    return csv_file.load(path, part, shape=shape, reading=Reading(**reading))


def rows(count, *, columns=6, labels=("walk", "run")):
    lines = [",".join([*(f"c{i}" for i in range(columns)), "label"])]
    for index in range(count):
        values = [str(index + i / 10) for i in range(columns)]
        lines.append(",".join([*values, labels[index % len(labels)]]))
    return "\n".join(lines) + "\n"


def test_a_row_is_an_example(tmp_path):
    path = tmp_path / "data.csv"
    parts = [load(path, rows(10), part=part) for part in ("train", "test")]
    assert [part.x.shape for part in parts] == [(8, 2, 3), (2, 2, 3)]
    assert parts[0].classes == ("run", "walk")
    assert [np.bincount(part.y).tolist() for part in parts] == [[4, 4], [1, 1]]
    firsts = np.concatenate([part.x[:, 0, 0] for part in parts])
    assert sorted(firsts) == list(range(10))
    labels = np.concatenate([part.y for part in parts])
    np.testing.assert_array_equal(labels, (firsts % 2 == 0).astype(int))  # "walk" is class 1
    np.testing.assert_allclose(parts[0].x[0].ravel(), parts[0].x[0, 0, 0] + np.arange(6) / 10)


def test_a_row_is_a_time_step(tmp_path):
    """Windows neither overlap nor cross a change of the label."""
    labels = ["a"] * 5 + ["b"] * 4 + ["a"] * 3
    lines = ["x;label;y;z", *(f"{i};{label};0;{-i}" for i, label in enumerate(labels))]
    path = tmp_path / "data.csv"
    found = [load(path, "\n".join(lines), part=part) for part in ("train", "test")]
    starts = sorted(float(window[0, 0]) for part in found for window in part.x)
    assert starts == [0, 2, 5, 7, 9]
    for part in found:
        np.testing.assert_array_equal(part.x[:, 1] - part.x[:, 0], [[1, 0, -1]] * len(part.x))


@pytest.mark.parametrize("form", ["{}", "{}.0", "{}.", "{:.18e}"])
def test_a_class_index_may_be_written_as_a_real_number(tmp_path, form):
    """As pandas writes a column with gaps: 10.0 is class 10, and not the name behind 1.0."""
    labels = [form.format(index) for index in range(12)]
    part = load(tmp_path / "data.csv", rows(36, labels=labels))
    assert part.classes == ()
    np.testing.assert_array_equal(part.y, part.x[:, 0, 0] % 12)


def test_one_class_in_two_forms_is_one_class(tmp_path):
    with pytest.raises(ValueError, match="expected two classes or more: got only 1"):
        load(tmp_path / "data.csv", rows(10, labels=("1", "1.0")))


@pytest.mark.parametrize("label", ["1_0", "-1", "0.5", "1e3", "nan", "1e+999"])
def test_other_labels_are_names(tmp_path, label):
    part = load(tmp_path / "data.csv", rows(10, labels=("0", label)))
    assert part.classes == tuple(sorted(["0", label]))


def test_a_name_among_class_indices_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text(rows(4, labels=("0", "1")))
    (tmp_path / "test.csv").write_text(rows(2, labels=("walk",)))
    with pytest.raises(ValueError, match=r"expected class indices, as in train.csv: got 'walk'"):
        csv_file.load(tmp_path, "test", shape=(None, 6), reading=Reading())


def test_whole_numbers_are_class_indices_and_files_are_parts(tmp_path):
    (tmp_path / "train.csv").write_text(rows(4, labels=("2", "0")).replace("label", "activity"))
    (tmp_path / "val.csv").write_text(rows(3, labels=("1",)).replace("label", "activity"))
    reading = Reading(label="activity")
    train, test = (
        csv_file.load(tmp_path, part, shape=(None, 6), reading=reading)
        for part in ("train", "test")
    )
    assert train.y.tolist() == [2, 0, 2, 0]
    assert test.y.tolist() == [1, 1, 1]
    assert train.classes == ()


GOOD = "a,b,label\n1,2,x\n3,4,y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column 'label' with the labels in the first line (see --label): got an e"),
        ("a,b\n1,2\n", "got a, b"),
        ("a,b,label\n", "expected rows behind the first line: got none"),
        (GOOD.replace("3", "three"), "row 3, column 'a': expected a number: got 'three'"),
        (GOOD.replace("4", ""), "row 3, column 'b': expected a number: got ''"),
        (GOOD.replace("4", "nan"), "row 3, column 'b': expected a number: got 'nan'"),
        (GOOD.replace("2", "1e300"), "row 2, column 'b': expected a number: got '1e300'"),
        (GOOD.replace("4,y", "y"), "row 3: expected 3 cells: got 2"),
        (GOOD.replace("y", ""), "row 3, column 'label': expected a label: got none"),
        (GOOD.replace("y", "x"), "expected two classes or more: got x"),
        (GOOD.replace("y", "1").replace("x", "1"), "expected two classes or more: got only 1"),
        ("\x00,label\n", "data.csv: "),
    ],
)
def test_bad_files_are_one_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=r"expected|cannot") as error:
        load(tmp_path / "data.csv", text, shape=(None, 2))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_wrong_numbers_of_columns(tmp_path):
    path = tmp_path / "data.csv"
    with pytest.raises(ValueError, match=r"expected 6 columns .* or 3 \(a time step a row\)"):
        load(path, GOOD)
    with pytest.raises(ValueError, match=r"expected 4 rows or more with the same label"):
        load(path, "a,b,label\n1,2,x\n1,2,y\n", shape=(None, 4, 2))
    with pytest.raises(ValueError, match="must have a fixed size"):
        load(path, GOOD, shape=(None, None, 2))
    with pytest.raises(ValueError, match=r"trained for \(x, z\): got 'y'"):
        load(path, GOOD, shape=(None, 2), classes=("x", "z"))
    path.write_bytes(b"a,label\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        csv_file.load(path, "train", shape=(None, 1), reading=Reading())
