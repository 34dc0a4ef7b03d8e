import numpy as np
import pytest

from nested_keras.format.levels import check_level


def test_levels_are_checked():
    assert check_level(None, levels=3) == 2
    assert check_level(np.int64(0), levels=3) == 0
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        check_level(3, levels=3)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got -1"):
        check_level(-1, levels=3)
    with pytest.raises(TypeError, match=r"level must be an integer in 0\.\.2: got 1\.0"):
        check_level(1.0, levels=3)
