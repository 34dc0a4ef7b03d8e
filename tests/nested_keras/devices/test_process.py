"""What is started ends with the process, and temporary folders go."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nested_keras.devices import process

# Starts a shell that starts a sleep, inside of a temporary folder; prints their numbers.
PROGRAM = """
import signal, sys
from nested_keras.devices import process
# Whoever started the tests may have told them to ignore signals, as nohup does.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
with process.temporary_folder() as folder:
    command = ["/bin/sh", "-c", "sleep 300 & echo $$ $!; wait"]
    with process.running(command, stderr=None) as shell:
        print(folder, shell.stdout.readline().decode().strip(), flush=True)
        shell.wait()
"""


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(number):
    """Whether a process that has been killed ends; a busy machine takes a moment for it."""
    until = time.monotonic() + 10
    while is_running(number) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_running(number)


@pytest.mark.arm
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_what_was_started_and_removes_the_folder(name, tmp_path):
    number = getattr(signal, name)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as python:
        folder, *started = python.stdout.readline().decode().split()
        assert Path(folder).is_dir()
        assert all(is_running(each) for each in started)
        python.send_signal(number)
        errors = python.communicate(timeout=30)[1].decode()
    assert not Path(folder).exists()
    assert all(ends(each) for each in started)
    if name == "SIGINT":
        assert "KeyboardInterrupt" in errors
    else:
        assert python.returncode == 128 + number
        assert errors == ""


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch):
    monkeypatch.setattr(process, "_GRACE_S", 0.2)
    command = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    with process.running(command) as shell:
        assert shell.stdout.readline() == b"ready\n"
    assert shell.returncode == -signal.SIGKILL


def test_run_gives_status_and_outputs():
    done = process.run(["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    both = process.run(["/bin/sh", "-c", "echo err >&2"], stderr=subprocess.STDOUT)
    assert both.stdout == b"err\n"


def test_the_time_limit_ends_the_whole_group():
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        process.run(["/bin/sh", "-c", "sleep 300 & echo $!; wait"], timeout_s=2)
    assert time.monotonic() - began < 30
    assert ends(caught.value.stdout.decode().strip())


def test_handlers_are_those_of_before_at_the_end_and_those_of_the_caller_stay():
    before = signal.getsignal(signal.SIGTERM)
    mine = lambda number, frame: None  # noqa: E731
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, mine)
    try:
        with process.signals_raise():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            assert signal.getsignal(signal.SIGHUP) is mine
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_other_threads_run_programs_too():
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(process.run(["/bin/echo", "1"]).stdout))
    thread.start()
    thread.join()
    assert outputs == [b"1\n"]


def test_a_signal_while_a_program_starts_waits_until_it_is_known(monkeypatch):
    started = []

    class Slow(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    with pytest.raises(SystemExit) as caught:
        process.run(["/bin/sleep", "300"])
    assert caught.value.code == 128 + signal.SIGTERM
    assert started[0].returncode == -signal.SIGTERM
