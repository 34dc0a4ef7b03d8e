"""`nested-keras firmware`, as a user calls it."""

import pytest

from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = [pytest.mark.slow, pytest.mark.arm]


def test_firmware_without_data_runs_zeros(model, folder, capsys):
    out = folder / "zeros"
    assert nested_keras_command("firmware", model, "--board", "mps2_an500", "--out", out) == 0
    assert f"Wrote {out / 'firmware.elf'}" in capsys.readouterr().out


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
