"""`nested-keras bench`, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nested_keras.tflite.nested_models import dense_params, nested_model, random_layer

pytestmark = [pytest.mark.slow, pytest.mark.arm]

ROOT = Path(__file__).resolve().parents[3]


def bench(*arguments, **environment):
    command = [sys.executable, "-c", "from nested_keras import cli; cli.main()", "bench"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def model(tmp_path):
    layer = random_layer(dense_params(), levels=2, seed=2)
    path = tmp_path / "model.tflite"
    path.write_bytes(nested_model(layer, shapes=((1, 60), (1, 5))))
    return path


def test_a_model_is_measured_and_written_as_json(model, tmp_path):
    target = tmp_path / "costs.json"
    done = bench("model", model, "--json", target)
    assert done.returncode == 0, done.stderr
    assert "whole inference" in done.stdout
    assert [level["level"] for level in json.loads(target.read_text())["levels"]] == [0, 1]


def test_the_core_is_chosen(model, tmp_path):
    target = tmp_path / "costs.json"
    done = bench("model", model, "--core", "m4", "--json", target)
    assert done.returncode == 0, done.stderr
    assert "Cortex-M4 issue model" in done.stdout
    assert json.loads(target.read_text())["core"] == "m4"
    done = bench("kernels", "--core", "m85")
    assert done.returncode == 2
    assert "invalid choice: 'm85' (choose from 'm7', 'm4', 'm33')" in done.stderr


def test_the_memory_and_its_penalties_are_chosen(model, tmp_path):
    cycles = {}
    for name, options in {
        "default": (),
        "small": ("--memory", "4k"),
        "slower": ("--flash-cycles", "40", "--ram-cycles", "30"),
    }.items():
        target = tmp_path / f"{name}.json"
        done = bench("model", model, "--json", target, *options)
        assert done.returncode == 0, done.stderr
        cycles[name] = json.loads(target.read_text())["levels"][0]["memory_cycles"]
    assert cycles["default"] < min(cycles["small"], cycles["slower"])
    done = bench("model", model, "--memory", "8k")
    assert done.returncode == 2
    assert "invalid choice: '8k'" in done.stderr


def test_a_missing_tool_is_told_in_one_line(model, tmp_path):
    for arguments in (("kernels",), ("model", model)):
        done = bench(*arguments, PATH=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "nested-keras: error: arm-none-eabi-gcc was not found on PATH; "
            "on Debian install it with: apt install gcc-arm-none-eabi"
        ]


def test_a_wrong_root_is_told_in_one_line(tmp_path):
    done = bench("kernels", CMSIS_NN_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(
        "nested-keras: error: CMSIS_NN_ROOT must name a CMSIS-NN checkout"
    )


def test_an_output_that_cannot_be_written_is_told_before_the_work(model, tmp_path):
    target = tmp_path / "none" / "costs.json"
    for arguments in (("kernels",), ("model", model)):
        done = bench(*arguments, "--json", target, PATH=str(tmp_path))  # no compiler either
        assert done.returncode == 1
        assert "expected a folder to write costs.json to" in done.stderr
