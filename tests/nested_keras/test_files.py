"""Files are written whole or not at all."""

import pytest

from nested_keras import files


def test_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "a.json"
    files.write_text(path, "one\r\n")
    assert path.read_bytes() == b"one\r\n"
    files.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")

    def fail(temporary):
        assert temporary.suffix == ".keras"
        temporary.write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        fail(temporary)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_bytes(tmp_path / "none" / "a.bin", b"")
