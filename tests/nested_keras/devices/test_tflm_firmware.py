import os

import numpy as np
import pytest

from nested_keras.devices import qemu
from nested_keras.devices.tflm_firmware import build_tflm_firmware, tflm_root
from nested_keras.firmware import CodegenError, DeviceError, QemuModel, RenodeModel, ToolchainError
from nested_keras.format import LayerKind
from nested_keras.runtime import ReferenceModel
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)

pytestmark = pytest.mark.arm

needs_tflm = pytest.mark.skipif(
    not os.environ.get("TFLM_ROOT"),
    reason="TFLM_ROOT does not name a TFLite Micro tree with a library built for the Cortex-M7",
)

SHAPE = (1, 5, 3, 4)
X = np.random.default_rng(0).integers(-128, 128, (3, *SHAPE[1:])).astype(np.int8)


def chain(**options):
    layers = [
        random_layer(conv_params(), levels=3, seed=0),
        random_layer(conv_params(LayerKind.DEPTHWISE, input_offset=7), levels=3, seed=1),
        random_layer(dense_params(input_offset=7), levels=3, seed=2),
    ]
    return nested_model(*layers, shapes=(SHAPE, SHAPE, SHAPE, (1, 5)), **options)


def test_without_tflm_root_the_message_says_what_it_is(monkeypatch):
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    with pytest.raises(ToolchainError, match="TFLM_ROOT is not set: it must name a TFLite Micro"):
        build_tflm_firmware(chain(), X, "unused")


def test_a_folder_that_is_no_tflm_tree(monkeypatch, tmp_path):
    monkeypatch.setenv("TFLM_ROOT", str(tmp_path))
    with pytest.raises(ToolchainError, match="has no tensorflow/lite/micro/micro_interpreter"):
        tflm_root()


@pytest.mark.parametrize("name", ["firmware.elf", "run/data.S", "run/model.tflite"])
def test_a_file_of_the_user_is_refused(name, monkeypatch, tmp_path):
    header = tmp_path / "tflm" / "tensorflow" / "lite" / "micro" / "micro_interpreter.h"
    header.parent.mkdir(parents=True)
    header.touch()
    monkeypatch.setenv("TFLM_ROOT", str(tmp_path / "tflm"))
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("my own")
    with pytest.raises(CodegenError, match=f"firmware did not write: {name}; "):
        build_tflm_firmware(chain(), X, out)
    assert [path.read_text() for path in out.rglob("*") if path.is_file()] == ["my own"]


@needs_tflm
@pytest.mark.parametrize("level_input", [True, False])
def test_every_level_equals_the_reference(level_input):
    model = chain(level_input=level_input)
    reference = ReferenceModel(model)
    result = QemuModel(model, runtime="tflm").run_all(X)
    assert result.levels == (0, 1, 2)
    for level in result.levels:
        np.testing.assert_array_equal(result.outputs[level], reference.run(X, level))
    assert result.instructions[0] < result.instructions[2]
    assert 512 < result.arena_bytes < 16384
    assert result.text_bytes > result.model_bytes > 1000


@needs_tflm
def test_an_arena_that_is_too_small_says_so(tmp_path):
    firmware = build_tflm_firmware(chain(), X, tmp_path, arena_bytes=1024)
    with pytest.raises(DeviceError, match=r"(?s)# .*error check NK_ERROR_MALFORMED"):
        qemu.run(firmware.elf)


@needs_tflm
def test_the_other_board_links(tmp_path):
    firmware = RenodeModel(chain(), runtime="tflm").build(X, tmp_path)
    assert firmware.elf == tmp_path / "firmware.elf"
    assert firmware.text_bytes + firmware.data_bytes < 2 << 20


def test_tflm_wants_the_file():
    from tests.nested_keras.codegen.programs import nested_net

    with pytest.raises(ValueError, match=r"needs the \.tflite: got a prepared graph"):
        QemuModel(nested_net(), runtime="tflm")
    with pytest.raises(ValueError, match="runtime must be one of standalone, tflm: got 'c'"):
        QemuModel(chain(), runtime="c")
