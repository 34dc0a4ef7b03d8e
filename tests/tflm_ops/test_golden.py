"""The committed cases of golden/: Bazel's host tests run on them."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from nested_keras.format import LayerKind, Stream
from nested_keras.tflite import operators
from tests.tflm_ops.make_cases import GOLDEN, GOLDEN_CODED

CASES = sorted((Path(__file__).parent / "golden").glob("*.case"))


def read_case(path):
    """Dimensions, stream, input and outputs of a case (layout: nested_case.h)."""
    content = path.read_bytes()
    header = np.frombuffer(content, "<i4", 9)
    levels, stream_size, input_size, output_size = header[5:].tolist()
    sizes = (stream_size, input_size, *[output_size] * levels)
    assert len(content) == header.nbytes + sum(sizes)
    ends = np.cumsum((header.nbytes, *sizes)).tolist()
    stream, *rest = (content[a:b] for a, b in itertools.pairwise(ends))
    return header[:5].tolist(), stream, *(np.frombuffer(part, np.int8) for part in rest)


def test_all_are_there():
    assert len(CASES) == len(GOLDEN) + len(GOLDEN_CODED)
    kinds = {Stream.parse(read_case(path)[1]).params.kind for path in CASES}
    assert kinds == set(LayerKind)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_golden_case_is_what_the_reference_says(path):
    (batches, input_h, input_w, output_h, output_w), stream, x, *outputs = read_case(path)
    params = Stream.parse(stream).params
    x_shape, y_shape = (batches, params.in_channels), (batches, params.out_channels)
    if params.kind != LayerKind.FULLY_CONNECTED:
        x_shape = (batches, input_h, input_w, params.in_channels)
        y_shape = (batches, output_h, output_w, params.out_channels)
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(stream))
    assert Stream.parse(stream).weights.levels == len(outputs)
    for level, wanted in enumerate(outputs):
        y = operators.run_op(op, [x.reshape(x_shape)], y_shape, level)
        np.testing.assert_array_equal(y.reshape(-1), wanted)
