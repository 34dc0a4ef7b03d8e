import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nested_keras.detection import Anchors

SMALL = Anchors(((2, 3), (1, 1)), (((0.5, 0.25), (0.1, 0.2)), ((1.0, 1.0),)))


def test_order_is_map_row_column_shape():
    boxes = SMALL.boxes()
    assert boxes.dtype == np.float32
    assert boxes.shape == (13, 4) == (SMALL.count, 4)
    want = [
        (y, x, *shape)
        for y in (0.25, 0.75)
        for x in (1 / 6, 0.5, 5 / 6)
        for shape in ((0.5, 0.25), (0.1, 0.2))
    ]
    want.append((0.5, 0.5, 1.0, 1.0))
    np.testing.assert_array_equal(boxes, np.array(want, np.float32))


def test_ssd_has_a_shape_per_ratio_and_a_square_between():
    anchors = Anchors.ssd(((4, 4), (2, 2)), (0.2, 0.45, 0.8), (1.0, 4.0))
    first, second = anchors.shapes
    np.testing.assert_allclose(first, [(0.2, 0.2), (0.1, 0.4), (0.3, 0.3)])
    np.testing.assert_allclose(second[-1], 2 * (math.sqrt(0.45 * 0.8),))
    assert anchors.count == 3 * (16 + 4)


@given(
    st.lists(
        st.tuples(
            st.tuples(st.integers(1, 40), st.integers(1, 40)),
            st.lists(
                st.tuples(*2 * (st.floats(1e-6, 10, allow_nan=False),)), min_size=1, max_size=4
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_json_gives_the_same_anchors(maps):
    anchors = Anchors(tuple(size for size, _ in maps), tuple(tuple(each) for _, each in maps))
    again = Anchors.from_json(anchors.to_json())
    assert again == anchors
    np.testing.assert_array_equal(again.boxes(), anchors.boxes())


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "3", '{"feature_maps": [[1, 1]], "shapes": [[[1]]]}', "null"),
        *(
            '{"feature_maps": [[Infinity, 4]], "shapes": [[[0.3, 0.3]]]}',
            '{"feature_maps": [[1e400, 4]]}',
        ),
        '{"feature_maps": [[30000, 30000]], "shapes": [[[0.3, 0.3]]]}',
    ],
)
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match=r"anchors|not enough values"):
        Anchors.from_json(text)


def test_json_with_a_wrong_size_is_refused():
    value = json.loads(SMALL.to_json())
    value["shapes"][0][0][1] = -1.0
    with pytest.raises(ValueError, match=r"each > 0: got \(0.5, -1.0\)"):
        Anchors.from_json(json.dumps(value))


@pytest.mark.parametrize(
    ("maps", "shapes", "text"),
    [
        ((), (), "one or more feature maps: got 0"),
        (((1, 1),), (), "got 1 feature maps and 0"),
        (((0, 1),), (((1.0, 1.0),),), "each >= 1: got (0, 1)"),
        (((1, 1),), ((),), "one shape or more"),
        (((1, 1),), (((math.inf, 1.0),),), "each > 0: got (inf, 1.0)"),
    ],
)
def test_wrong_sizes_are_refused(maps, shapes, text):
    with pytest.raises(ValueError, match="must") as error:
        Anchors(maps, shapes)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("scales", "ratios", "text"),
    [
        ((0.1,), (1.0,), "must have 2 scales, one each and one more: got 1"),
        ((0.1, -0.2), (1.0,), "above 0"),
        ((0.1, 0.2), (), "above 0"),
    ],
)
def test_wrong_scales_are_refused(scales, ratios, text):
    with pytest.raises(ValueError, match=text):
        Anchors.ssd(((2, 2),), scales, ratios)
