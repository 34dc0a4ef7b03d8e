"""Operators between layers: `a + b`, `0.5 * x`, `keras.ops.relu(x)`, `x[:, 1:]`.

Keras records each such call as an operation of the graph, which is no layer. `nest` puts layers
that compute the same in the place of the operation, so that the later steps see only layers.
`OPERATORS` names these layers by the name of the operation's class, because the classes are private
to Keras.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from nested_keras.nesting import alternatives, arithmetic, keras_graph, shaping, supported
from nested_keras.nesting.graph_call import Entry, GraphCall, RefusedError, Replacement
from nested_keras.typing import KerasArgument, KerasOperation

OPERATORS: dict[str, Entry] = {**arithmetic.OPERATORS, **shaping.OPERATORS}


def is_operator(operation: KerasOperation) -> bool:
    """Says whether an operation of a graph is no layer."""
    return not isinstance(operation, keras.layers.Layer)


def replace(operation: KerasOperation, name: str) -> Replacement:
    """Makes the layers in the place of an operator.

    Args:
        operation: The operator.
        name: The name of the operator in the nested model.

    Returns:
        The layers, and the call that runs the layers.

    Raises:
        ValueError: If no layers compute the same; the text says what to use in place of the
            operator.
    """
    kind = type(operation).__name__
    entry = OPERATORS.get(kind) if type(operation).__module__.startswith("keras.") else None
    label = f"operator {name!r} ({kind}) between layers"
    if entry is None:
        raise ValueError(f"{label} is not supported: {alternatives.for_operator(kind)}")
    arguments, outputs = keras_graph.first_call(operation)
    leaves = keras.tree.flatten((arguments.args, arguments.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, keras.KerasTensor)]
    bound = inspect.signature(operation.call).bind(*arguments.args, **arguments.kwargs)
    tensors = tuple(leaves[place] for place in places)
    call = GraphCall(operation, name, bound.arguments, tensors, outputs, [])
    try:
        if wrong := {each.dtype for each in (*tensors, *outputs)} - supported.COMPUTE_DTYPES:
            raise RefusedError(f"must compute in a float dtype: got {', '.join(sorted(wrong))}")
        compute = entry(call)
    except RefusedError as refused:
        raise ValueError(f"{label} {refused}") from None

    def run(*args: KerasArgument, **kwargs: KerasArgument) -> Any:
        given = keras.tree.flatten((args, kwargs))
        return compute(*(given[place] for place in places))

    return Replacement(call.layers, run)
