"""The boxes of a detector: NumPy, the generated C on this PC, and the emulated Cortex-M7."""

import numpy as np
import pytest

from nested_keras import runtime
from nested_keras.firmware import HostModel, QemuModel, RenodeModel
from tests.nested_keras.detection.detectors import detector_and_decoder
from tests.renode.launcher import write_launcher

pytestmark = pytest.mark.arm


@pytest.fixture(scope="module", name="detector")
def fixture_detector():
    program, decoder = detector_and_decoder(score_threshold=0.5, max_boxes=9, max_candidates=40)
    images = np.random.default_rng(2).integers(-128, 128, (6, 6, 6, 3)).astype(np.int8)
    reference = runtime.ReferenceModel(program)
    outputs = [reference.run(images, level) for level in range(program.levels)]
    boxes = [decoder.detect(*values) for values in outputs]
    # Some images have more boxes than are found, and the levels find others.
    assert 9 in {len(found) for found in boxes[0]}
    assert any(not np.array_equal(a, b) for a, b in zip(boxes[0], boxes[2], strict=True))
    return program, decoder, images, outputs, boxes


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_the_generated_c_on_this_pc_finds_the_boxes_of_numpy(detector):
    program, decoder, images, outputs, boxes = detector
    host = HostModel(program, decoder=decoder)
    for level in range(program.levels):
        found = host.run(images, level)
        assert_same(found, outputs[level])
        assert_same(host.detect(*found), boxes[level])


@pytest.mark.parametrize("emulator", [QemuModel, RenodeModel])
def test_the_device_finds_the_boxes_of_numpy(detector, emulator, monkeypatch, tmp_path):
    program, decoder, images, outputs, boxes = detector
    if emulator is RenodeModel:
        monkeypatch.setenv("RENODE", str(write_launcher(tmp_path, "-m", "tests.renode.monitor")))
    result = emulator(program, decoder=decoder).run_all(images)
    plain = emulator(program).run_all(images[:1])
    assert plain.detections is None
    for level in range(program.levels):
        assert_same(result.outputs[level], outputs[level])
        assert_same(result.detections[level], boxes[level])
        # An inference counts its search for boxes.
        assert result.instructions[level] > plain.instructions[level]


def test_a_host_model_without_decoder_finds_no_boxes(detector):
    program, decoder, _, outputs, _ = detector
    with pytest.raises(ValueError, match="detect needs a decoder: got a HostModel without one"):
        HostModel(program).detect(*outputs[0])
    host = HostModel(program, decoder=decoder)
    with pytest.raises(ValueError, match=r"must be int8 \['n', 72, 4\]: got int8 \[6, 71, 4\]"):
        host.detect(outputs[0][0][:, :71], outputs[0][1])
