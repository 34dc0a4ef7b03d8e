import pytest

from nested_keras.export import tensor_names
from nested_keras.export.nodes import Graph, Input
from nested_keras.export.plain_layers import Reshape
from tests.nested_keras.export.linear_nodes import linear

pytestmark = pytest.mark.slow

NODES = (
    Input("x", (), (1, 1, 1, 4)),
    linear(gain=[[1.0, 1.0]], bias=[[0.0, 0.0]]),
    Reshape("flat", ("layer",), (1, 2)),
)
GRAPH = Graph({node.name: node for node in NODES}, ("x",), ("flat", "layer"), 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("node_1/Relu;node_1/add;node_1/Conv2D", "layer"),
        ("node_1/MatMul2;node_2/Reshape", "flat"),
        ("node_0", "x"),
        ("Identity", "flat"),
        ("Identity_1", "layer"),
        ("Identity_11", None),  # beside the output Identity_1
        ("tfl.pseudo_qconst", None),
        ("anode_1/x", None),
    ],
)
def test_names_of_the_converter(name, expected):
    node = tensor_names.node_of_tensor(name, GRAPH)
    assert (node.name if node else None) == expected


def test_names_are_found_again():
    for index, node in enumerate(NODES):
        assert tensor_names.node_of_tensor(f"{tensor_names.scope_name(index)}/Op", GRAPH) is node
    for index, name in enumerate(GRAPH.outputs):
        assert tensor_names.node_of_tensor(tensor_names.output_name(index), GRAPH).name == name
