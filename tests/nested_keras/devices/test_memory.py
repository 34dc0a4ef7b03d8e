import pytest

from nested_keras.codegen import sources
from nested_keras.devices.memory import BoardMemory, explain_overflow
from nested_keras.firmware import BuildError

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("board", "regions", "images"),
    [
        ("mps2_an500", {"FLASH": 4 * MB, "RAM": 4 * MB, "IMAGES": 16 * MB}, "IMAGES"),
        ("nucleo_f767zi", {"FLASH": 2 * MB, "RAM": 512 * 1024}, "FLASH"),
    ],
)
def test_memories_of_a_board(board, regions, images):
    assert BoardMemory.read(sources.board_dir(board)) == BoardMemory(regions, images)


def test_a_model_alone_that_does_not_fit():
    error = BuildError(
        "ld: region `FLASH' overflowed by 1000 bytes\nld: region `RAM' overflowed by 8 bytes"
    )
    board = sources.board_dir("nucleo_f767zi")
    told = explain_overflow(error, board, images=1, stride=192)
    assert str(told) == (
        "the firmware does not fit nucleo_f767zi: it needs 2,098,152 bytes for FLASH, which has "
        "2,097,152 and 524,296 bytes for RAM, which has 524,288; the firmware does not fit even "
        "with one image"
    )


def test_other_errors_of_the_linker_stay():
    error = BuildError("undefined reference to `main'")
    board = sources.board_dir("nucleo_f767zi")
    assert explain_overflow(error, board, images=1, stride=192) is error


def test_a_board_without_a_place_for_images(tmp_path):
    board = tmp_path / "mine"
    board.mkdir()
    (board / "mine.ld").write_text("MEMORY { }")
    with pytest.raises(BuildError, match=r"mine\.ld must place \.images in a memory"):
        BoardMemory.read(board)
