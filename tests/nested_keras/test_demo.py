"""The demo on a few of its real data, with a few training steps."""

import json

import numpy as np
import pytest

import nested_keras
from nested_keras import datasets, demo, firmware
from tests import few_digits

pytestmark = [pytest.mark.slow, pytest.mark.arm]


def test_demo_leaves_its_results_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "digits", lambda seed: few_digits.digits())
    lines = []
    config = demo.DemoConfig(
        sparsities=(0.9, 0.5), dense_epochs=1, nested_epochs=1, device_images=50
    )
    result = demo.run(tmp_path, config=config, say=lines.append)
    assert {*demo.OUTPUTS} <= {path.name for path in tmp_path.iterdir()}
    assert max(len(line) for text in lines for line in text.splitlines()) <= 80
    assert nested_keras.load_model(tmp_path / "nested.keras").levels == 2
    with np.load(tmp_path / "data.npz") as data:
        assert data["x_test"].shape == (100, 8, 8, 1)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content == result.to_dict()
    keys = "level sparsity nnz weight_bytes accuracy_float accuracy_int8 accuracy_device"
    assert [set(row) for row in content["levels"]] == [
        {*keys.split(), "instructions", "speedup_over_dense"}
    ] * 2
    sparse, denser = content["levels"]
    for key in ("nnz", "weight_bytes", "instructions"):
        assert sparse[key] < denser[key]
    assert sparse["sparsity"] == pytest.approx(0.9, abs=0.01)
    expected = content["dense"]["instructions"] / sparse["instructions"]
    assert sparse["speedup_over_dense"] == pytest.approx(expected)
    assert content["facts"]["test images on the device"] == 50
    assert any("emulated Cortex-M7" in line for line in lines)


def test_a_missing_tool_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(firmware.ToolchainError, match=r"arm-none-eabi-gcc.*gcc-arm-none-eabi"):
        demo.run(tmp_path, say=lambda line: None)
    assert not list(tmp_path.iterdir())
