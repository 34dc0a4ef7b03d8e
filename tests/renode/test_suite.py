"""The robot suite and the platform file, on a stand-in for Renode."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from robot import api

from nested_keras.codegen import sources
from tests.nested_keras.codegen.programs import nested_net
from tests.renode.prepare import prepare

pytestmark = pytest.mark.arm

SUITE = Path(__file__).parent / "nucleo_f767zi.robot"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    prepare(folder, nested_net())
    return folder


def run_suite(cases, tmp_path, suite=SUITE):
    """Runs the suite; returns the failures by test and the number of tests."""
    suite = api.TestSuite.from_file_system(suite)
    suite.resource.imports.library("tests.renode.keywords.Keywords")
    console = io.StringIO()
    result = suite.run(
        variable=[f"CASES:{cases}"],
        output=str(tmp_path / "output.xml"),
        stdout=console,
        stderr=console,
    )
    tests = result.suite.tests
    return {test.name: test.message for test in tests if not test.passed}, len(tests)


def sleeps_at_its_end(source, target):
    """Copies a firmware that runs for a few milliseconds and lets it end in a branch to itself."""
    loop = bytes.fromhex("00bf 00bf fce7")  # two nops, and a branch to the first
    content = source.read_bytes()
    assert content.count(loop) == 1
    target.write_bytes(content.replace(loop, bytes.fromhex("fee7 fee7 fee7")))


def test_the_robot_suite_passes(cases, tmp_path):
    failures, count = run_suite(cases, tmp_path)
    assert failures == {}
    assert count == 5


def test_the_robot_suite_passes_in_folders_with_spaces(cases, tmp_path):
    # A checkout as it is, with spaces in its path and in that of the cases.
    suite = tmp_path / "a check out" / "tests" / "renode" / SUITE.name
    suite.parent.mkdir(parents=True)
    shutil.copy(SUITE, suite)
    board = Path("tflm_ops", "boards", "nucleo_f767zi")
    shutil.copytree(sources.board_dir(board.name), suite.parents[2] / board)
    folder = shutil.copytree(cases, tmp_path / "the cases")
    failures, _ = run_suite(folder, tmp_path, suite)
    assert failures == {}


def test_the_robot_suite_notices_what_it_is_there_for(cases, tmp_path):
    folder = tmp_path / "cases"
    shutil.copytree(cases, folder)
    for name in ("levels.txt", "switching.txt"):
        *lines, last = (folder / name).read_text().splitlines()
        wrong = last[:-1] + ("0" if last[-1] != "0" else "1")
        (folder / name).write_text("\n".join([*lines, wrong]) + "\n")
    level, count = (folder / "qemu.txt").read_text().splitlines()[-1].split()
    (folder / "qemu.txt").write_text(f"{level} {round(int(count) * 1.03)}\n")
    shutil.copy(folder / "levels.elf", folder / "corrupted.elf")
    sleeps_at_its_end(folder / "levels.elf", folder / "counting.elf")
    failures, _ = run_suite(folder, tmp_path)
    assert sorted(failures) == [
        "Should Count Instructions With The Cycle Counter",
        "Should Count The Instructions That QEMU Counts",
        "Should Give The Outputs Of The Reference At Every Level",
        "Should Refuse A Corrupted Model",
        "Should Switch The Level Between Inferences",
    ]
