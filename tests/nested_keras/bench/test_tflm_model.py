"""The model benchmark in TFLite Micro."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nested_keras.bench import tflm_model
from nested_keras.firmware import ToolchainError
from tests.nested_keras.tflite.nested_models import conv_params, nested_model, random_layer

pytestmark = pytest.mark.arm

needs_tflm = pytest.mark.skipif(
    not os.environ.get("TFLM_ROOT"),
    reason="TFLM_ROOT does not name a TFLite Micro tree with a library built for the Cortex-M7",
)


def model() -> bytes:
    return nested_model(
        random_layer(conv_params(), levels=2, seed=1), shapes=((1, 5, 3, 4), (1, 5, 3, 4))
    )


@needs_tflm
def test_every_operator_is_counted_at_every_level(tmp_path: Path) -> None:
    benchmark = tflm_model.run(model(), work_dir=tmp_path)
    assert [cost.level for cost in benchmark.levels] == [0, 1]
    for cost in benchmark.levels:
        assert [op.kind for op in cost.ops] == ["NestedSparseConv", ""]
        assert cost.instructions > cost.ops[0].instructions > 1000
    assert benchmark.levels[0].cycles < benchmark.levels[1].cycles
    assert 512 < benchmark.arena_bytes < 16384 < benchmark.flash_bytes


def test_without_tflite_micro_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    with pytest.raises(ToolchainError, match="TFLM_ROOT is not set"):
        tflm_model.run(model())
