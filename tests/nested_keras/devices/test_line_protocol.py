import numpy as np
import pytest

from nested_keras.devices.line_protocol import parse
from nested_keras.firmware import DeviceError

TEXT = """\
nk-firmware 1
model 3 2 4 2 96
out 0 0 00ff7f80
out 0 1 01020304
instructions 0 1000
ops 0 400 40
out 2 0 05060708
out 2 1 090a0b0c
instructions 2 3001
ops 2 1200 80
stack 512
end OK
"""


def test_a_complete_run():
    run = parse(TEXT)
    assert run.levels == (0, 2)
    assert run.outputs.shape == (2, 2, 4)
    assert run.outputs[0, 0].view(np.int8).tolist() == [0, -1, 127, -128]
    assert run.outputs[1, 1].tolist() == [9, 10, 11, 12]
    assert run.instructions.tolist() == [500.0, 1500.5]
    assert run.op_instructions.tolist() == [[400, 40], [1200, 80]]
    assert (run.model_levels, run.arena_bytes, run.stack_bytes) == (3, 96, 512)


def test_a_model_without_operators():
    text = TEXT.replace("model 3 2 4 2 96", "model 3 2 4 0 0")
    text = text.replace("ops 0 400 40", "ops 0").replace("ops 2 1200 80", "ops 2")
    assert parse(text).op_instructions.shape == (2, 0)


def test_lines_for_people_are_skipped():
    noisy = "".join(f"# note {i}\n{line}\n" for i, line in enumerate(TEXT.splitlines()))
    assert parse(noisy).instructions.tolist() == [500.0, 1500.5]
    with pytest.raises(DeviceError, match=r"(?s)ends before `end OK`.*# the arena is too small"):
        parse("nk-firmware 1\n# the arena is too small\n")


@pytest.mark.parametrize("kept", range(len(TEXT.splitlines())))
def test_every_cut_is_noticed(kept):
    lines = TEXT.splitlines()
    with pytest.raises(DeviceError, match="the output ends before `end OK`") as caught:
        parse("\n".join(lines[:kept]))
    assert (lines[kept - 1] if kept else "nothing was printed") in str(caught.value)


@pytest.mark.parametrize("removed", range(len(TEXT.splitlines())))
def test_every_missing_line_is_noticed(removed):
    lines = TEXT.splitlines()
    del lines[removed]
    with pytest.raises(DeviceError, match=r"expected|ends before"):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nk-firmware 1", "nk-firmware 2", "expected protocol version 1: got 2"),
        ("model 3 2 4 2 96", "model 3 2 4 2", "expected 5 unsigned numbers: got '3 2 4 2'"),
        ("00ff7f80", "00ff7f8", "expected 8 hex digits in `out 0 0`: got '00ff7f8'"),
        ("00ff7f80", "00ff7f8g", "expected 8 hex digits in `out 0 0`: got '00ff7f8g'"),
        ("out 0 1 ", "out 0 2 ", "expected `out 0 1 HEX`: got 'out 0 2 01020304'"),
        ("instructions 0 1000", "instructions 2 1000", "expected results of level 0: got level 2"),
        ("ops 0 400 40", "ops 0 400", "expected 3 unsigned numbers: got '0 400'"),
        ("ops 0 400 40", "ops 0 400 -1", "expected 3 unsigned numbers: got '0 400 -1'"),
        ("stack 512", "stack lots", "expected 1 unsigned numbers: got 'lots'"),
        ("end OK", "end BAD", "expected `end OK` as the last line"),
        ("end OK\n", "end OK\nmore\n", "expected nothing after `end OK`: got 'more'"),
    ],
)
def test_a_wrong_line_is_refused_with_what_was_expected(old, new, message):
    assert old in TEXT
    with pytest.raises(DeviceError) as caught:
        parse(TEXT.replace(old, new, 1))
    assert str(caught.value).startswith(message)
    assert "; its last lines:\n" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fault 3 pc=0000008c cfsr=00008200", "the firmware faulted: fault 3 pc=0000008c"),
        ("error invoke 0 1 NK_ERROR_SHAPE", "reported an error: error invoke 0 1 NK_ERROR_SHAPE"),
    ],
)
def test_faults_and_errors_are_reported(line, message):
    with pytest.raises(DeviceError, match=message):
        parse(TEXT.replace("out 0 1 01020304", line))
