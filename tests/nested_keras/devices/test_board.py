"""Boards of all cores: what board.json says, and the same bytes from each."""

import json

import numpy as np
import pytest

from nested_keras.codegen import sources
from nested_keras.devices.board import Board
from nested_keras.devices.tflm_firmware import build_tflm_firmware
from nested_keras.firmware import QemuModel
from tests.nested_keras.codegen.programs import (
    every_op,
    expected,
    nested_net,
    random_inputs,
)

CORES = {
    "mps2_an385": "cortex-m3",
    "mps2_an386": "cortex-m4",
    "mps2_an500": "cortex-m7",
    "mps2_an505": "cortex-m33",
    "mps3_an547": "cortex-m55",
    "nucleo_f767zi": "cortex-m7",
}


def boards_of_qemu():
    return [name for name in CORES if Board.read(name).machine is not None]


def test_every_board_names_its_core():
    found = {path.parent.name for path in sources.boards_dir().glob("*/*.ld")}
    assert found == set(CORES)
    for name, core in CORES.items():
        board = Board.read(name)
        assert board.core == core
        assert f"-mcpu={core}" in board.flags
        assert board.linker_script.is_file()
    assert boards_of_qemu() == [name for name in CORES if name.startswith("mps")]


def own_board(folder, text=None):
    """A board of a user, with a linker script, a C file and perhaps a board.json."""
    folder.mkdir()
    (folder / f"{folder.name}.ld").write_text("")
    (folder / "board.c").write_text("")
    if text is not None:
        (folder / "board.json").write_text(text)
    return folder


def test_a_board_without_the_file_is_a_cortex_m7(tmp_path):
    board = Board.read(own_board(tmp_path / "mine"))
    assert (board.core, board.machine) == ("cortex-m7", "mps2-an500")
    assert board.linker_script == tmp_path / "mine" / "mine.ld"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected the keys core"),
        ('{"core": "cortex-m4"}', "expected the keys core"),
        ('{"core": "cortex-m4", "flags": "-mcpu=cortex-m4"}', "flags .a list of texts"),
        ('{"core": "cortex-m4", "flags": [4]}', "flags .a list of texts"),
        ('{"core": 4, "flags": []}', "core .text"),
        ('{"core": "cortex-m4", "flags": [], "qemu": "mps2-an386"}', "got .*'qemu'"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(text, message, tmp_path):
    with pytest.raises(ValueError, match=rf"mine/board\.json: .*{message}"):
        Board.read(own_board(tmp_path / "mine", text))


def assert_right(prog, x, result):
    for level, outputs in zip(result.levels, result.outputs, strict=True):
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for one, other in zip(outputs, expected(prog, x, level), strict=True):
            np.testing.assert_array_equal(one, other)
    assert 500 < result.stack_bytes < 4000


@pytest.mark.arm
def test_every_core_computes_the_same_bytes(object_cache):
    prog = nested_net()
    x = random_inputs(prog, 2)
    counts = {}
    for board in boards_of_qemu():
        result = QemuModel(prog, board=board, cache_dir=object_cache).run_all(x)
        assert_right(prog, x, result)
        counts[board] = result.instructions[0]
    m7 = counts.pop("mps2_an500")
    assert counts.pop("mps2_an385") > 1.5 * m7  # has no DSP extension
    assert counts.pop("mps3_an547") != m7  # has kernels for Helium
    for board, count in counts.items():  # the same kernels
        assert abs(count - m7) < 0.02 * m7, board


@pytest.mark.arm
@pytest.mark.parametrize("board", ["mps2_an385", "mps3_an547"])
def test_every_operator_computes_the_same_bytes_without_dsp_and_with_vectors(board, object_cache):
    prog = every_op()
    x = random_inputs(prog, 1)
    assert_right(prog, x, QemuModel(prog, board=board, cache_dir=object_cache).run_all(x))


def test_a_board_that_qemu_lacks_is_refused(tmp_path):
    model = QemuModel(nested_net(), board="nucleo_f767zi")
    with pytest.raises(ValueError, match="QEMU has no machine for the board nucleo_f767zi"):
        model.run_all(random_inputs(nested_net(), 1))
    facts = {"core": "cortex-m4", "flags": ["-mcpu=cortex-m4"]}
    mine = own_board(tmp_path / "mine", json.dumps(facts))
    with pytest.raises(ValueError, match="QEMU has no machine for the board mine"):
        QemuModel(nested_net(), board=mine).run_all(random_inputs(nested_net(), 1))


def test_tflite_micro_runs_on_a_cortex_m7_alone(tmp_path, monkeypatch):
    marker = tmp_path / "tensorflow" / "lite" / "micro" / "micro_interpreter.h"
    marker.parent.mkdir(parents=True)
    marker.write_text("")
    monkeypatch.setenv("TFLM_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="Cortex-M7: mps2_an386 has a cortex-m4"):
        build_tflm_firmware(b"", np.zeros((1, 4), np.int8), tmp_path, board="mps2_an386")
