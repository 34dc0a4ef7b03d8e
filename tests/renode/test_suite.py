"""The robot suite and the platform file, on a stand-in for Renode."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from robot import api

from tests.nested_keras.firmware.programs import nested_net
from tests.renode.prepare import prepare

SUITE = Path(__file__).parent / "nucleo_f767zi.robot"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    prepare(folder, nested_net())
    return folder


def run_suite(cases, tmp_path):
    """Runs the suite; returns its log and the failures by test."""
    suite = api.TestSuite.from_file_system(SUITE)
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


def test_the_robot_suite_passes(cases, tmp_path):
    failures, count = run_suite(cases, tmp_path)
    assert failures == {}
    assert count == 5


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
    failures, _ = run_suite(folder, tmp_path)
    assert sorted(failures) == [
        "Should Count The Instructions That QEMU Counts",
        "Should Give The Outputs Of The Reference At Every Level",
        "Should Refuse A Corrupted Model",
        "Should Switch The Level Between Inferences",
    ]
