"""Find the node of a tensor in the converted file by the name of the tensor.

The twin is traced with one name scope per node. The converter names every tensor after the
operations that were fused into the tensor, with their scopes. Graph outputs have the names
Identity, Identity_1, ...
"""

from __future__ import annotations

import re

from nested_keras.export.nodes import Graph, Node

_SCOPE = re.compile(r"(?:^|[/;])node_(\d+)(?=[/;]|$)")
_OUTPUT = re.compile(r"Identity(?:_(\d+))?")


def scope_name(index: int) -> str:
    """Name scope of the node at a position of `Graph.nodes`."""
    return f"node_{index}"


def input_name(index: int) -> str:
    """Name of a graph input in the converted file."""
    return f"input_{index}"


def output_name(index: int) -> str:
    """Name of a graph output in the converted file."""
    return f"Identity_{index}" if index else "Identity"


def node_of_tensor(name: str, graph: Graph) -> Node | None:
    """The node that computes the tensor of that name in the converted file."""
    output = _OUTPUT.fullmatch(name)
    if output:
        # A tensor beside an output may have the output's name with another digit behind.
        index = int(output[1] or 0)
        return graph.nodes[graph.outputs[index]] if index < len(graph.outputs) else None
    nodes = tuple(graph.nodes.values())
    indices = {int(index) for index in _SCOPE.findall(name)}
    # The last node computes the tensor; the other nodes were fused into the last node.
    return nodes[max(indices)] if indices else None
