"""Check whether a nested model may have a Keras layer, with the arguments of the layer.

`nest` asks before it makes a model, and export asks again. A layer, an argument or an operator that
is not in `entries.ENTRIES` is refused, because an exported model would compute something else.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from nested_keras.format.constants import STREAM_MAX_CHANNEL_WEIGHTS
from nested_keras.nesting import alternatives, user_functions
from nested_keras.nesting.entries import ENTRIES
from nested_keras.nesting.numeric_functions import FUNCTIONS, GELU_TANH
from nested_keras.tflite.file_reader import LEVEL_INPUT
from nested_keras.typing import Activation, KerasLayer, KerasOperation, KerasTensor

L = keras.layers
A = keras.activations

# The keys are functions, because a user's own function may have the name of a Keras function.
ACTIVATIONS: dict[Callable[..., Any], str] = {
    A.linear: "linear",
    A.relu: "relu",
    A.relu6: "relu6",
    A.leaky_relu: "leaky_relu",
    A.sigmoid: "sigmoid",
    A.tanh: "tanh",
    A.hard_silu: "hard_silu",
    A.silu: "silu",
    A.softmax: "softmax",
    A.elu: "elu",
    A.selu: "selu",
    A.celu: "celu",
    A.gelu: "gelu",
    A.mish: "mish",
    A.softplus: "softplus",
    A.softsign: "softsign",
    A.squareplus: "squareplus",
    A.exponential: "exponential",
    A.log_sigmoid: "log_sigmoid",
    A.hard_sigmoid: "hard_sigmoid",
    A.hard_tanh: "hard_tanh",
    A.hard_shrink: "hard_shrink",
    A.soft_shrink: "soft_shrink",
    A.tanh_shrink: "tanh_shrink",
    A.sparse_plus: "sparse_plus",
    A.sparse_sigmoid: "sparse_sigmoid",
    GELU_TANH: "gelu_tanh",
}
# Functions of TensorFlow and of keras.ops that compute the same, with the same defaults.
_SYNONYMS: dict[Callable[..., Any], Callable[..., Any]] = {
    **{
        getattr(keras.ops, name): function
        for function, name in ACTIVATIONS.items()
        if name not in ("linear", "gelu") and hasattr(keras.ops, name)
    },
    keras.ops.gelu: GELU_TANH,
    **{getattr(keras.ops, kind.lower()): function for kind, function in FUNCTIONS.items()},
    keras.ops.exp: A.exponential,
    tf.exp: A.exponential,
    tf.nn.elu: A.elu,
    tf.nn.gelu: A.gelu,
    tf.nn.selu: A.selu,
    tf.nn.softplus: A.softplus,
    tf.nn.softsign: A.softsign,
    tf.nn.relu: A.relu,
    tf.nn.relu6: A.relu6,
    tf.nn.leaky_relu: A.leaky_relu,
    tf.nn.sigmoid: A.sigmoid,
    tf.nn.tanh: A.tanh,
    tf.nn.silu: A.silu,
    tf.nn.softmax: A.softmax,
    tf.identity: A.linear,
}


COMPUTE_DTYPES = {"float16", "bfloat16", "float32", "float64"}

# An override of these methods changes no output; `get_config` returns the arguments of the layer.
_HARMLESS = {"__init__", "get_config", "from_config", "compute_output_shape"}
# Keras itself puts these wrappers on each layer.
_WRAPPERS = {"build", "quantize"}


def kind_of(operation: KerasOperation) -> Any:
    """Returns the class of `ENTRIES` whose outputs an operation has, or None.

    The operation may be of a subclass that overrides no method of the class, such as the readers of
    old files.
    """
    known = _nearest(operation)
    return known if known is not None and not overridden(operation, known) else None


def unwrapped(operation: KerasOperation) -> Any:
    """Returns the layer in a TimeDistributed, any other operation as it is.

    The layer is a Dense (`entries.ENTRIES`), which gives the same without its TimeDistributed.
    """
    return operation.layer if kind_of(operation) is L.TimeDistributed else operation


def overridden(instance: object, known: type[Any]) -> list[str]:
    """Returns the methods of a class that an instance replaces, in a subclass or by hand."""
    patched = {name for name, value in vars(instance).items() if callable(value)} - _WRAPPERS
    kinds: tuple[Any, Any] = type(instance), known
    names = _own_methods(*kinds) | patched
    return sorted(name for name in names - _HARMLESS if _is_method_of(known, name))


def input_refusal(tensor: KerasTensor) -> str | None:
    """Says why export cannot write an input, with which a nested model may be trained.

    Args:
        tensor: An input of a model.

    Returns:
        One sentence with the name of the input, or None.
    """
    if tensor.name == LEVEL_INPUT:
        return f"an input must not be named {LEVEL_INPUT!r}: that is the level's name"
    if None not in tensor.shape[1:]:
        return None
    return (
        f"input {tensor.name!r} needs a fixed shape: got {tuple(tensor.shape)} (give all sizes to "
        "keras.Input; weights do not change with them)"
    )


def size_refusal(operation: KerasOperation, name: str) -> str | None:
    """Says why the nested format cannot hold a Dense, with which a nested model may be trained.

    Args:
        operation: A built layer of a model.
        name: The name to say in the sentence.

    Returns:
        One sentence with the name of the layer, or None.
    """
    if kind_of(operation) is not L.Dense:
        return None
    inputs = operation.kernel.shape[0]
    if inputs <= STREAM_MAX_CHANNEL_WEIGHTS:
        return None
    return (
        f"layer {name!r} (Dense) may have {STREAM_MAX_CHANNEL_WEIGHTS:,} inputs at most to be "
        f"nested: got {inputs:,} (pool before the layer, or exclude the layer)"
    )


def refusal(operation: KerasOperation, name: str) -> str | None:
    """Says why a nested model cannot have an operation.

    Args:
        operation: A layer or an operator of a model.
        name: The name to say in the sentence.

    Returns:
        One sentence with the name of the layer and a layer to use in its place, or None.
    """
    kind = kind_of(operation)
    label = f"layer {name!r} ({type(operation).__name__})"
    if kind is None:
        return _unknown(operation, name)
    policy = operation.dtype_policy
    if policy.quantization_mode is not None:
        return f"{label} must have a dtype policy without quantization: got {policy.name!r}"
    # Inputs alone may hold integers.
    if policy.compute_dtype not in COMPUTE_DTYPES and kind is not L.InputLayer:
        return f"{label} must compute in a float dtype: got {policy.compute_dtype!r}"
    try:
        config = config_of(operation)
    except Exception as error:  # A layer's own get_config may raise any error.
        reason = " ".join(str(error).split())[:200]
        return f"{label} has no config to make the layer again from: {reason}"
    entry = ENTRIES[kind]
    if rule := entry.rule(operation):
        return f"{label} {rule}"
    if kind is L.TimeDistributed:
        return refusal(operation.layer, name)
    return (
        _wrong_value(label, operation, config, entry.only)
        or _unknown_key(label, kind, config)
        or _activation_refusal(operation, name)
    )


def call_refusal(
    operation: KerasOperation, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """Says why a nested model cannot have one call of an operation that it could have.

    Args:
        operation: The layer.
        name: The name to say in the sentence.
        args: The positional arguments, tensors symbolic.
        kwargs: The arguments by name.

    Returns:
        One sentence, or None.
    """
    label = f"layer {name!r} ({type(operation).__name__})"
    given = {
        key: value for key, value in kwargs.items() if value is not None and value is not False
    }
    first, *rest = args or (given.pop("inputs", None),)
    if given:
        return f"{label} must be called with its inputs alone, as at inference: got " + ", ".join(
            f"{key}={_shown(value)}" for key, value in given.items()
        )
    tensors: list[Any] = list(first) if isinstance(first, list | tuple) else [first]
    symbolic = all(isinstance(each, keras.KerasTensor) for each in tensors)
    if not symbolic or any(each is not None for each in rest):
        shown = ", ".join(map(_shown, (*tensors, *rest)))
        return f"{label} must be called with outputs of layers alone: got {shown}"
    entry, shape = ENTRIES[kind_of(operation)], max((tuple(t.shape) for t in tensors), key=len)
    rule = entry.rank_rule(operation, len(shape)) or entry.shape_rule(operation, shape)
    return f"{label} {rule}" if rule else None


def export_refusal(operation: KerasOperation, name: str) -> str | None:
    """Says why export cannot write an operation that a nested model may have.

    `nest` copies such an operation exactly, so that the model can be trained and evaluated.

    Args:
        operation: A layer that `refusal` lets pass.
        name: The name to say in the sentence.

    Returns:
        One sentence with the name of the layer and a layer to use in its place, or None.
    """
    operation = unwrapped(operation)
    wrong = _wrong_value(
        f"layer {name!r} ({type(operation).__name__})",
        operation,
        config_of(operation),
        ENTRIES[kind_of(operation)].not_exported,
    )
    function = getattr(operation, "activation", None)
    if wrong or function is None or activation_name(function) is not None:
        return wrong
    if isinstance(function, L.Layer):
        text = _layer_activation_refusal(function)
        return text and f"layer {name!r} has an activation that cannot be exported: {text}"
    if seen := user_functions.depends_on_others(function):
        return (
            f"layer {name!r} has the activation {function_name(function)}, which cannot be "
            f"exported: a function of your own must act on each value alone, but {seen}"
        )
    return None


def config_of(layer: KerasLayer) -> dict[str, Any]:
    """Returns the config of a layer, without Keras's warning that files cannot hold a lambda."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*includes a `lambda`")
        return dict(layer.get_config())


def canonical(function: Activation) -> Any:
    """Returns Keras's own function in place of an equal one of TensorFlow or keras.ops."""
    return next((keras_s for other, keras_s in _SYNONYMS.items() if other is function), function)


def activation_name(function: Activation) -> str | None:
    """Returns Keras's name of an activation function that export knows, or None."""
    own = canonical(function)
    return next((name for known, name in ACTIVATIONS.items() if known is own), None)


def can_be_named(function: Activation) -> bool:
    """Says whether a saved file leads back to an activation, if need be by `custom_objects`."""
    if function is None or isinstance(function, L.Layer):
        return True
    if function_name(function) == "<lambda>":
        return False
    try:
        found = keras.activations.deserialize(keras.activations.serialize(function))
    except (TypeError, ValueError):
        return True
    return found is function or not callable(found)


def _nearest(operation: KerasOperation) -> Any:
    """The class of `ENTRIES` that an operation inherits from, or None."""
    return next((cls for cls in type(operation).__mro__ if cls in ENTRIES), None)


@functools.cache
def _own_methods(cls: type[Any], known: type[Any]) -> frozenset[str]:
    """Returns the methods that a class has of its own beside those of a class it inherits from."""
    own = (each for each in cls.__mro__ if each not in known.__mro__)
    return frozenset(
        name for each in own for name, value in vars(each).items() if _is_method(value)
    )


def _is_method(value: object) -> bool:
    return callable(value) or isinstance(value, property | classmethod | staticmethod)


def _is_method_of(cls: type[Any], name: str) -> bool:
    return _is_method(inspect.getattr_static(cls, name, None))


def _unknown(operation: KerasOperation, name: str) -> str:
    """The sentence for an operation that is not in `ENTRIES`."""
    kind = type(operation).__name__
    if not isinstance(operation, L.Layer):
        return (
            f"operator {name!r} ({kind}) between layers is not supported: "
            f"{alternatives.for_operator(kind)}"
        )
    known = _nearest(operation)
    if known is not None:
        methods = ", ".join(overridden(operation, known))
        return (
            f"layer {name!r} ({kind}) is not supported, because it overrides {methods} of "
            f"{known.__name__}: use {known.__name__} itself in its place"
        )
    # Inputs, and layers that matter in training alone, take the place of no other.
    kinds = (
        c
        for c, entry in ENTRIES.items()
        if c not in (L.InputLayer, L.Identity)
        and not entry.augments
        and (entry.read or not entry.training)
    )
    names = {c.__name__ for c in kinds if c.__module__.startswith("keras.")}
    both = {known for known in names if f"{known[:-2]}1D" in names and f"{known[:-2]}2D" in names}
    shown = (names - both) | {f"{known[:-2]}1D/2D" for known in both}
    supported = ", ".join(sorted(shown))
    return f"layer {name!r} ({kind}) is not supported: {alternatives.for_layer(kind, supported)}"


def _wrong_value(
    label: str, layer: KerasLayer, config: Mapping[str, Any], wanted: Mapping[str, Any]
) -> str | None:
    for key, right in wanted.items():
        # Older versions of Keras do not write some attributes to the config.
        value = config.get(key, getattr(layer, key, right))
        if value != right and not (right is None and not value):
            hint = alternatives.ARGUMENTS.get(key, "")
            return f"{label} must have {key}={right!r}: got {value!r}{hint}"
    return None


def _unknown_key(label: str, kind: type[Any], config: Mapping[str, Any]) -> str | None:
    """Refuses arguments of a newer Keras or of a subclass, unless they are as by default."""
    parameters = inspect.signature(kind.__init__).parameters
    for key in sorted(set(config) - ENTRIES[kind].keys):
        default = parameters[key].default if key in parameters else None
        if config[key] != default:
            return (
                f"{label} has an argument that nested_keras does not know: expected "
                f"{key}={default!r}, got {config[key]!r}"
            )
    return None


def _activation_refusal(operation: KerasOperation, name: str) -> str | None:
    """Refuses the functions of Keras that export does not know."""
    function = getattr(operation, "activation", None)
    if function is None or isinstance(function, L.Layer) or activation_name(function) is not None:
        return None
    known = function_name(function)
    if getattr(A, known, None) is not function:
        return None
    return (
        f"layer {name!r} has the activation {known!r}, which is not supported: use another in its "
        f"place, {alternatives.ACTIVATIONS}"
    )


def _layer_activation_refusal(layer: KerasLayer) -> str | None:
    """Says why export cannot write a layer that another layer has as its activation."""
    kind = kind_of(layer)
    if kind is None:
        return _unknown(layer, layer.name)
    if not ENTRIES[kind].is_activation:
        return f"{type(layer).__name__} is no activation"
    if isinstance(layer, L.Softmax) and layer.axis != -1:
        return f"Softmax must have axis -1: got {layer.axis}"
    return refusal(layer, layer.name) or export_refusal(layer, layer.name)


def function_name(function: Activation) -> str:
    """Returns what a function is called in its definition."""
    return str(getattr(function, "__name__", type(function).__name__))


def _shown(value: object) -> str:
    return (
        type(value).__name__
        if keras.ops.is_tensor(value) or hasattr(value, "shape")
        else repr(value)
    )
