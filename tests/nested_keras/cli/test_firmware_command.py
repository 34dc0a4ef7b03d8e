"""`nested-keras firmware`, as a user calls it."""

import json
import shutil

import numpy as np
import pytest

from nested_keras import runtime
from nested_keras.codegen import sources
from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = [pytest.mark.slow, pytest.mark.arm]


def test_firmware_without_data_runs_zeros(model, folder, capsys):
    out = folder / "zeros"
    assert nested_keras_command("firmware", model, "--board", "mps2_an500", "--out", out) == 0
    assert f"Wrote {out / 'firmware.elf'}" in capsys.readouterr().out


def test_firmware_for_an_unknown_board(model, folder, capsys):
    arguments = ("--board", "arduino", "--out", folder / "arduino")
    assert nested_keras_command("firmware", model, *arguments) == 1
    known = "mps2_an385, mps2_an386, mps2_an500, mps2_an505, mps3_an547, nucleo_f767zi"
    expected = f"board must be one of {known}: got 'arduino'"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("board", ["mps2_an500", "nucleo_f767zi"])
def test_firmware_is_built_for_a_board(board, model, data, folder, capsys):
    out = folder / board
    arguments = ("--board", board, "--data", data, "--limit", 2, "--out", out)
    assert nested_keras_command("firmware", model, *arguments) == 0
    assert f"Wrote {out}/firmware.elf: " in capsys.readouterr().out
    assert (out / "firmware.elf").read_bytes().startswith(b"\x7fELF")


def test_firmware_for_a_board_of_ones_own(model, folder, capsys):
    own = folder / "mine"
    shutil.copytree(sources.board_dir("mps2_an500"), own)
    (own / "mps2_an500.ld").rename(own / "mine.ld")
    out = folder / "own"
    assert nested_keras_command("firmware", model, "--board-dir", own, "--out", out) == 0
    assert (out / "firmware.elf").read_bytes().startswith(b"\x7fELF")
    arguments = ("--target", "qemu", "--board-dir", own, "--limit", 1, "--json", "-")
    data = folder / "one.npz"
    shape = runtime.ReferenceModel(model).input_details[0].shape
    np.savez(data, x_test=np.zeros(shape, np.int8))
    capsys.readouterr()
    assert nested_keras_command("run", model, "--data", data, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "qemu"
    arguments = ("--target", "qemu", "--board", "mps2_an386", "--limit", 1, "--json", "-")
    assert nested_keras_command("run", model, "--data", data, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "qemu"
    assert nested_keras_command("run", model, "--data", data, *arguments, "--target", "host") == 1
    assert "a board is for the targets qemu, renode: got 'host'" in capsys.readouterr().err
    (own / "mine.ld").unlink()
    assert nested_keras_command("firmware", model, "--board-dir", own, "--out", out) == 1
    assert "a board must have mine.ld: got no such file" in capsys.readouterr().err
