import re

import numpy as np
import pytest

from nested_keras.int8.softmax import softmax, softmax_parameters


def test_equal_inputs_share_the_probability() -> None:
    y = softmax(
        np.full((1, 4), 17, np.int8), input_multiplier=2**30, input_left_shift=20, diff_min=-100
    )
    np.testing.assert_array_equal(y, np.full((1, 4), 64 - 128, np.int8))


def test_a_scale_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=re.escape("beta * scale above 2**-26: got 1e-08")):
        softmax_parameters(1.0, 1e-8)
