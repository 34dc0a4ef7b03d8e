import dataclasses

import numpy as np
import pytest

from nested_keras.export.calibrate import calibrate, with_own_scales
from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph, Input
from nested_keras.export.plain_layers import Concatenate, Extremum, Pool, Reshape, Unary
from tests.nested_keras.export.linear_nodes import linear

pytestmark = pytest.mark.slow


def graph_of(*nodes, outputs=None, levels=1):
    by_name = {node.name: node for node in nodes}
    inputs = tuple(node.name for node in nodes if isinstance(node, Input))
    return Graph(by_name, inputs, outputs or (nodes[-1].name,), levels)


X = Input("x", (), (1, 1, 1, 1))


def test_ranges_are_united_over_levels_and_contain_zero():
    node = linear(
        gain=[[2.0], [1.0]],
        bias=[[0.0], [-5.0]],
        filter=np.ones((1, 1, 1, 1)),
        level_map=np.zeros((1, 1, 1, 1), np.uint8),
    )
    data = np.array([3.0, 4.0], np.float32).reshape(2, 1, 1, 1)
    ranges = calibrate(graph_of(X, node, levels=2), (data,))
    assert ranges.limits["x"] == (0.0, 4.0)
    assert ranges.limits["layer"] == (-2.0, 8.0)  # level 1: -2, -1; level 0: 6, 8
    assert ranges.scale("layer") == 10 / 255


def test_every_example_counts():
    data = np.zeros((200, 1, 1, 1), np.float32)
    data[199] = 7
    assert calibrate(graph_of(X), (data,)).limits["x"] == (0.0, 7.0)


def test_operators_that_keep_the_scale_share_a_range():
    y = Unary("y", ("x",), (1, 1, 1, 1), "leaky_relu", 3.0)
    pool = Pool("pool", ("y",), (1, 1, 1, 1), "max", (1, 1), (1, 1), "VALID")
    both = Concatenate("both", ("x", "pool"), (1, 1, 1, 2), 3)
    flat = Reshape("flat", ("both",), (1, 2))
    data = np.array([-2.0, 5.0], np.float32).reshape(2, 1, 1, 1)
    ranges = calibrate(graph_of(X, y, pool, both, flat), (data,))
    assert {ranges.limits[name] for name in ("x", "y", "pool", "both", "flat")} == {(-6.0, 5.0)}


def test_a_relu6_alone_shares_the_range_of_its_input_unless_that_is_fixed():
    """TFLite Micro's kernel clamps the int8 values of the input."""
    data = (np.array([-2.0, 9.0], np.float32).reshape(2, 1, 1, 1),)
    clipped = Unary("clipped", ("x",), (1, 1, 1, 1), "relu6")
    assert set(calibrate(graph_of(X, clipped), data).limits.values()) == {(-2.0, 9.0)}
    gate = Unary("gate", ("x",), (1, 1, 1, 1), "sigmoid")
    ranges = calibrate(graph_of(X, gate, dataclasses.replace(clipped, inputs=("gate",))), data)
    assert (list(ranges.fixed), list(ranges.limits)) == (["gate"], ["x", "clipped"])


def test_fixed_scales_pass_through_but_not_into_a_concatenation():
    gate = Unary("gate", ("x",), (1, 1, 1, 1), "sigmoid")
    flat = Reshape("flat", ("gate",), (1, 1, 1, 1))
    both = Concatenate("both", ("x", "flat"), (1, 1, 1, 2), 3)
    ranges = calibrate(graph_of(X, gate, flat, both), (np.full((1, 1, 1, 1), 3, np.float32),))
    assert ranges.fixed == {"gate": 1 / 256, "flat": 1 / 256}
    assert ranges.limits["both"] == (0.0, 3.0)


@pytest.mark.parametrize("function", ["maximum", "minimum"])
def test_a_maximum_shares_the_range_of_its_operands(function):
    y = Unary("y", ("x",), (1, 1, 1, 1), "leaky_relu", 3.0)
    both = Extremum("both", ("x", "y"), (1, 1, 1, 1), function)
    data = np.array([-2.0, 5.0], np.float32).reshape(2, 1, 1, 1)
    ranges = calibrate(graph_of(X, y, both), (data,))
    assert {ranges.limits[name] for name in ("x", "y", "both")} == {(-6.0, 5.0)}


@pytest.mark.parametrize(
    "both",
    [
        Concatenate("both", ("a", "b"), (1, 1, 1, 2), 3),
        Extremum("both", ("a", "b"), (1, 1, 1, 1), "minimum"),
    ],
)
def test_operands_that_all_have_a_fixed_scale(both):
    """Two sigmoids pass theirs on; beside a tanh the result is rounded to a range of its own."""
    a, b = (Unary(name, ("x",), (1, 1, 1, 1), "sigmoid") for name in "ab")
    data = np.full((1, 1, 1, 1), -3, np.float32)
    ranges = calibrate(graph_of(X, a, b, both), (data,))
    assert ranges.fixed == {"a": 1 / 256, "b": 1 / 256, "both": 1 / 256}
    value = np.array([-0.99, 0.3333], np.float32)
    assert ranges.fake_quantize(both, value) is value
    b = Unary("b", ("x",), (1, 1, 1, 1), "tanh")
    ranges = calibrate(graph_of(X, a, b, both), (data,))
    assert ranges.fixed == {"a": 1 / 256, "b": 1 / 128}
    low, _ = ranges.limits["both"]
    assert low == pytest.approx(np.tanh(-3))
    steps = np.asarray(ranges.fake_quantize(both, value)) / ranges.scale("both")
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_an_output_of_a_fixed_and_a_free_operand_is_rounded_to_its_own_range():
    """The converter would give it the fixed scale, and cut off what lies beyond."""
    flat = Reshape("flat", ("x",), (1, 1, 1, 1))
    gate = Unary("gate", ("x",), (1, 1, 1, 1), "sigmoid")
    least = Extremum("least", ("gate", "flat"), (1, 1, 1, 1), "minimum")
    ranges = calibrate(graph_of(X, flat, gate, least), (np.full((1, 1, 1, 1), -3, np.float32),))
    assert ranges.limits["least"] == (-3.0, 0.0)
    value = np.array([-2.999, 0.0], np.float32)
    assert ranges.fake_quantize(flat, value) is value
    np.testing.assert_allclose(ranges.fake_quantize(least, value), [-3, 0], atol=1e-6)


def test_a_fixed_scale_beside_another_reader_gets_a_table():
    """The converter would let the other reader read the requantised values, cut off at 0.1."""
    a = Unary("a", ("x",), (1, 1, 1, 1), "tanh")
    small = Unary("small", ("x",), (1, 1, 1, 1), "leaky_relu", 0.1)
    first = Extremum("first", ("a", "small"), (1, 1, 1, 1), "minimum")
    alone = graph_of(X, a, small, first)
    assert list(with_own_scales(alone).nodes) == ["x", "a", "small", "first"]
    again = Concatenate("again", ("first", "a"), (1, 1, 1, 2), 3)  # of the same range
    assert list(with_own_scales(graph_of(X, a, small, first, again)).nodes)[3:] == [
        "first",
        "again",
    ]
    for outputs, nodes in (
        (("first", "a"), ()),
        (("first",), (Unary("b", ("a",), X.shape, "elu"),)),
    ):
        graph = with_own_scales(graph_of(X, a, small, first, *nodes, outputs=outputs))
        assert graph.nodes["first"].inputs == ("a/in/small", "small")
        assert graph.nodes["a/in/small"].inputs == ("a",)
        assert graph.outputs == outputs


def test_a_fixed_scale_beside_another_reader_gets_a_table_behind_a_reshape_too():
    """The converter would requantise in front of the reshape, and the other reader would see it."""
    a = Unary("a", ("x",), (1, 1, 1, 1), "sigmoid")
    flat = Reshape("flat", ("a",), (1, 1, 1, 1))
    first = Extremum("first", ("x", "flat"), (1, 1, 1, 1), "minimum")
    alone = graph_of(X, a, flat, first)
    assert list(with_own_scales(alone).nodes) == ["x", "a", "flat", "first"]
    for outputs, nodes in (
        (("first", "a"), ()),
        (("first",), (Unary("b", ("a",), X.shape, "elu"),)),
    ):
        graph = with_own_scales(graph_of(X, a, flat, first, *nodes, outputs=outputs))
        assert graph.nodes["first"].inputs == ("x", "flat/in/x")
        assert graph.nodes["flat/in/x"].inputs == ("flat",)


def test_a_fixed_scale_may_be_joined_with_several_others():
    a = Unary("a", ("x",), (1, 1, 1, 1), "tanh")
    b = Unary("b", ("x",), (1, 1, 1, 1), "sigmoid")
    first = Extremum("first", ("a", "b"), (1, 1, 1, 1), "minimum")
    second = Concatenate("second", ("x", "a", "a"), (1, 1, 1, 3), 3)
    graph = with_own_scales(graph_of(X, a, b, first, second, outputs=("first", "second")))
    assert graph.nodes["first"].inputs == ("a/in/first", "b")
    assert graph.nodes["second"].inputs == ("x", "a/in/x", "a/in/x")
    ranges = calibrate(graph, (np.full((1, 1, 1, 1), 3, np.float32),))
    assert ranges.limits["a/in/x"] == ranges.limits["second"] == (0.0, 3.0)
    assert ranges.limits["a/in/first"] == ranges.limits["first"] == (0.0, pytest.approx(np.tanh(3)))


@pytest.mark.parametrize(("value", "limits"), [(0.0, (0.0, 1.0)), (1e-9, (0.0, 1e-5))])
def test_ranges_too_narrow_for_the_converter_are_widened(value, limits):
    data = np.full((1, 1, 1, 1), value, np.float32)
    assert calibrate(graph_of(X), (data,)).limits["x"] == limits


def test_refuses_outputs_that_are_not_finite():
    node = linear(gain=[[1.0], [np.nan]], bias=[[0.0], [0.0]], inputs=1)
    with pytest.raises(ExportError, match="layer 'layer' must have finite outputs: got nan to nan"):
        calibrate(graph_of(X, node, levels=2), (np.ones((1, 1, 1, 1), np.float32),))
