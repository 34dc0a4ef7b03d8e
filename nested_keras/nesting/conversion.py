"""Choose the layers that nest, make their replacements, and copy the weights, layer by layer."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np

from nested_keras.format import LayerKind
from nested_keras.nesting import (
    keras_graph,
    keras_operators,
    kinds,
    layers,
    masks,
    supported,
)
from nested_keras.nesting.graph_call import Replacement
from nested_keras.nesting.supported import kind_of
from nested_keras.typing import Activation, KerasArgument, KerasModel, KerasOperation

Attempt: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]

_OVERRIDES = {"sparsities", "block_shape"}


@dataclasses.dataclass(frozen=True)
class Nesting:
    """How a kernel nests.

    Attributes:
        sparsities: Final fraction of zeros per level.
        block_shape: Weights pruned together.
    """

    sparsities: tuple[float, ...]
    block_shape: tuple[int, int]


def operations(model: KerasModel, seen: set[int] | None = None) -> Iterator[tuple[Any, str]]:
    """Walks the operations of a model in graph order, sub-models flattened.

    Args:
        model: A functional or Sequential model.
        seen: The ids of operations to pass over.

    Yields:
        Each operation once, with the name of the sub-model it stands in ("" at the top).
    """
    seen = set() if seen is None else seen
    for operation in functional(model).operations:
        if id(operation) in seen or isinstance(operation, keras.layers.InputLayer):
            continue
        seen.add(id(operation))
        if keras_graph.is_graph(operation):
            for inner, scope in operations(operation, seen):
                yield inner, scope or operation.name
        else:
            yield operation, ""


def functional(model: KerasModel) -> Any:
    """Returns the functional form of a functional or Sequential model.

    Raises:
        TypeError: If the model is neither, or computes something other than its graph.
        ValueError: If the model is not built.
    """
    if any(cls.__module__.split(".")[0] == "tf_keras" for cls in type(model).__mro__):
        raise TypeError(
            "model must be one of Keras 3: got a tf_keras (Keras 2) model; save it as .h5 and load "
            "the file with nested_keras.load_model"
        )
    base = keras_graph.functional(model)
    keras_class = next(cls for cls in type(model).__mro__ if cls.__module__.startswith("keras."))
    changed = {"call", "__call__"}.intersection(supported.overridden(model, keras_class))
    if changed:
        raise TypeError(
            f"model {model.name!r} must compute what its graph says: got {type(model).__name__}, "
            f"which overrides {', '.join(sorted(changed))}; use layers of the graph in their place"
        )
    return base


def _refuse_unread_inputs(base: KerasModel) -> None:
    """Refuses an input that no output needs, because LiteRT takes such an input out of the file."""
    inputs = {id(tensor): tensor.name for tensor in base.inputs}
    stack, seen = list(base.outputs), set()
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) not in inputs:
            stack.extend(keras_graph.source(tensor).arguments.keras_tensors)
    if unread := [name for key, name in inputs.items() if key not in seen]:
        raise ValueError(
            f"each input must be read by a layer: got {', '.join(map(repr, unread))}, which no "
            "output needs (leave it out of keras.Model)"
        )


def plan(
    model: KerasModel,
    nesting: Nesting,
    *,
    exclude: Iterable[str] | None,
    overrides: Mapping[str, Mapping[str, Any]] | None,
    shared_affine: bool = False,
    attempt: Attempt = contextlib.nullcontext,
) -> dict[int, Replacement]:
    """Makes the layers that take the place of each operation of a model.

    Args:
        model: A functional model.
        nesting: The default of the nested kernels.
        exclude: Names of layers to keep dense; None for the depthwise kernels, the first
            convolution and the last Dense.
        overrides: Per layer name, "sparsities" and "block_shape" in place of the default.
        shared_affine: Whether the levels share gamma and beta.
        attempt: The context of each check, which may note an error so that later checks run too.

    Returns:
        By the id of the operation, the new layers and the call that runs them.

    Raises:
        ValueError: If a layer cannot be nested, a name is unknown, or no layer is left to nest.
    """
    with attempt():
        _refuse_unread_inputs(model)
    for text in filter(None, map(supported.input_refusal, model.inputs)):
        warnings.warn(f"export will refuse this model: {text}", stacklevel=4)
    walked = list(operations(model))
    names = _unique_names(walked)
    norm = {"axis": -1, "levels": len(nesting.sparsities), "shared_affine": shared_affine}
    overrides = dict(overrides or {})
    chosen = _choose(walked, names, exclude=exclude, overrides=overrides)
    new: dict[int, Replacement] = {}
    made: dict[int, list[Any]] = {}
    for operation, _ in walked:
        with attempt():
            name = names[id(operation)]
            if keras_operators.is_operator(operation):
                new[id(operation)] = keras_operators.replace(operation, name)
                continue
            _check(operation, name)
            nestings = {
                part: _override(nesting, overrides.get(part, {}), part, kind=kind)
                for part, kind in _kernels(operation, name).items()
                if part in chosen
            }
            new[id(operation)] = _in_a_row(
                operation, _made_once(operation, name, nestings, norm=norm, made=made)
            )
    with attempt():
        if not chosen:
            kept = ", ".join(names[id(operation)] for operation, _ in walked) or "none"
            raise ValueError(
                "model has no layer to nest (exclude=() would nest the first convolution and the "
                f"last Dense too): got the layers {kept}"
            )
    return new


def _made_once(
    operation: KerasOperation,
    name: str,
    nestings: Mapping[str, Nesting],
    *,
    norm: Mapping[str, Any],
    made: dict[int, list[Any]],
) -> list[Any]:
    """Makes the layers in the place of one, which may stand elsewhere in a TimeDistributed, too."""
    inner = supported.unwrapped(operation)
    if id(inner) not in made:
        if nestings and (text := supported.size_refusal(inner, name)):
            warnings.warn(f"export will refuse this model: {text}", stacklevel=5)
        layers_ = _replace(inner, name, nestings, norm=norm)
        made[id(inner)] = [*layers_, *_activation_with_weights(inner, name, made)]
    return made[id(inner)]


def _check(operation: KerasOperation, name: str) -> None:
    """Refuses a layer that cannot be nested, and warns of a layer that export will refuse."""
    if text := _nested_already(operation, name) or supported.refusal(operation, name):
        raise ValueError(text)
    if text := supported.export_refusal(operation, name):
        warnings.warn(f"export will refuse this model: {text}", stacklevel=4)


def _in_a_row(operation: KerasOperation, in_place: list[Any]) -> Replacement:
    """Returns a call of the new layers, one after the other, in the place of an operation."""
    first, *rest = in_place
    is_wrapper = operation is not supported.unwrapped(operation)

    def call(*args: KerasArgument, **kwargs: KerasArgument) -> Any:
        if is_wrapper:
            # A Dense has no `training` and no `mask`, which `call_refusal` found to be off.
            kwargs = {key: value for key, value in kwargs.items() if key == "inputs"}
        outputs = first(*args, **kwargs)
        for each in rest:
            outputs = each(outputs)
        return outputs

    return Replacement(in_place, call)


def copy_weights(old: KerasOperation, new: list[Any]) -> None:
    """Copies the weights of one operation to the operations in its place, exactly.

    Args:
        old: An operation of the base model.
        new: The built operations in its place.
    """
    old = supported.unwrapped(old)
    kind = kind_of(old)
    if kind in kinds.SEPARABLE:
        depthwise, pointwise, *_ = new
        depthwise.kernel.assign(old.depthwise_kernel)
        pointwise.kernel.assign(old.pointwise_kernel)
        if old.use_bias:
            pointwise.bias.assign(old.bias)
    elif kind is keras.layers.BatchNormalization:
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            values = getattr(old, name)
            if values is not None:
                rows = np.broadcast_to(values.numpy(), getattr(new[0], name).shape)
                getattr(new[0], name).assign(rows)
    elif kind in kinds.BY_KERAS_CLASS:
        new[0].kernel.assign(old.kernel.numpy())
        if old.use_bias:
            new[0].bias.assign(old.bias)
    else:
        for mine, theirs in zip(new[0].weights, old.weights, strict=True):
            mine.assign(theirs)
    if kind is keras.layers.Normalization:
        new[0].finalize_state()
    if _has_weights(getattr(old, "activation", None)):
        # Keras does not build this layer before the model sees data.
        if not old.activation.built:
            old.activation.build_from_config(new[-1].get_build_config())
        new[-1].set_weights(old.activation.get_weights())


def _has_weights(function: Activation) -> bool:
    return isinstance(function, keras.layers.PReLU)


def _activation_with_weights(
    operation: KerasOperation, name: str, made: dict[int, list[Any]]
) -> list[Any]:
    """Makes a layer of an activation with weights, because Keras loads no activation's weights."""
    function: Any = getattr(operation, "activation", None)
    if not _has_weights(function):
        return []
    if id(function) not in made:
        config = {**function.get_config(), "name": f"{name}_{function.name}"}
        made[id(function)] = [type(function).from_config(config)]
    return made[id(function)]


def _unique_names(walked: list[tuple[Any, str]]) -> dict[int, str]:
    """Keeps the names of operations; of two equal names, the second begins with its sub-model's."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for operation, scope in walked:
        name = operation.name
        if name in taken and scope:
            name = f"{scope}_{name}"
        stem, number = name, 1
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names[id(operation)] = name
    return names


def _kernels(operation: KerasOperation, name: str) -> dict[str, Any]:
    """Returns a layer's kernels: by the name that users say, the class of the new layer.

    The depthwise half of a separable convolution has the name "<name>_depthwise", the pointwise
    half the name of the separable layer.
    """
    kind = kind_of(supported.unwrapped(operation))
    if kind in kinds.SEPARABLE:
        depthwise, pointwise = kinds.SEPARABLE[kind]
        return {f"{name}_depthwise": depthwise, name: pointwise}
    return {name: kind} if kind in kinds.BY_KERAS_CLASS else {}


def _choose(
    walked: list[tuple[Any, str]],
    names: dict[int, str],
    *,
    exclude: Iterable[str] | None,
    overrides: Mapping[str, Any],
) -> set[str]:
    """Returns the names of the kernels to nest."""
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be an iterable of layer names: got the str {exclude!r}")
    per_layer = [_kernels(operation, names[id(operation)]) for operation, _ in walked]
    kernels = {part: kind for parts in per_layer for part, kind in parts.items()}
    if exclude is None:
        dense = set()
        for row in kinds.ROWS:
            way = row.stream, row.kept_dense
            alike = {each.keras for each in kinds.ROWS if (each.stream, each.kept_dense) == way}
            dense.update([part for part, kind in kernels.items() if kind in alike][row.kept_dense])
    else:
        dense = set(exclude)
    for argument, given in (
        ("exclude", dense),
        ("overrides", overrides),
    ):
        unknown = sorted(set(given) - set(kernels))
        if unknown:
            raise ValueError(
                f"{argument} must name layers with a kernel, of {sorted(kernels)}: got {unknown}"
            )
    # The name of a separable convolution stands for both of its halves here.
    dense.update(f"{part}_depthwise" for part in set(dense))
    return set(kernels) - dense | set(overrides)


def _override(
    nesting: Nesting, override: Mapping[str, Any], name: str, *, kind: type[Any]
) -> Nesting:
    """Returns the nesting of one kernel."""
    depthwise = kinds.BY_KERAS_CLASS[kind].stream is LayerKind.DEPTHWISE
    if not set(override) <= _OVERRIDES:
        raise ValueError(
            f"overrides of {name!r} must have the keys {sorted(_OVERRIDES)}: got {sorted(override)}"
        )
    sparsities = masks.check_sparsities(override.get("sparsities", nesting.sparsities))
    if len(sparsities) != len(nesting.sparsities):
        raise ValueError(
            f"overrides of {name!r} must have {len(nesting.sparsities)} sparsities, one per level "
            f"of the model: got {sparsities}"
        )
    default = (1, 1) if depthwise else nesting.block_shape
    block_shape = masks.check_block_shape(override.get("block_shape", default))
    if depthwise and block_shape != (1, 1):
        raise ValueError(
            f"overrides of {name!r} must have block_shape (1, 1), as the kernel is depthwise: "
            f"got {block_shape}"
        )
    return Nesting(sparsities, block_shape)


def _replace(
    operation: KerasOperation,
    name: str,
    nestings: Mapping[str, Nesting],
    *,
    norm: Mapping[str, Any],
) -> list[Any]:
    """Makes the layers in the place of one operation."""
    kind = kind_of(operation)
    config = _config(operation, name)
    if kind in kinds.SEPARABLE:
        halves = zip(kinds.SEPARABLE[kind], _split_separable(config), strict=True)
        names = (f"{name}_depthwise", name)
        return [
            _kernel_layer(half, its_config, nestings.get(part))
            for (half, its_config), part in zip(halves, names, strict=True)
        ]
    if kind in kinds.BY_KERAS_CLASS:
        return [_kernel_layer(kind, config, nestings.get(name))]
    if kind is keras.layers.BatchNormalization:
        return [layers.NestedBatchNormalization.from_config({**config, **norm})]
    return [kind.from_config(config)]


def _config(operation: KerasOperation, name: str) -> dict[str, Any]:
    """Returns the arguments that make a layer again, with a user's functions as objects.

    A config names a function by its bare name, and Keras may find another function by that name.
    """
    config = {**supported.config_of(operation), "name": name}
    for key in config:
        if key == "activation":
            config[key] = _activation(operation.activation, name)
        elif key.endswith(("_initializer", "_regularizer", "_constraint")):
            config[key] = getattr(operation, key)
    return config


def _activation(function: Activation, name: str) -> Any:
    """Returns the activation for a new layer; an activation that is a layer is made again."""
    if _has_weights(function):
        return None
    if not isinstance(function, keras.layers.Layer):
        return supported.canonical(function)
    changed = supported.overridden(function, type(function))
    if changed:
        raise ValueError(
            f"layer {name!r} has the activation {type(function).__name__}, of which "
            f"{', '.join(changed)} was replaced by hand: make a subclass in its place"
        )
    return type(function).from_config(function.get_config())


def _nested_already(operation: KerasOperation, name: str) -> str | None:
    if not isinstance(operation, layers.NestedKernel | layers.NestedBatchNormalization):
        return None
    return (
        f"layer {name!r} ({type(operation).__name__}) must not be nested yet: nest the model from "
        "which the layer was made"
    )


def _kernel_layer(kind: type[Any], config: dict[str, Any], nesting: Nesting | None) -> Any:
    """Makes a layer with a kernel: nested, or of the class `kind` alone where nesting is None."""
    if nesting is None:
        return kind.from_config(config)
    return kinds.BY_KERAS_CLASS[kind].nested.from_config({**config, **dataclasses.asdict(nesting)})


def _split_separable(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the configs of the depthwise and of the pointwise half of a separable layer."""
    common = {key: config[key] for key in ("trainable", "dtype", "data_format")}
    spatial = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    depthwise = {
        **common,
        **{key: config[key] for key in (*spatial, *_prefixed("depthwise"))},
        "name": f"{config['name']}_depthwise",
        "use_bias": False,
    }
    tail = ("filters", "use_bias", "activation", "activity_regularizer")
    bias = ("bias_initializer", "bias_regularizer", "bias_constraint")
    pointwise = {
        **common,
        **{key: config[key] for key in (*tail, *bias)},
        **{
            f"kernel_{key.removeprefix('pointwise_')}": config[key]
            for key in _prefixed("pointwise")
        },
        "name": f"{config['name']}_pointwise",
        "kernel_size": 1,
    }
    return depthwise, pointwise


def _prefixed(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{suffix}" for suffix in ("initializer", "regularizer", "constraint"))
