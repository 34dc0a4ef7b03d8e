"""The baseline: the committed record, and the way to a checkout."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from nested_keras.bench import cmsis
from nested_keras.bench.core import CORES
from nested_keras.bench.kernel_table import baseline_cases
from nested_keras.bench.layer_cases import LAYERS, cases_of
from nested_keras.bench.operator_cases import operator_cases
from nested_keras.firmware import BuildError

pytestmark = pytest.mark.arm


@pytest.mark.parametrize("core", CORES)
def test_every_layer_and_operator_has_recorded_counts(core):
    names = {layer.name for layer in LAYERS} | {case.label for case in operator_cases()}
    assert set(cmsis.recorded(core).costs) == names


def test_the_record_names_version_date_and_compiler():
    content = json.loads(cmsis.RECORD.read_text())
    assert re.fullmatch(r"[0-9a-f]{40}", content["commit"])
    assert content["version"].endswith(content["commit"][:8])
    assert content["date"] > content["commit_date"] >= "2026-01-01"
    source = cmsis.recorded().source
    assert content["version"] in source
    assert "arm-none-eabi-gcc" in source


def test_a_record_is_read_back(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    root.mkdir()
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", root, *arguments], check=True)
    path = tmp_path / "record.json"
    cmsis.record(root, {"m4": {"a layer": cmsis.Cost(12, 7)}}, path)
    monkeypatch.setattr(cmsis, "RECORD", path)
    assert cmsis.recorded("m4").costs == {"a layer": cmsis.Cost(12, 7)}


def test_a_record_needs_a_git_checkout(tmp_path):
    with pytest.raises(BuildError, match="git failed"):
        cmsis.record(tmp_path, {}, tmp_path / "record.json")


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"CMSIS_NN_ROOT must name .*arm_nnfunctions\.h"):
        cmsis.measured(tmp_path, [], tmp_path)


@pytest.mark.parametrize("value", ["", None])
def test_an_unset_variable_means_the_record(monkeypatch, value):
    monkeypatch.delenv(cmsis.ROOT_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(cmsis.ROOT_VARIABLE, value)
    assert cmsis.root_from_environment() is None


def test_the_variable_names_the_checkout(monkeypatch):
    monkeypatch.setenv(cmsis.ROOT_VARIABLE, "/some/where")
    assert cmsis.root_from_environment() == Path("/some/where")


def test_a_missing_bakenn_is_no_error(monkeypatch):
    monkeypatch.setattr(cmsis.importlib.util, "find_spec", lambda name: None)
    assert cmsis.bakenn_root() is None


def test_a_checkout_gives_the_recorded_counts(tmp_path):
    root = cmsis.root_from_environment()
    if root is None:
        pytest.skip("needs a CMSIS-NN checkout in CMSIS_NN_ROOT")
    cases = [case for layer in LAYERS for case in cases_of(layer)]
    measured = cmsis.measured(root, baseline_cases([*cases, *operator_cases()]), tmp_path)
    for name, recorded in cmsis.recorded().costs.items():
        # Other versions and compilers may differ, but not wildly.
        assert measured.costs[name].instructions == pytest.approx(recorded.instructions, rel=0.1)
