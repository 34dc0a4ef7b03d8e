"""The cores of the benchmarks."""

import pytest

from nested_keras.bench.core import CORES
from nested_keras.cortex_m import cycles
from nested_keras.devices.board import Board

pytestmark = pytest.mark.arm


def test_the_cores_are_those_of_the_predictions():
    assert tuple(CORES) == cycles.CORES


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_a_core_has_a_board_of_qemu(core):
    board = Board.read(core.board)
    assert board.core == core.title.lower()
    assert core.machine == board.machine
    assert set(board.flags) <= set(core.toolchain().flags)
