from __future__ import annotations

import numpy as np
import pytest

from nested_keras.int8 import tables
from tests.nested_keras.runtime.oracle import EVERY_INT8


def test_requantisation_to_the_same_scale_is_the_identity() -> None:
    scales = tables.Scales(0.05, 3, 0.05, 3)
    np.testing.assert_array_equal(tables.rescale(scales), EVERY_INT8[0])


def test_logistic_of_very_negative_inputs_is_zero() -> None:
    table = tables.logistic(tables.Scales(100.0, 127, 1 / 256, -128))
    assert table[0] == -128
    assert table[255] == 0


def test_hard_swish_refuses_a_tiny_output_scale() -> None:
    with pytest.raises(ValueError, match=r"at least 1/128 of the input scale 1\.0: got 0\.001"):
        tables.hard_swish(tables.Scales(1.0, 0, 0.001, 0))
