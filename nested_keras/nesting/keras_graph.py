"""The private names of Keras: the graph of a model, and the step before a strategy's replicas run.

No other file uses private names of Keras. Tested with Keras 3.12 to 3.15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from nested_keras.typing import BatchData, Data, KerasModel, KerasOperation, KerasTensor

__all__ = [
    "PreparedModel",
    "Source",
    "check_backend",
    "first_call",
    "functional",
    "is_graph",
    "run_graph",
    "source",
]


def check_backend() -> None:
    """Refuses the backends of Keras other than TensorFlow.

    Raises:
        RuntimeError: If Keras runs on another backend.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "nested_keras trains and exports with Keras's TensorFlow backend only: got the backend "
            f"{backend!r}; set KERAS_BACKEND=tensorflow before Keras is imported"
        )


def is_graph(operation: KerasOperation) -> bool:
    """Says whether an operation is a model whose graph can be walked."""
    return isinstance(operation, keras.Sequential) or hasattr(operation, "operations")


def functional(model: KerasModel) -> Any:
    """Returns the functional form of a functional or Sequential model.

    Args:
        model: The model.

    Returns:
        The model itself, or for a Sequential model a functional model of the same layers.

    Raises:
        TypeError: If the model is neither functional nor Sequential.
        ValueError: If the model is not built.
    """
    if not isinstance(model, keras.Model) or not is_graph(model):
        raise TypeError(
            "model must be a functional or Sequential Keras model (a subclassed model has no graph "
            f"to follow): got {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(f"model {model.name!r} must be built: give it a keras.Input")
    if not isinstance(model, keras.Sequential):
        return model
    (single,) = model.inputs
    outputs = model.outputs
    return keras.Model(single, outputs[0] if len(outputs) == 1 else outputs, name=model.name)


def run_graph(
    model: KerasModel, inputs: KerasTensor, call: Callable[[Any], Callable[..., Any]]
) -> Any:
    """Runs a functional model's graph with other calls.

    Args:
        model: A functional model.
        inputs: Tensors in the place of the model's inputs, in the same structure.
        call: Gives the function to call in the place of an operation of the graph.

    Returns:
        The outputs, in the structure of the model's outputs.
    """
    # The public keras.models.clone_model(call_function=...) calls this method, and makes a model of
    # the graph that ran. A model that begins in the middle of a graph runs the graph a second time,
    # so the public function cannot flatten sub-models.
    return model._run_through_graph(inputs, operation_fn=call)


class Source(NamedTuple):
    """Where a symbolic tensor comes from.

    Attributes:
        operation: The operation that made the tensor.
        call: The index of the call of the operation that made the tensor.
        output: The index of the tensor among the outputs of the call.
        arguments: The arguments of the call, with the tensors as `arguments.keras_tensors`.
    """

    operation: Any
    call: int
    output: int
    arguments: Any


def source(tensor: KerasTensor) -> Source:
    """Says where a symbolic tensor comes from.

    The public `operation.input` serves only operations with one call.

    Args:
        tensor: A symbolic tensor.

    Returns:
        The call that made the tensor.
    """
    operation, call, output = tensor._keras_history
    return Source(operation, call, output, operation._inbound_nodes[call].arguments)


class PreparedModel(keras.Model):
    """A model that sees a batch before the replicas of a strategy run."""

    def prepare_metrics(self, data: BatchData) -> None:
        """Makes the variables of the metrics; called in the scope of the strategy.

        Args:
            data: The batch of one replica: x, (x, y) or (x, y, sample_weight).
        """

    def _maybe_symbolic_build(self, iterator: Data = None, data_batch: BatchData = None) -> None:
        """Replaces the private step of Keras at this point of `fit` and `evaluate`.

        Keras averages a batch over the replicas to see its shapes, and that average fails with
        several workers. One replica's part of the batch shows the shapes as well. An override of
        the public `fit` and `evaluate` does not see the batches, and cannot take one batch from a
        generator.
        """
        strategy = self.distribute_strategy
        with strategy.scope():
            if not tf.distribute.has_strategy():
                return
            if iterator is not None:
                for _, _, batches in iterator:
                    data_batch = keras.tree.map_structure(
                        lambda value: strategy.experimental_local_results(value)[0], next(batches)
                    )
                    break
            self.prepare_metrics(data_batch)


def first_call(operation: KerasOperation) -> tuple[Any, tuple[Any, ...]]:
    """Returns the arguments and the outputs of the first call of an operation.

    The public `operation.output` fails where `keras.models.clone_model` has called the operation a
    second time: `clone_model` does so with operators between layers.

    Args:
        operation: An operation of a graph.

    Returns:
        The arguments, as in `Source`, and the symbolic outputs.
    """
    node = operation._inbound_nodes[0]
    return node.arguments, tuple(node.outputs)
