"""What a command shows while it runs."""

import time

import pytest

from nested_keras.cli import terminal
from nested_keras.cli.terminal import Terminal


@pytest.fixture
def fast(monkeypatch):
    for name, seconds in (("_FIRST_S", 0.0), ("_AGAIN_S", 0.0), ("_TICK_S", 0.005)):
        monkeypatch.setattr(terminal, name, seconds)


def test_progress_goes_to_the_standard_error(fast, capsys):
    with Terminal() as shown:
        shown.status("level 0: " + "many inputs " * 9)
        time.sleep(0.1)
        shown.say("result")
        shown.note("note")
    captured = capsys.readouterr()
    assert captured.out == "result\nnote\n"
    assert captured.err.startswith("level 0: many inputs")
    assert max(map(len, captured.err.splitlines())) <= 79


def test_on_a_terminal_the_line_changes_in_place(fast, capsys, monkeypatch):
    with Terminal() as shown:
        monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
        shown.status("one")
        time.sleep(0.1)
        shown.say("result")
        shown.status("two")
        time.sleep(0.1)
    err = capsys.readouterr().err
    assert "\n" not in err
    assert err.index("\rone (0 s)") < err.index("\rtwo (0 s)")
    assert err.endswith("\r")  # nothing is left on the line


def test_a_quiet_command_prints_results_alone(fast, capsys):
    with Terminal(quiet=True) as shown:
        shown.status("one")
        time.sleep(0.05)
        shown.note("note")
        shown.say("result")
    assert capsys.readouterr() == ("result\n", "")


def test_json_has_the_standard_output_for_itself(capsys):
    for quiet in (False, True):
        with Terminal(quiet=quiet, json_to_stdout=True) as shown:
            shown.say("table")
            shown.json("{}")
        assert capsys.readouterr() == ("{}\n", "" if quiet else "table\n")


def test_a_short_command_shows_no_progress(capsys):
    with Terminal() as shown:
        shown.status("one")
    assert capsys.readouterr().err == ""
