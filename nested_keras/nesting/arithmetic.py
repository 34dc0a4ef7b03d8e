"""Sums, products, limits and functions of tensors and constants, as layers."""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias

import keras
import numpy as np

from nested_keras.nesting import entries, supported
from nested_keras.nesting.graph_call import Compute, Entry, GraphCall, RefusedError
from nested_keras.nesting.numeric_functions import FUNCTIONS, GELU_TANH
from nested_keras.typing import Activation, KerasArgument, Value

L = keras.layers
A = keras.activations

Factor: TypeAlias = "float | list[Any]"
"""A number, or numbers that broadcast to a tensor, as nested lists."""


def _constant(call: GraphCall, value: Value) -> Any:
    """Returns a number, or nested lists of numbers that broadcast to the tensor of a call."""
    if isinstance(value, keras.Variable) or not keras.ops.is_tensor(value):
        known = isinstance(value, int | float | np.number | np.ndarray | list | tuple)
        if not known:
            raise RefusedError(f"must have tensors or numbers as operands: got {_kind(value)}")
    array = np.asarray(value, np.float64)
    if not entries.broadcasts(array.shape, call.shape):
        raise RefusedError(
            "must have one number as a constant, or an array that broadcasts to the tensor's "
            f"shape {call.shape}: got an array of shape {array.shape}"
        )
    return float(array.reshape(())) if array.size == 1 else array.tolist()


def _kind(value: Value) -> str:
    return type(value).__name__


def _number(call: GraphCall, value: Value) -> float:
    number = _constant(call, value)
    if not isinstance(number, float):
        raise RefusedError("must have one number as a constant: got several")
    return number


def _minus(value: Factor) -> Any:
    return (-np.asarray(value)).tolist()


def rescale(call: GraphCall, scale: Factor, offset: Factor = 0.0, part: str = "") -> Compute:
    """Returns a call that computes `scale * x + offset`, each a number or nested lists."""
    return call.layer(L.Rescaling, part, scale=scale, offset=offset)


def merged(call: GraphCall, kind: type[Any], part: str = "", **arguments: KerasArgument) -> Compute:
    """Returns a layer that merges a list of tensors, which have equal numbers of dimensions."""
    ranks = {len(tensor.shape) for tensor in call.tensors}
    if len(ranks) > 1:
        raise RefusedError(
            "must have operands of equal numbers of dimensions: got shapes "
            + " and ".join(str(tuple(tensor.shape)) for tensor in call.tensors)
        )
    layer = _pairwise(call, kind, part, **arguments)
    return lambda *tensors: layer(list(tensors))


def _pairwise(call: GraphCall, kind: type[Any], part: str = "", **arguments: KerasArgument) -> Any:
    layer = call.layer(kind, part, **arguments)
    if text := supported.call_refusal(layer, layer.name, (call.tensors,), {}):
        raise RefusedError(f"is not supported, because {text}")
    return layer


def _operands(call: GraphCall) -> tuple[Any, Any]:
    """Both operands: a constant as a number or as nested lists, a tensor as None."""
    first, second = (
        None if isinstance(each, keras.KerasTensor) else _constant(call, each)
        for each in (call.arguments["x1"], call.arguments["x2"])
    )
    return first, second


def _add(call: GraphCall) -> Compute:
    first, second = _operands(call)
    if first is None and second is None:
        return merged(call, L.Add)
    return rescale(call, 1.0, second if first is None else first)


def _subtract(call: GraphCall) -> Compute:
    first, second = _operands(call)
    if first is None and second is None:
        return merged(call, L.Subtract)
    return rescale(call, 1.0, _minus(second)) if first is None else rescale(call, -1.0, first)


def _multiply(call: GraphCall) -> Compute:
    first, second = _operands(call)
    if first is None and second is None:
        return merged(call, L.Multiply)
    return rescale(call, second if first is None else first)


def _divide(call: GraphCall) -> Compute:
    first, second = _operands(call)
    if second is None:
        return _by_inverse(call, first)
    if not np.all(second):
        raise RefusedError(f"must not divide by zero: got {second}")
    return rescale(call, (1.0 / np.asarray(second)).tolist())


def _by_inverse(call: GraphCall, first: Factor | None) -> Compute:
    """A division by a tensor, which is `first`, or the first tensor, times its inverse."""
    inverse = call.layer(L.Activation, "_inverse", activation=FUNCTIONS["Reciprocal"])
    if first is None:
        product = merged(call, L.Multiply)
        return lambda x, y: product(x, inverse(y))
    scale = rescale(call, first)
    return lambda y: scale(inverse(y))


def _negative(call: GraphCall) -> Compute:
    return rescale(call, -1.0)


def _absolute(call: GraphCall) -> Compute:
    minus = rescale(call, -1.0, part="_minus")
    larger = _pairwise(call, L.Maximum)
    return lambda x: larger([x, minus(x)])


def _power(call: GraphCall) -> Compute:
    first, second = _operands(call)
    several = isinstance(second, list)
    if first is not None or several or second not in _POWERS:
        powers = ", ".join(f"{power:g}" for power in _POWERS)
        got = "a tensor" if second is None else "several" if several else second
        raise RefusedError(
            f"must have one of the exponents {powers} (multiply for any other): got {got}"
        )
    return _POWERS[second](call)


def _maximum(call: GraphCall) -> Compute:
    if len(call.tensors) == 2:
        return merged(call, L.Maximum)
    return _clip_to(call, _only_constant(call), None)


def _minimum(call: GraphCall) -> Compute:
    if len(call.tensors) == 2:
        return merged(call, L.Minimum)
    return _clip_to(call, None, _only_constant(call))


def _only_constant(call: GraphCall) -> Factor:
    constants = [each for each in call.arguments.values() if each is not call.tensors[0]]
    return _constant(call, constants[0])


def _clip(call: GraphCall) -> Compute:
    low, high = (
        None if limit is None or not np.all(np.isfinite(limit)) else _number(call, limit)
        for limit in (call.operation.x_min, call.operation.x_max)
    )
    if low is not None and high is not None and low >= high:
        raise RefusedError(f"must have a range: got {low} to {high}")
    return _clip_to(call, low, high)


def _clip_to(call: GraphCall, low: Factor | None, high: Factor | None) -> Compute:
    """`low + relu(x - low)`, at most `high`; without `low`, `high - relu(high - x)`.

    With both limits, each is one number.
    """
    if low is None and high is None:
        return identity(call)
    limit = high - low if isinstance(low, float) and isinstance(high, float) else None
    if low == 0.0:
        return call.layer(L.ReLU, max_value=limit)
    sign, end = (1.0, low) if low is not None else (-1.0, high or 0.0)
    before = rescale(call, sign, _minus(end) if sign > 0 else end, part="_before")
    relu = call.layer(L.ReLU, "_relu", max_value=limit)
    after = rescale(call, sign, end)
    return lambda x: after(relu(before(x)))


def identity(call: GraphCall) -> Compute:
    """Returns a call that gives the tensor as it is."""
    return call.layer(L.Identity)


def _product(count: int) -> Entry:
    """The product of a tensor with itself."""

    def entry(call: GraphCall) -> Compute:
        layer = _pairwise(call, L.Multiply)
        return lambda x: layer([x] * count)

    return entry


def _function(function: Activation) -> Entry:
    return lambda call: call.layer(L.Activation, activation=function)


def _with_default(function: Activation, argument: str) -> Entry:
    """A function of Keras whose argument an activation cannot have but by default."""
    default = inspect.signature(function).parameters[argument].default

    def entry(call: GraphCall) -> Compute:
        value = getattr(call.operation, argument)
        if value != default:
            raise RefusedError(f"must have {argument}={default}: got {value}")
        return call.layer(L.Activation, activation=function)

    return entry


def _gelu(call: GraphCall) -> Compute:
    # keras.ops.gelu approximates by default, the activation does not approximate.
    function = GELU_TANH if call.operation.approximate else A.gelu
    return call.layer(L.Activation, activation=function)


def _like(kind: type[Any], *names: str) -> Entry:
    """A layer whose arguments are the operator's."""

    def entry(call: GraphCall) -> Compute:
        return call.layer(kind, **{name: getattr(call.operation, name) for name in names})

    return entry


_POWERS: dict[Any, Entry] = {
    -1.0: _function(FUNCTIONS["Reciprocal"]),
    -0.5: _function(FUNCTIONS["Rsqrt"]),
    0.5: _function(FUNCTIONS["Sqrt"]),
    1.0: identity,
    2.0: _product(2),
    3.0: _product(3),
}
OPERATORS: dict[str, Entry] = {
    "Add": _add,
    "Subtract": _subtract,
    "Multiply": _multiply,
    **dict.fromkeys(("Divide", "TrueDivide"), _divide),
    "Negative": _negative,
    **dict.fromkeys(("Abs", "Absolute"), _absolute),
    "Square": _product(2),
    "Power": _power,
    "Maximum": _maximum,
    "Minimum": _minimum,
    "Clip": _clip,
    **dict.fromkeys(("Cast", "ConvertToTensor", "Copy"), identity),
    "Relu": lambda call: call.layer(L.ReLU),
    "Relu6": lambda call: call.layer(L.ReLU, max_value=6.0),
    "ReLU": _like(L.ReLU, "max_value", "negative_slope", "threshold"),
    "LeakyRelu": _like(L.LeakyReLU, "negative_slope"),
    "Gelu": _gelu,
    "Celu": _with_default(A.celu, "alpha"),
    "HardShrink": _with_default(A.hard_shrink, "threshold"),
    "SoftShrink": _with_default(A.soft_shrink, "threshold"),
    "Squareplus": _with_default(A.squareplus, "b"),
    "HardTanh": _function(A.hard_tanh),
    "LogSigmoid": _function(A.log_sigmoid),
    "SparsePlus": _function(A.sparse_plus),
    "SparseSigmoid": _function(A.sparse_sigmoid),
    "TanhShrink": _function(A.tanh_shrink),
    "Elu": _like(L.ELU, "alpha"),
    "Exp": _function(A.exponential),
    "HardSigmoid": _function(A.hard_sigmoid),
    "HardSilu": _function(A.hard_silu),
    "Selu": _function(A.selu),
    "Sigmoid": _function(A.sigmoid),
    "Silu": _function(A.silu),
    "Softplus": _function(A.softplus),
    "Softsign": _function(A.softsign),
    "Tanh": _function(A.tanh),
    **{kind: _function(function) for kind, function in FUNCTIONS.items()},
}
