"""A model whose sub-models are flattened: its inputs, and a run of its graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from nested_keras.nesting import conversion, keras_graph, supported
from nested_keras.nesting.entries import ENTRIES
from nested_keras.typing import KerasArgument, KerasModel, KerasOperation, KerasTensor


def run(model: KerasModel, inputs: KerasTensor, act: Callable[..., Any]) -> Any:
    """Runs a model with `act(layer, ...)` in the place of each layer, in sub-models as well."""

    def call(operation: KerasOperation) -> Callable[..., Any]:
        if not keras_graph.is_graph(operation):
            return functools.partial(_call, act, operation)
        inner = conversion.functional(operation)
        # As in Keras, `training` of the whole model overrides `training` of its parts.
        return lambda inputs, **_: run(inner, inputs, act)

    return keras_graph.run_graph(model, inputs, call)


def _call(
    act: Callable[..., Any],
    operation: KerasOperation,
    *args: KerasArgument,
    **kwargs: KerasArgument,
) -> Any:
    entry = ENTRIES.get(supported.kind_of(operation))
    if entry is not None and entry.augments:
        # Keras notes True, the default of these layers. `fit` sets the argument by itself.
        kwargs = {**kwargs, "training": False}
    return act(operation, *args, **kwargs)


def new_inputs(base: KerasModel) -> Any:
    """Returns inputs for a model like another, in the same structure."""
    inputs = keras.tree.map_structure(_new_input, base.input)
    # Old files have a single input in a list, and Keras would warn at each call with a bare array.
    return inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs


def _new_input(tensor: KerasTensor) -> Any:
    # The layer's name, because the tensor's name is "keras_tensor" where the user gave no name.
    name = keras_graph.source(tensor)[0].name
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
