"""The fuzzers see what they are for, and their seeds are what the script makes."""

import struct

import pytest

from nested_keras.cli import inspect_command
from tests.fuzz import fuzz_files, make_seeds, run
from tests.nested_keras.hostile import many_operators


def test_the_seeds_are_those_of_the_golden_cases():
    made = dict(make_seeds.seeds())
    assert len(made) > 8
    assert {
        path.relative_to(make_seeds.SEEDS).as_posix(): path.read_bytes()
        for path in make_seeds.SEEDS.rglob("*")
        if path.is_file()
    } == made


def test_a_seed_has_its_dimensions_and_its_stream():
    content = make_seeds.packed_input((make_seeds.GOLDEN / "10.case").read_bytes())
    assert struct.unpack_from("<H", content) > (0,)
    assert content[make_seeds.HEAD_BYTES :].startswith(b"NSC1")


def test_a_sound_file_passes_all_commands(tmp_path):
    fuzz_files.try_file(many_operators(), tmp_path)
    assert (tmp_path / "stripped.tflite").exists()
    assert (tmp_path / "out" / "model.h").exists()


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (KeyError("weights"), "weights"),
        (ValueError("two\nlines"), "expected an error of one line"),
        (ValueError(""), "expected an error of one line"),
    ],
)
def test_another_exception_is_kept_with_its_file(monkeypatch, tmp_path, error, finding):
    def fail(args):
        raise error

    monkeypatch.setattr(inspect_command, "_inspect", fail)
    fuzz_files.parser.cache_clear()
    try:
        assert fuzz_files.main([str(tmp_path / "findings"), "--seconds", "5"]) == 1
    finally:
        fuzz_files.parser.cache_clear()
    assert any((tmp_path / "findings").glob("*.tflite"))
    (text,) = (path.read_text() for path in (tmp_path / "findings").glob("*.txt"))
    assert finding in text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("stat::number_of_executed_units: 4502\n", 4502),
        ("31 files, 0 findings\n", 31),
        ("1000 layers, 0 findings\n", 1000),
        ("killed", 0),
    ],
)
def test_the_number_of_inputs_is_read_from_the_output(text, count):
    assert run.count_in(text) == count


def test_targets_may_follow_the_options(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run.main([str(tmp_path), "--seconds", "1", "ops", "rays"])
    assert (
        "expected targets of stream, ops, adapter, files, m7: got rays" in capsys.readouterr().err
    )
