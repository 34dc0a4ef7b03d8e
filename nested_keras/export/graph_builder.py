"""Collects the nodes of a graph while its layers are traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nested_keras.export.nodes import Node
from nested_keras.typing import KerasVariable

Shape: TypeAlias = tuple[int, ...]
NodeField: TypeAlias = Any  # a number, a name, a shape or an array

# The functions of two tensors that may change places.
_COMMUTE = frozenset({"add", "multiply", "maximum", "minimum"})


class GraphBuilder:
    """The nodes of one walk over a model.

    Args:
        levels: Number of levels.
        read: Gives the value of a layer's variable: an array or a tensor.

    Attributes:
        levels: Number of levels.
        read: The argument `read`.
        nodes: The nodes so far, by name.
    """

    def __init__(self, levels: int, read: Callable[[Any], Any]) -> None:
        self.levels = levels
        self.read = read
        self.nodes: dict[str, Node] = {}
        self._plain: dict[tuple[Any, ...], str] = {}

    def read_float(self, variable: KerasVariable) -> Any:
        """Reads a variable; an array as float64."""
        value = self.read(variable)
        return value.astype(np.float64) if isinstance(value, np.ndarray) else value

    def add(self, cls: type[Node], name: str, inputs: tuple[str, ...], **fields: NodeField) -> str:
        """Adds a node, or finds an equal node without weights; returns the name of the node."""
        # The converter would merge two equal nodes, and `match` would find neither in the file.
        read = tuple(sorted(inputs)) if fields.get("function") in _COMMUTE else inputs
        same = () if cls.has_values else (cls, read, *sorted(fields.items()))
        if same in self._plain:
            return self._plain[same]
        name = self._unique(name)
        self.nodes[name] = cls(name=name, inputs=inputs, **fields)
        if not cls.has_values:
            self._plain[same] = name
        return name

    def _unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... where it is taken: a shared layer's later calls."""
        candidate, count = name, 0
        while candidate in self.nodes:
            count += 1
            candidate = f"{name}_{count}"
        return candidate


# Makes the nodes of one call of a layer, from the names of the inputs and the shape of the output.
# Returns the name of the last node.
Trace: TypeAlias = Callable[[GraphBuilder, Any, tuple[str, ...], Shape], str]
