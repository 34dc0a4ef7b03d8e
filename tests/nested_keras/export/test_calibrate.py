import numpy as np
import pytest

from nested_keras.export.calibrate import calibrate
from nested_keras.export.errors import ExportError
from nested_keras.export.nodes import Concatenate, Graph, Input, Pool, Reshape, Unary
from tests.nested_keras.export.linear_nodes import linear


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


def test_fixed_scales_pass_through_but_not_into_a_concatenation():
    gate = Unary("gate", ("x",), (1, 1, 1, 1), "sigmoid")
    flat = Reshape("flat", ("gate",), (1, 1, 1, 1))
    both = Concatenate("both", ("x", "flat"), (1, 1, 1, 2), 3)
    ranges = calibrate(graph_of(X, gate, flat, both), (np.full((1, 1, 1, 1), 3, np.float32),))
    assert ranges.fixed == {"gate": 1 / 256, "flat": 1 / 256}
    assert ranges.limits["both"] == (0.0, 3.0)


@pytest.mark.parametrize(("value", "limits"), [(0.0, (0.0, 1.0)), (1e-9, (0.0, 1e-5))])
def test_ranges_too_narrow_for_the_converter_are_widened(value, limits):
    data = np.full((1, 1, 1, 1), value, np.float32)
    assert calibrate(graph_of(X), (data,)).limits["x"] == limits


def test_refuses_outputs_that_are_not_finite():
    node = linear(gain=[[1.0], [np.nan]], bias=[[0.0], [0.0]], inputs=1)
    with pytest.raises(ExportError, match="layer 'layer' must have finite outputs: got nan to nan"):
        calibrate(graph_of(X, node, levels=2), (np.ones((1, 1, 1, 1), np.float32),))


def values(numbers):
    return (np.asarray(numbers, np.float32).reshape(-1, 1, 1, 1),)


def middle_graph():
    """An input, a node whose range may be clipped, and an output."""
    return graph_of(
        X,
        Unary("middle", ("x",), (1, 1, 1, 1), "leaky_relu", 1.0),
        Unary("y", ("middle",), (1, 1, 1, 1), "leaky_relu", 1.0),
    )


def squared_error(numbers, low, high):
    """Of int8 with this range, value by value."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    steps = np.clip(np.round(np.asarray(numbers) / scale) + zero, 0, 255)
    return np.square((steps - zero) * scale - numbers).mean()


@pytest.mark.parametrize("seed", range(4))
def test_mse_clips_to_the_least_error_of_all_shares(seed):
    rng = np.random.default_rng(seed)
    numbers = np.append(rng.normal(size=200_000), [12.0, -6.0]) * 10.0**seed
    numbers[:50_000] = 0.0
    ranges = calibrate(middle_graph(), values(numbers), method="mse")
    low, high = ranges.limits["middle"]
    assert 0.3 * numbers.max() <= high < numbers.max()
    assert low / numbers.min() == pytest.approx(high / numbers.max())
    found = squared_error(numbers, low, high)
    shares = np.linspace(0.3, 1.0, 71)
    best = min(squared_error(numbers, s * numbers.min(), s * numbers.max()) for s in shares)
    assert found <= 1.05 * best
    assert found < squared_error(numbers, numbers.min(), numbers.max())


def test_mse_leaves_inputs_and_outputs_of_the_model_whole():
    numbers = np.append(np.linspace(0, 1, 5000), 60.0)
    ranges = calibrate(middle_graph(), values(numbers), method="mse")
    assert ranges.limits["x"] == ranges.limits["y"] == (0.0, 60.0)
    assert ranges.limits["middle"][1] < 60.0


def test_mse_keeps_the_whole_range_where_clipping_does_not_pay():
    numbers = np.linspace(-1, 3, 1000)
    assert calibrate(middle_graph(), values(numbers), method="mse").limits["middle"] == (-1, 3)
    zeros = calibrate(middle_graph(), values(np.zeros(3)), method="mse")
    assert zeros.limits["middle"] == (0.0, 1.0)


def test_mse_sees_every_level():
    node = linear(
        gain=[[1.0], [0.1]],
        bias=[[0.0], [0.0]],
        filter=np.ones((1, 1, 1, 1)),
        level_map=np.zeros((1, 1, 1, 1), np.uint8),
    )
    last = Unary("y", ("layer",), (1, 1, 1, 1), "leaky_relu", 1.0)
    numbers = np.linspace(0, 1, 500)
    ranges = calibrate(graph_of(X, node, last, levels=2), values(numbers), method="mse")
    assert ranges.limits["layer"][1] > 0.9, "half of the values, those of level 0, lie up to 1"


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r"must be one of \('min_max', 'mse'\): got 'entropy'"):
        calibrate(graph_of(X), values([1.0]), method="entropy")
