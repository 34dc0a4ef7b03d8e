"""Tell class probabilities from logits by the last operations of a model."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras

from nested_keras.nesting import keras_graph
from nested_keras.typing import KerasModel, KerasOperation, KerasTensor

Kind = Literal["softmax", "sigmoid", "logits"]

_ACTIVATIONS: dict[Any, Kind] = {
    keras.activations.softmax: "softmax",
    keras.activations.sigmoid: "sigmoid",
    keras.activations.hard_sigmoid: "sigmoid",
    # Logits are scores of any size. Log-probabilities are logits as well.
    **dict.fromkeys(
        (
            keras.activations.linear,
            keras.activations.log_softmax,
            keras.activations.relu,
            keras.activations.relu6,
            keras.activations.leaky_relu,
            keras.activations.elu,
            keras.activations.gelu,
            keras.activations.silu,
        ),
        "logits",
    ),
}
# By the name of a class of Keras, or of a nested layer; each kind of operation is in one group.
_FUNCTIONS: dict[str, Kind] = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "logits"}
_SCORES = {
    *("BatchNormalization", "NestedBatchNormalization", "ELU", "LeakyReLU", "PReLU", "ReLU"),
}
_KERNELS = {
    *("Conv1D", "Conv2D", "Conv1DTranspose", "Conv2DTranspose", "Dense", "DepthwiseConv1D"),
    *("DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("NestedConv1D", "NestedConv2D", "NestedConv1DTranspose", "NestedConv2DTranspose"),
    *("NestedDense", "NestedDepthwiseConv1D", "NestedDepthwiseConv2D"),
}
_KEEP = {
    *("ActivityRegularization", "Dropout", "Flatten", "GaussianDropout", "GaussianNoise"),
    *("Identity", "Reshape", "SpatialDropout1D", "SpatialDropout2D", "Average"),
    *("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
}
_KEEP_LOGITS = {
    *("Add", "Subtract", "Maximum", "Minimum", "Rescaling"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "MaxPooling1D", "MaxPooling2D"),
}
# Operators that scale logits, where the other operand is a constant, as in `logits / 2.0`.
_SCALE = {"Multiply", "Divide", "TrueDivide"}


@dataclasses.dataclass(frozen=True)
class Head:
    """The end of a model.

    Attributes:
        kind: "softmax", "sigmoid", "logits" (scores of any size), or None where the last
            operations do not say.
        name: The name of the operation that decides.
        type: The name of the class of this operation.
    """

    kind: Kind | None
    name: str
    type: str


def head_of(model: KerasModel) -> Head:
    """Reads from the graph whether the one output of a model is probabilities or logits.

    Args:
        model: A Keras model, of any kind.

    Returns:
        The head; its kind is None for a model without a graph or with several outputs.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return Head(None, str(getattr(model, "name", model)), type(model).__name__)
    return _head(outputs[0])


def _head(tensor: KerasTensor) -> Head:
    operation, _, index, arguments = keras_graph.source(tensor)
    unknown = Head(None, operation.name, type(operation).__name__)
    if isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None)
        return _head(outputs[index]) if outputs else unknown
    sources = arguments.keras_tensors
    kind = _kind(operation, tensor)
    if kind is not None:
        return dataclasses.replace(unknown, kind=kind)
    if not sources or not _is_known(operation):
        return unknown
    first, *others = (_head(source) for source in sources)
    if any(other.kind != first.kind for other in others):
        return unknown
    name = type(operation).__name__
    linear = name == "Activation" and operation.activation is keras.activations.linear
    if linear or name in _KEEP:
        # A softmax normalises the last axis, and an operation may mix up that axis.
        kept = first.kind == "logits" or tensor.shape[-1] == sources[0].shape[-1]
        return first if kept else unknown
    scales = name in _KEEP_LOGITS or (name in _SCALE and not others)
    return first if scales and first.kind == "logits" else unknown


def _kind(operation: KerasOperation, tensor: KerasTensor) -> Kind | None:
    """Returns the kind of outputs that an operation gives for any input, or None."""
    name = type(operation).__name__
    if not _is_known(operation):
        return None
    if name in _FUNCTIONS:
        last = getattr(operation, "axis", -1) in (-1, len(tensor.shape) - 1)
        return _FUNCTIONS[name] if name == "Sigmoid" or last else None
    if name in _SCORES:
        return "logits"
    if name not in {"Activation", *_KERNELS}:
        return None
    function = operation.activation
    if isinstance(function, keras.layers.Layer):
        return _kind(function, tensor)
    if name == "Activation" and function is keras.activations.linear:
        return None  # the identity: the input decides
    return _ACTIVATIONS.get(function)


def _is_known(operation: KerasOperation) -> bool:
    """Says whether Keras or this package defines the class, and not a user by the same name."""
    return type(operation).__module__.split(".")[0] in ("keras", "nested_keras")
