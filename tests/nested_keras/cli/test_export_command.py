"""`nested-keras export`, as a user calls it."""

from types import SimpleNamespace

import numpy as np
import pytest

import nested_keras
from nested_keras import export
from tests import zoo
from tests.nested_keras.cli.commands import nested_keras_command, write_data

pytestmark = pytest.mark.slow


def test_export_calibrates_on_all_of_sorted_data(tmp_path, monkeypatch):
    seen = {}

    def to_tflite(model, *, representative_dataset, **types):
        seen["data"] = representative_dataset
        seen.update(types)
        return zoo.exported("four_levels_default_exclude").tflite

    monkeypatch.setattr(export, "to_tflite", to_tflite)
    model = SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 1))], layers=[])
    monkeypatch.setattr(nested_keras.model, "load_model", lambda *args, **kwargs: model)
    data = write_data(tmp_path / "d.npz", x_train=np.arange(60.0).reshape(60, 1))
    out = tmp_path / "m.tflite"
    options = ("--samples", 6, "--input-type", "uint8", "--output-type", "float32")
    assert nested_keras_command("export", "m", "--data", data, *options, "--out", out) == 0
    assert (seen["inference_input_type"], seen["inference_output_type"]) == ("uint8", "float32")
    assert (seen["data"][:, 0] // 10).tolist() == [0, 1, 2, 3, 4, 5]
