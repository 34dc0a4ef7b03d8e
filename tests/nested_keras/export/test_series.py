import numpy as np
import pytest

from nested_keras.export.moving_layers import DepthToSpace, Transpose
from nested_keras.export.nodes import Graph, Input
from nested_keras.export.plain_layers import Binary, Concatenate, Extremum, Mean, Reshape
from nested_keras.export.series import reshapes_behind_sums, series_as_images


def graph_of(*nodes, outputs):
    return Graph({node.name: node for node in nodes}, (nodes[0].name,), outputs, 1)


def test_series_between_inputs_and_outputs_become_images():
    graph = graph_of(
        Input("x", (), (1, 6, 2)),
        Binary("twice", ("x", "x"), (1, 6, 2), "add"),
        Concatenate("long", ("x", "twice"), (1, 12, 2), axis=1),
        Concatenate("wide", ("long", "long"), (1, 12, 4), axis=2),
        Mean("mean", ("wide",), (1, 4)),
        outputs=("long", "mean"),
    )
    nodes = series_as_images(graph).nodes
    assert {name: node.shape for name, node in nodes.items()} == {
        "x": (1, 6, 2),
        "x/image": (1, 1, 6, 2),
        "twice": (1, 1, 6, 2),
        "long/image": (1, 1, 12, 2),
        "long": (1, 12, 2),
        "wide": (1, 1, 12, 4),
        "mean": (1, 4),
    }
    assert nodes["twice"].inputs == ("x/image", "x/image")
    assert nodes["wide"].inputs == ("long/image", "long/image")
    assert (nodes["long/image"].axis, nodes["wide"].axis) == (2, 3)
    assert nodes["mean"].compute([np.ones((3, 1, 12, 4), np.float32)]).shape == (3, 4)


def test_a_transposition_of_series_is_one_of_images():
    graph = graph_of(
        Input("x", (), (1, 6, 2)),
        Transpose("t", ("x",), (1, 2, 6), permutation=(0, 2, 1)),
        Mean("mean", ("t",), (1, 6)),
        outputs=("mean",),
    )
    node = series_as_images(graph).nodes["t"]
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 6, 2)
    np.testing.assert_array_equal(node.compute([x]), x.transpose(0, 1, 3, 2))
    assert node.shape == (1, 1, 2, 6)


def test_a_reshape_that_makes_the_image_itself_is_left_out():
    graph = graph_of(
        Input("x", (), (1, 1, 6, 2)),
        Reshape("series", ("x",), (1, 6, 2)),
        Mean("mean", ("series",), (1, 2)),
        outputs=("mean",),
    )
    nodes = series_as_images(graph).nodes
    assert list(nodes) == ["x", "mean"]
    assert nodes["mean"].inputs == ("x",)


def test_images_and_vectors_stay_as_they_are():
    graph = graph_of(
        Input("x", (), (1, 5, 6, 2)),
        Mean("mean", ("x",), (1, 2)),
        outputs=("mean",),
    )
    found = series_as_images(graph).nodes
    assert [(node.name, node.inputs, node.shape) for node in found.values()] == [
        ("x", (), (1, 5, 6, 2)),
        ("mean", ("x",), (1, 2)),
    ]


def test_two_reshapes_in_front_of_a_sum_become_one_behind():
    graph = graph_of(
        Input("x", (), (1, 6, 2)),
        Binary("square", ("x", "x"), (1, 6, 2), "multiply"),
        Reshape("flat", ("square",), (1, 12)),
        Reshape("other", ("square",), (1, 12)),
        Binary("sum", ("flat", "other"), (1, 12), "add"),
        Mean("mean", ("square",), (1, 2)),
        outputs=("other", "sum", "mean"),
    )
    nodes = reshapes_behind_sums(series_as_images(graph)).nodes
    assert nodes["square/before"].inputs == ("x", "x")
    assert nodes["square/before"].shape == (1, 6, 2)
    assert nodes["square"].inputs == ("square/before",)
    assert nodes["square"].shape == (1, 1, 6, 2)
    assert "x/image" not in nodes
    assert nodes["sum/before/before"].inputs == ("square/before", "square/before")
    assert nodes["sum/before"].inputs == ("sum/before/before",)
    assert nodes["sum"].inputs == ("sum/before",)
    assert nodes["other"].inputs == ("square",)  # an output stays
    assert "flat" not in nodes


@pytest.mark.parametrize("blocks", [((2, 2), (2, 2)), ((2, 2), (1, 4))])
def test_equal_moves_of_pixels_in_front_of_a_maximum_become_one_behind(blocks):
    shapes = {(2, 2): (1, 3, 4, 8), (1, 4): (1, 6, 2, 8)}
    first, second = blocks
    graph = graph_of(
        Input("x", (), shapes[first]),
        Input("y", (), shapes[second]),
        DepthToSpace("a", ("x",), (1, 6, 8, 2), first),
        DepthToSpace("b", ("y",), (1, 6, 8, 2), second),
        Extremum("most", ("a", "b"), (1, 6, 8, 2), "maximum"),
        outputs=("most",),
    )
    nodes = reshapes_behind_sums(graph).nodes
    if first != second:
        assert list(nodes) == ["x", "y", "a", "b", "most"]
        return
    assert list(nodes) == ["x", "y", "most/before", "most"]
    assert nodes["most/before"].inputs == ("x", "y")
    assert isinstance(nodes["most"], DepthToSpace)
