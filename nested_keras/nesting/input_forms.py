"""The forms in which a batch may hold the inputs of a model: an array, a list, a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from nested_keras.typing import BatchData, Data, KerasModel

Path: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class InputKey:
    """The names that a batch may use for one input of a model.

    Attributes:
        path: Keys and indices that lead to the input in the structure of the model's inputs.
        name: The name of the input.
    """

    path: Path
    name: str


def keys_of(model: KerasModel) -> list[InputKey]:
    """Returns the key of each input of a functional Keras model, in the order of the inputs."""
    paths = {id(tensor): path for path, tensor in _leaves(model.input)}
    return [InputKey(paths[id(tensor)], tensor.name) for tensor in model.inputs]


def match_inputs(x: BatchData, count: int, keys: Sequence[InputKey]) -> list[Any] | None:
    """Finds the inputs of a model in x.

    Args:
        x: An array, or for several inputs a list of arrays, a dict by the names of the inputs, or
            the structure of the model's inputs. Other keys of a dict are not read.
        count: The number of inputs.
        keys: The names of the inputs in dicts and structures, or none.

    Returns:
        The inputs in the order of the model's inputs; None if x does not have them.
    """
    if not isinstance(x, list | tuple | Mapping):
        return [x] if count == 1 else None
    leaves = dict(_leaves(x))
    if isinstance(x, list | tuple):
        if len(leaves) != count:
            return None
        if all(len(path) == 1 for path in leaves):
            return list(x)
    if not keys:
        return None
    found = [leaves.get(key.path, leaves.get((key.name,))) for key in keys]
    return None if any(value is None for value in found) else found


def are_arrays(structure: Data) -> bool:
    """Says whether every value in a structure is an array or a tensor."""
    return all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(structure))


def _leaves(structure: BatchData, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields the values in lists, tuples and dicts, each with the path to the value."""
    if isinstance(structure, Mapping):
        items: Iterable[tuple[Any, Any]] = structure.items()
    elif isinstance(structure, list | tuple):
        items = enumerate(structure)
    else:
        yield path, structure
        return
    for key, value in items:
        yield from _leaves(value, (*path, key))
