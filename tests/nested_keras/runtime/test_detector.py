"""The decoder of a .tflite."""

import re

import numpy as np
import pytest

from nested_keras import runtime
from nested_keras.detection import decoding
from tests.nested_keras.codegen.programs import nested_net
from tests.nested_keras.detection.detectors import detector_net, random_anchors

ANCHORS = random_anchors(np.random.default_rng(0), 72)


def test_scales_and_classes_are_those_of_the_outputs():
    program = detector_net(classes=2)
    decoder = runtime.decoder_for(program, ANCHORS)
    assert decoder.classes == 2
    assert decoder.offset == 3
    assert decoder.exp_table[1] == round(np.exp(-0.05) * 2**24)
    assert decoder.max_boxes == decoding.Limits().max_boxes


def test_other_outputs_and_anchors_are_refused():
    text = "outputs int8 [1, 71, 4] and int8 [1, 71, classes + 1]: got int8 [1, 72, 4], int8 [1, 7"
    with pytest.raises(ValueError, match=re.escape(text)):
        runtime.decoder_for(detector_net(), ANCHORS[:71])
    with pytest.raises(ValueError, match="a detector of 72 anchors must have the outputs"):
        runtime.decoder_for(nested_net(), ANCHORS)
