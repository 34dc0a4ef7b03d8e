"""Driving Renode: the real board's code on a stand-in, and misbehaving programs in its place."""

import os
import shutil
import time

import numpy as np
import pytest

from nested_keras.codegen import sources
from nested_keras.devices import renode
from nested_keras.firmware import DeviceError, QemuModel, RenodeModel, ToolchainError
from tests.nested_keras.codegen.programs import (
    expected,
    nested_net,
    random_inputs,
    with_stream,
    wrong_nonzeros,
)
from tests.renode.launcher import write_launcher

pytestmark = pytest.mark.arm

# Prints the given numbers after the first steps and lets the UART say the given text.
CANNED = """
import os, re, sys, time
from pathlib import Path
Path({pid_file!r}).write_text(str(os.getpid()))
script = Path(sys.argv[6].removeprefix("include @")).read_text()
(uart,) = re.findall(r"CreateFileBackend @(.*) true", script)
text, console, wait = {text!r}, {console!r}, {wait!r}
Path(uart).write_text(text)
sys.stdout.write(console)
sys.stdout.flush()
time.sleep(wait)
"""
STEPS = "0x00000000003D0900\r\n0x003C0000\r\n0x00000000016E3600\r\n0x016D2D00\r\n"
TEXT = "nk-firmware 1\nend OK\n"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Renode's stand-in as `renode` on PATH."""
    write_launcher(tmp_path, "-m", "tests.renode.monitor")
    monkeypatch.delenv("RENODE", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def run_canned(tmp_path, monkeypatch, *, text=TEXT, console=STEPS, wait=60, timeout_s=20.0):
    """Runs a firmware that does not matter on a program that prints these texts."""
    program = tmp_path / "program.py"
    pid_file = str(tmp_path / "pid")
    program.write_text(CANNED.format(text=text, console=console, wait=wait, pid_file=pid_file))
    monkeypatch.setenv("RENODE", str(write_launcher(tmp_path, str(program))))
    return renode.run(tmp_path / "firmware.elf", timeout_s=timeout_s)


def test_the_board_agrees_with_numpy_and_counts_as_qemu(stand_in, object_cache):
    prog = nested_net()
    x = random_inputs(prog, 3)
    result = RenodeModel(prog, cache_dir=object_cache).run_all(x)
    on_qemu = QemuModel(prog, cache_dir=object_cache).run_all(x)
    assert result.levels == (0, 1, 2)
    for level, got in zip(result.levels, result.outputs, strict=True):
        (wanted,) = expected(prog, x, level)
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(result.instructions, on_qemu.instructions, rtol=0.02)
    assert result.arena_bytes == on_qemu.arena_bytes
    assert result.stack_bytes == on_qemu.stack_bytes
    assert abs(result.text_bytes - on_qemu.text_bytes) < 1000


def test_the_level_switches_between_inferences(stand_in, object_cache):
    prog = nested_net()
    x = random_inputs(prog, 1)
    levels = (2, 0, 1, 0, 2)
    result = RenodeModel(prog, cache_dir=object_cache).run_all(x, levels=levels)
    assert result.levels == levels
    for level, got in zip(levels, result.outputs, strict=True):
        np.testing.assert_array_equal(got, expected(prog, x, level)[0])


def test_damaged_weights_are_refused_on_the_uart(stand_in, object_cache):
    prog = with_stream(nested_net(), wrong_nonzeros)
    with pytest.raises(DeviceError, match=r"reported an error: error check NK_ERROR_"):
        RenodeModel(prog, cache_dir=object_cache).run(random_inputs(prog, 1))


def test_the_text_of_the_uart_is_returned_and_renode_ended(tmp_path, monkeypatch):
    begin = time.monotonic()
    assert run_canned(tmp_path, monkeypatch) == TEXT
    assert time.monotonic() - begin < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    "last", ["error check NK_ERROR_CHECKSUM\n", "fault 3 pc=08000100 cfsr=0\n"]
)
def test_errors_and_faults_end_a_run_too(last, tmp_path, monkeypatch):
    text = "nk-firmware 1\n" + last
    assert run_canned(tmp_path, monkeypatch, text=text) == text


@pytest.mark.parametrize("wait", [0, 60])  # after an error Renode may wait for input
def test_a_script_error_shows_in_what_the_monitor_said(wait, tmp_path, monkeypatch):
    console = "There was an error executing command 'sysbus LoadELF'\r\n"
    with pytest.raises(
        DeviceError, match=r"(?s)Renode ended before the firmware did; nothing was printed.*LoadELF"
    ):
        run_canned(tmp_path, monkeypatch, text="", console=console, wait=wait)


def test_a_firmware_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    with pytest.raises(
        DeviceError,
        match=r"(?s)within 5 s, the start of Renode among them; its last lines:\n  nk-firmware 1\n",
    ):
        run_canned(tmp_path, monkeypatch, text="nk-firmware 1\nend", timeout_s=5.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def printed(*counters):
    """What the Monitor prints of pairs of instructions and counts."""
    return "".join(f"0x{first:016X}\r\n0x{second:08X}\r\n" for first, second in counters)


def test_a_counter_that_counts_something_else_is_refused(tmp_path, monkeypatch):
    console = printed((200_000, 0), (400_000, 50_000), (600_000, 266_000), (800_000, 482_000))
    with pytest.raises(
        DeviceError, match=r"must advance as the instructions do: got 216000 counts for 200000"
    ):
        run_canned(tmp_path, monkeypatch, console=console)


def test_a_core_that_sleeps_after_the_end_does_not_matter(tmp_path, monkeypatch):
    # Awake between the second and the third reading only; the counter starts in the first interval.
    console = printed((200_000, 0), (400_000, 190_000), (610_000, 400_000), (640_000, 620_500))
    assert run_canned(tmp_path, monkeypatch, console=console) == TEXT


@pytest.mark.parametrize(
    "last", ["error check NK_ERROR_CHECKSUM\n", "fault 3 pc=08000100 cfsr=0\n"]
)
def test_the_firmware_s_verdict_comes_before_the_counter_s(last, tmp_path, monkeypatch):
    console = printed((200_000, 190_000), (200_000, 410_000), (200_000, 630_000))
    text = "nk-firmware 1\n" + last
    assert run_canned(tmp_path, monkeypatch, text=text, console=console) == text


def test_readings_are_found_among_the_monitor_s_other_output():
    console = (
        "Renode, version 1.16.1\r\n(monitor) i $CWD/run.resc\r\n"
        "\x1b[33m0x0000000000000010\x1b[0m\r\n0x0000000F\r\n"
        "0x00000001FFFFFFFF\r\n0xfffffffe\r\n(nucleo_f767zi) 0x0000000000000012\r\n"
    )
    assert renode.readings(console) == [(0x10, 0xF), (0x1FFFFFFFF, 0xFFFFFFFE)]


def test_folders_with_spaces(stand_in, object_cache, tmp_path, monkeypatch):
    checkout, temporary = tmp_path / "a check out", tmp_path / "temporary files"
    shutil.copytree(sources.board_dir("nucleo_f767zi"), checkout)
    temporary.mkdir()
    prog = nested_net()
    firmware = RenodeModel(prog, cache_dir=object_cache).build(random_inputs(prog, 1), checkout)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(sources, "board_dir", lambda board: checkout)
    assert renode.run(firmware.elf).endswith("end OK\n")
    assert list(temporary.iterdir()) == []


def test_a_file_that_is_not_there(stand_in, tmp_path):
    with pytest.raises(DeviceError, match=r"(?s)Renode ended before.*No such file: .*no\.elf"):
        renode.run(tmp_path / "no.elf")


def test_renode_is_looked_for_before_the_build(tmp_path, monkeypatch):
    monkeypatch.setenv("RENODE", "/nowhere/renode")
    prog = nested_net()
    with pytest.raises(ToolchainError, match="RENODE names '/nowhere/renode'"):
        RenodeModel(prog, build_dir=tmp_path).run_all(random_inputs(prog, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_renode_is_reported(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("RENODE", raising=False)
    with pytest.raises(ToolchainError, match=r"renode is no program.*install Renode 1\.16"):
        renode.find_renode()
    monkeypatch.setenv("RENODE", "/nowhere/renode")
    with pytest.raises(ToolchainError, match=r"RENODE names '/nowhere/renode', which is no prog"):
        renode.find_renode()


@pytest.mark.parametrize("timeout_s", [0, -1.5])
def test_a_time_limit_has_to_be_positive(timeout_s, tmp_path):
    with pytest.raises(ValueError, match=f"timeout_s must be positive: got {timeout_s}"):
        renode.run(tmp_path / "firmware.elf", timeout_s=timeout_s)
