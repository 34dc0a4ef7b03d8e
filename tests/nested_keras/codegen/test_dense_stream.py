import dataclasses
import re

import numpy as np
import pytest

from nested_keras import format as stream_format
from nested_keras.codegen.dense_stream import dense_stream
from nested_keras.cortex_m import cycles
from nested_keras.firmware import HostModel, generate
from tests.nested_keras.codegen.programs import Builder, expected, random_inputs


def one_conv(**changes):
    """A convolution with padding and a stride, as a program."""
    b = Builder(7)
    x = b.tensor((1, 7, 5, 3))
    y = b.conv(x, 6, stride=2)
    b.ops[0] = dataclasses.replace(b.ops[0], **changes)
    return b.build([x], [y])


def packed(prog):
    """The stream of the only operator, or None."""
    (op,) = prog.ops
    return dense_stream(op, *(prog.tensors[i].shape for i in (*op.inputs, *op.outputs)))


def test_a_stream_holds_what_the_operator_holds():
    prog = one_conv(activation_min=-100, input_offset=-5)
    (op,) = prog.ops
    nested = packed(prog).weights
    np.testing.assert_array_equal(nested.weights, op.filter)
    for name in ("bias", "multiplier", "shift"):
        np.testing.assert_array_equal(getattr(nested, name), [getattr(op, name)])
    for name in ("stride_h", "pad_left", "input_offset", "output_offset", "activation_min"):
        assert getattr(nested.params, name) == getattr(op, name)


@pytest.mark.parametrize(
    ("share", "block", "encoding"), [(1.0, 1, "DENSE"), (0.6, 1, "DELTA8"), (0.3, 4, "DELTA8")]
)
def test_zeros_are_stored_as_the_exporter_would(share, block, encoding):
    b = Builder(7)
    x = b.tensor((1, 16, 16, 8))
    prog = b.build([x], [b.conv(x, 8)])
    rng = np.random.default_rng(0)
    (op,) = prog.ops
    kept = np.repeat(rng.random((8, 3, 3, 8 // block)) < share, block, axis=-1)
    op = dataclasses.replace(
        op, filter=np.where(kept, rng.integers(1, 128, kept.shape), 0).astype(np.int8)
    )
    stream = packed(dataclasses.replace(prog, ops=(op,)))
    size = cycles.ImageSize(1, 16, 16, 16, 16)
    assert stream.data == cycles.pack_fastest(stream.weights, size).data
    assert [level.encoding.name for level in stream.levels] == [encoding]
    assert stream.params.block_size == block
    # At a share of 0.6 that is larger than DENSE, and faster.
    smallest = stream_format.encode(stream.weights)
    assert (len(stream.data) > len(smallest)) == (share == 0.6)


def test_a_dilated_filter_is_packed_with_its_gaps():
    prog = one_conv(dilation_h=2, dilation_w=2)
    nested = packed(prog).weights
    assert (nested.params.kernel_h, nested.params.kernel_w) == (5, 5)
    assert (nested.params.dilation_h, nested.params.dilation_w) == (1, 1)
    np.testing.assert_array_equal(nested.weights[:, ::2, ::2], prog.ops[0].filter)
    assert np.count_nonzero(nested.weights) == np.count_nonzero(prog.ops[0].filter)


@pytest.mark.parametrize("kernel", [(1, 5), (7, 1), (3, 3)])
def test_a_depthwise_convolution_is_packed(kernel):
    b = Builder(7)
    x = b.tensor((1, 9, 9, 4))
    y = b.depthwise(x)
    pads = {"pad_top": kernel[0] // 2, "pad_left": kernel[1] // 2}
    b.ops[0] = dataclasses.replace(b.ops[0], filter=b.int8(4, *kernel, 1), **pads)
    prog = b.build([x], [y])
    stream = packed(prog)
    assert stream.params.kind is stream_format.LayerKind.DEPTHWISE
    np.testing.assert_array_equal(stream.weights.weights, prog.ops[0].filter)
    inputs = random_inputs(prog, 3)
    (want,) = expected(prog, inputs, 0)
    np.testing.assert_array_equal(HostModel(prog).run(inputs[0]), want)


CANNOT_BE_PACKED = {
    "dilation so large that the reference kernel is faster": {"dilation_w": 200},
    "multiplier": {"multiplier": np.full(6, 1000, np.int32)},
    "shift": {"shift": np.full(6, -300, np.int32)},
    "folded bias": {
        "bias": np.full(6, -(2**31), np.int32),
        "filter": np.full((6, 3, 3, 3), -1, np.int8),
    },
    "weights per channel": {"filter": np.ones((6, 256, 256, 1), np.int8)},
}


@pytest.mark.parametrize("reason", sorted(CANNOT_BE_PACKED))
def test_what_the_format_cannot_hold_is_not_packed(reason):
    assert packed(one_conv(**CANNOT_BE_PACKED[reason])) is None


@pytest.mark.parametrize(
    ("changes", "function"),
    [
        ({}, "nk_nested_conv2d_small_s8"),
        ({"dilation_h": 2, "pad_top": 2}, "nk_nested_conv2d_small_s8"),
        (CANNOT_BE_PACKED["multiplier"], "nk_conv2d_s8"),
    ],
)
def test_both_ways_give_the_reference_s_bytes(changes, function, tmp_path):
    prog = one_conv(**changes)
    library = generate(prog, tmp_path)
    called = set(re.findall(r"\bnk_\w*conv\w*(?=[,(])", library.sources[0].read_text()))
    assert called == {function}
    inputs = random_inputs(prog, 3)
    (want,) = expected(prog, inputs, 0)
    np.testing.assert_array_equal(HostModel(prog).run(inputs[0]), want)
