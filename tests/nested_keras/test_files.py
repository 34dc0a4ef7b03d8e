"""Files are written whole or not at all."""

import os
import stat
from pathlib import Path

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


def test_a_folder_is_made_and_other_files_of_it_stay(tmp_path):
    folder = tmp_path / "a" / "b"
    files.write_folder(folder, {"one.c": b"1", "src/two.c": b"2"})
    (folder / "mine.c").write_bytes(b"m")
    files.write_folder(folder, {"one.c": b"3"}, remove=["src/two.c"])
    left = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    assert left == {"one.c", "mine.c", "src"}
    assert (folder / "one.c").read_bytes() == b"3"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_folder_that_cannot_be_written_stays_as_it_was(tmp_path):
    files.write_folder(tmp_path / "a", {"one.c": b"1", "two.c": b"2"})
    with pytest.raises(OSError, match="too long"):
        files.write_folder(tmp_path / "a", {"one.c": b"3", "x" * 300: b"4"}, remove=["two.c"])
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == {
        "one.c": b"1",
        "two.c": b"2",
    }


def test_a_file_behind_a_symbolic_link_is_not_written_to(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"old")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(victim)
    files.write_folder(tmp_path / "a", {"link": b"new"})
    assert victim.read_bytes() == b"old"
    assert (tmp_path / "a" / "link").read_bytes() == b"new"


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "v3.tflite").write_bytes(b"old")
    link = tmp_path / "latest.tflite"
    link.symlink_to("store/v3.tflite")
    files.require_writable(link)
    files.write_bytes(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "store" / "v3.tflite").read_bytes() == b"new"
    (tmp_path / "new").symlink_to("store/v4")
    files.write_bytes(tmp_path / "new", b"v4")
    assert (tmp_path / "store" / "v4").read_bytes() == b"v4"


@pytest.mark.parametrize("through", ["a pipe", "a descriptor"])
def test_a_pipe_is_written_to(tmp_path, through):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        path = pipe if through == "a pipe" else f"/dev/fd/{writer}"
        files.require_writable(path, suffix=".json" if through == "a pipe" else None)
        files.write_text(path, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
        os.close(writer)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_device_is_written_to():
    with pytest.raises(OSError, match="No space left on device"):
        files.write_bytes("/dev/full", b"x")
    assert Path("/dev/full").is_char_device()


def test_what_cannot_be_written_is_refused(tmp_path):
    files.require_writable(tmp_path / "a.keras", suffix=".keras")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"a file that ends in \.tflite: got .*a\.keras"):
        files.require_writable(tmp_path / "a.keras", suffix=".tflite")
    with pytest.raises(IsADirectoryError, match=r"expected a file to write: .* is a folder"):
        files.require_writable(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected a folder to write a to: .*none"):
        files.require_writable(tmp_path / "none" / "a")


def test_what_is_read_only_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("kept")
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"expected a file that can be written: .*read-only"):
        files.require_writable(path)
    assert path.read_text() == "kept"
