"""Series [1, length, channels] become images of height one, [1, 1, length, channels].

After this step a layer of one dimension is a layer of two dimensions, so no later step, file or
kernel needs the difference. The inputs and outputs of the model keep their shapes, because a
Reshape stands beside each. A Reshape moves no byte.
"""

from __future__ import annotations

import dataclasses

from nested_keras.export.moving_layers import DepthToSpace
from nested_keras.export.nodes import Graph, Input, Node, image_shape
from nested_keras.export.plain_layers import Binary, Extremum, Reshape


def series_as_images(graph: Graph) -> Graph:
    """Returns the same network without series between its inputs and its outputs.

    Args:
        graph: The traced graph, with the shapes of Keras.
    """
    nodes: dict[str, Node] = {}
    # Name in the old graph -> name of the node that gives the value as an image.
    moved: dict[str, str] = {}
    for old in graph.nodes.values():
        node = dataclasses.replace(old, inputs=tuple(moved[name] for name in old.inputs))
        image = image_shape(node.shape)
        moved[node.name] = node.name
        if image == node.shape:
            nodes[node.name] = node.as_image()
        elif isinstance(node, Input):
            moved[node.name] = f"{node.name}/image"
            nodes[node.name] = node
            nodes[moved[node.name]] = Reshape(moved[node.name], (node.name,), image)
        elif node.name in graph.outputs:
            # The output keeps the name of its layer.
            moved[node.name] = f"{node.name}/image"
            nodes[moved[node.name]] = dataclasses.replace(node.as_image(), name=moved[node.name])
            nodes[node.name] = Reshape(node.name, (moved[node.name],), node.shape)
        elif isinstance(node, Reshape) and nodes[node.inputs[0]].shape == image:
            moved[node.name] = node.inputs[0]
        else:
            nodes[node.name] = node.as_image()
    return Graph(nodes, graph.inputs, graph.outputs, graph.levels)


def reshapes_behind_sums(graph: Graph) -> Graph:
    """Returns the same network with one Reshape behind a sum or product, not two in front.

    The converter would move the reshapes itself, and would leave the sum without a range, or with
    five axes. A maximum or minimum is like a sum here, and a DepthToSpace like a Reshape, because
    the converter ends a DepthToSpace with one. Where other reshapes stand in front, the sum moves
    further. A reshape with other readers stays for them.
    """
    reads = graph.consumers()
    nodes: dict[str, Node] = {}
    for node in graph.nodes.values():
        before = [nodes[name] for name in node.inputs]
        moves = {_move(each, nodes) for each in before}
        if (
            isinstance(node, Binary | Extremum)
            and len(moves) == 1
            and None not in moves
            and before[0].shape == node.shape
        ):
            for name in set(node.inputs):
                reads[name] -= node.inputs.count(name)
                if not reads[name]:
                    del nodes[name]
            inner = f"{node.name}/before"
            sources = tuple(name for each in before for name in each.inputs)
            shape = nodes[sources[0]].shape
            nodes[inner] = dataclasses.replace(node, name=inner, inputs=sources, shape=shape)
            nodes[node.name] = dataclasses.replace(before[0], name=node.name, inputs=(inner,))
        else:
            nodes[node.name] = node
    moved = Graph(nodes, graph.inputs, graph.outputs, graph.levels)
    return moved if nodes.keys() == graph.nodes.keys() else reshapes_behind_sums(moved)


def _move(node: Node, nodes: dict[str, Node]) -> tuple[object, ...] | None:
    """Returns what tells a Reshape or DepthToSpace from others of them; None for another node."""
    if not isinstance(node, Reshape | DepthToSpace):
        return None
    block = node.block if isinstance(node, DepthToSpace) else None
    return nodes[node.inputs[0]].shape, block, node.shape
