"""The folder of a firmware: it replaces files of an earlier run, and no others."""

import numpy as np
import pytest

from nested_keras.firmware import CodegenError, build_firmware
from tests.nested_keras.codegen.programs import nested_net, random_inputs

pytestmark = pytest.mark.arm


@pytest.mark.parametrize(
    "name", ["images.bin", "images.S", "firmware_run.c", "firmware.elf", "model/model.c"]
)
def test_a_file_of_the_user_is_refused(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("my own")
    program = nested_net()
    with pytest.raises(CodegenError, match="choose another folder") as caught:
        build_firmware(program, random_inputs(program, 1), tmp_path)
    assert name.removeprefix("model/") in str(caught.value)
    left = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {tmp_path / name: "my own"}


def test_the_files_of_an_earlier_run_are_replaced(tmp_path, object_cache):
    program = nested_net()
    (tmp_path / "notes.txt").write_text("my own")
    for count in (1, 2):
        inputs = random_inputs(program, count)
        build_firmware(program, inputs, tmp_path, cache_dir=object_cache)
        size = np.concatenate([x.reshape(-1) for x in inputs]).nbytes
        assert (tmp_path / "images.bin").stat().st_size >= size
    assert (tmp_path / "notes.txt").read_text() == "my own"
