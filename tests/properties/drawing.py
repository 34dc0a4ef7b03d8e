"""Draws one random network as lines of Keras code, from the whole table of layers.

A network is told by an integer seed. Each line is run as soon as it is drawn, so that Keras itself
says which shapes and arguments fit; the lines are what a failure prints.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from nested_keras.nesting.entries import ENTRIES
from nested_keras.nesting.kinds import SEPARABLE, row_of
from tests.nested_keras.nesting import layer_variants
from tests.properties import arguments

L = keras.layers
# Values of one example of a tensor: more would take time and find nothing else.
LARGEST = 900
KINDS = tuple(
    kind for kind in ENTRIES if getattr(L, kind.__name__, None) is kind and kind is not L.InputLayer
)
# Class of layer -> how often it is drawn; others 1.
WEIGHTS: dict[type, float] = {
    L.Conv2D: 7,
    L.Conv1D: 6,
    L.DepthwiseConv2D: 4,
    L.DepthwiseConv1D: 4,
    L.SeparableConv2D: 2,
    L.SeparableConv1D: 2,
    L.Conv2DTranspose: 3,
    L.Dense: 5,
    L.BatchNormalization: 6,
    L.Activation: 3,
    L.ReLU: 2,
    # Those without effect at inference.
    **{kind: 0.1 for kind in KINDS if not ENTRIES[kind].read and kind not in layer_variants.MERGES},
    L.Flatten: 1,
    L.RandomCrop: 0,  # `nest` refuses crops
}


@dataclasses.dataclass
class Network:
    """A network while it is drawn, and afterwards.

    Attributes:
        seed: What it is drawn from.
        random: The source of all draws.
        lines: The network as code.
        scope: What the names in the lines stand for.
        inputs: Names of the inputs.
        tensors: Names of the other tensors, in the order of the lines.
        outputs: Names of the outputs.
        read: Names of the tensors that a line reads.
        kinds: Classes of the layers, and texts of the operators.
        kernels: Class of each layer with a kernel, by the name of the layer.
    """

    seed: int
    random: random.Random
    lines: list[str] = dataclasses.field(default_factory=list)
    scope: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: list[str] = dataclasses.field(default_factory=list)
    tensors: list[str] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)
    read: set[str] = dataclasses.field(default_factory=set)
    kinds: set[Any] = dataclasses.field(default_factory=set)
    kernels: dict[str, type] = dataclasses.field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What the names of all layers of the network begin with."""
        return f"n{self.seed}_"

    @property
    def jumps(self) -> bool:
        """Whether the network may have a function that jumps, as a ReLU does at its threshold."""
        return any(word in line for line in self.lines for word in ("threshold", "hard_shrink"))

    @property
    def leaks(self) -> bool:
        """Whether the network may have a leaky_relu, which TFLite rounds twice below 0."""
        words = ("LeakyReLU", "leaky_relu", "negative_slope")
        return any(word in line for line in self.lines for word in words)

    def keras_tensors(self, names: Iterable[str]) -> list[Any]:
        """Returns the symbolic tensors of the given names."""
        return [self.scope[name] for name in names]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one example of a tensor."""
        return tuple(self.scope[name].shape[1:])

    def show(self) -> str:
        """The network as code that runs after `import keras` and the like."""
        outputs = ", ".join(self.outputs)
        return "\n".join(
            [*self.lines, f"model = keras.Model([{', '.join(self.inputs)}], [{outputs}])"]
        )


def draw(seed: int, *, batch: int | None = None, steps: int | None = None) -> Network:
    """Draws a network.

    Args:
        seed: Any integer.
        batch: Batch size of the inputs, or None for any.
        steps: Stop after so many steps, for a smaller network that begins alike.
    """
    network = Network(seed, random.Random(seed))
    network.scope.update(keras=keras, L=L, tf=tf)
    draw_ = network.random
    for _ in range(draw_.choice((1, 1, 1, 2))):
        _input(network, batch)
    wanted = draw_.randint(1, 6)
    for _ in range(wanted if steps is None else min(steps, wanted)):
        for _ in range(20):  # tries that Keras refuses, or that give too large a tensor
            step = draw_.choices(_STEPS, _STEP_WEIGHTS)[0]
            if _attempt(network, step):
                break
    for _ in range(20 if not network.kernels else 0):
        if _attempt(network, lambda network: _new_layer(network, L.Dense, [_latest(network)])):
            break
    _choose_outputs(network)
    return network


def read(seed: int, text: str) -> Network:
    """Makes a network of the lines that `Network.show` gives; `seed` chooses its weights."""
    network = Network(seed, random.Random(seed))
    network.scope.update(keras=keras, L=L, tf=tf)
    *lines, last = text.strip().splitlines()
    for line in lines:
        _run(network, line)
    network.inputs, network.outputs = (
        [name.strip() for name in part.split(",")] for part in re.findall(r"\[(.*?)\]", last)
    )
    for name, layer in network.scope.items():
        if re.fullmatch(r"l\d+", name) and (row_of(layer) or type(layer) in SEPARABLE):
            network.kernels[layer.name] = type(layer)
    return network


def _input(network: Network, batch: int | None) -> None:
    draw_ = network.random
    rank = draw_.choices((3, 2, 1), (6, 5, 2))[0]
    limits = {3: (9, 9, 8), 2: (16, 8), 1: (12,)}[rank]
    shape = tuple(draw_.randint(1, limit) for limit in limits)
    name = f"i{len(network.inputs)}"
    given = f"shape={shape}" if batch is None else f"batch_shape={(batch, *shape)}"
    network.lines.append(f"{name} = keras.Input({given}, name='{network.prefix}{name}')")
    exec(network.lines[-1], network.scope)
    network.inputs.append(name)


def _attempt(network: Network, step: Callable[[Network], None]) -> bool:
    """Tries a step, and takes all of it back where Keras refuses it; returns whether it stays."""
    saved = dataclasses.replace(
        network,
        lines=[*network.lines],
        scope={**network.scope},
        tensors=[*network.tensors],
        read={*network.read},
        kinds={*network.kinds},
        kernels={**network.kernels},
    )
    try:
        step(network)
    except (ValueError, TypeError):
        for field in ("lines", "scope", "tensors", "read", "kinds", "kernels"):
            setattr(network, field, getattr(saved, field))
        return False
    return True


def _run(network: Network, line: str) -> None:
    try:
        exec(line, network.scope)
    except Exception as error:  # Keras raises what it likes
        raise ValueError(line) from error
    network.lines.append(line)


def _call(network: Network, line: str, sources: Iterable[str]) -> str:
    """Adds a line that makes a tensor; `line` is the right side."""
    name = f"x{len(network.tensors)}"
    _run(network, f"{name} = {line}")
    shape = network.scope[name].shape
    if math.prod(shape[1:]) > LARGEST or 0 in shape[1:]:
        raise ValueError("too large, or empty")
    network.tensors.append(name)
    network.read.update(sources)
    return name


def _latest(network: Network) -> str:
    """Returns an unread input, or the latest tensor, or now and then any other."""
    unread = [name for name in network.inputs if name not in network.read]
    if unread:
        return unread[0]
    if network.random.random() < 0.75:
        return network.tensors[-1]
    return network.random.choice([*network.inputs, *network.tensors])


def _any_layer(network: Network) -> None:
    source = _latest(network)
    kinds = [kind for kind in KINDS if _takes(kind, 1 + len(network.shape(source)))]
    kind = network.random.choices(kinds, [weight(kind) for kind in kinds])[0]
    if kind in layer_variants.MERGES:
        _merge(network, kind, source)
    else:
        _new_layer(network, kind, [source])


def weight(kind: type) -> float:
    """Returns how often a layer is drawn, beside the others."""
    return WEIGHTS.get(kind, 1)


def _takes(kind: type, rank: int) -> bool:
    """Returns whether a layer takes tensors of a rank, batch included."""
    wants_image = "2D" in kind.__name__ or "image_preprocessing" in kind.__module__
    return rank == (4 if wants_image else 3 if "1D" in kind.__name__ else rank)


def _new_layer(network: Network, kind: type, sources: list[str], **given: Any) -> str:
    """Adds a layer with drawn arguments, and one call."""
    if not _takes(kind, 1 + len(network.shape(sources[0]))):
        raise ValueError("another rank")  # before anything is drawn
    chosen = {
        **arguments.of(kind, network.random, [network.shape(name) for name in sources]),
        **given,
    }
    number = sum(line.startswith("l") for line in network.lines)
    name = f"{network.prefix}{number}"
    texts = [f"{key}={arguments.source(value)}" for key, value in chosen.items()]
    _run(network, f"l{number} = L.{kind.__name__}({', '.join([*texts, f'name={name!r}'])})")
    network.kinds.add(kind)
    if row_of(network.scope[f"l{number}"]) or kind in SEPARABLE or kind is L.TimeDistributed:
        network.kernels[name] = kind
    return _call_layer(network, f"l{number}", sources)


def _call_layer(network: Network, layer: str, sources: list[str]) -> str:
    """Adds a call of a layer, now and then with the call arguments of inference."""
    given = sources[0] if len(sources) == 1 else f"[{', '.join(sources)}]"
    _refuse_wrong_call(network.scope[layer], network.shape(sources[0]))
    parameters = inspect.signature(network.scope[layer].call).parameters
    if "training" in parameters and network.random.random() < 0.2:
        given += ", training=False"
    return _call(network, f"{layer}({given})", sources)


def _refuse_wrong_call(layer: Any, shape: tuple[int, ...]) -> None:
    """Refuses calls that Keras draws as symbols, but computes wrongly or not at all."""
    if not _takes(type(layer), 1 + len(shape)):
        raise ValueError("another rank")
    parts = (layer, getattr(layer, "activation", None))
    if len(shape) > 3 and any(isinstance(part, L.PReLU) for part in parts):
        raise ValueError("TFLite's PReLU takes three axes beside the batch")
    built = (layer.get_build_config() or {}).get("input_shape") if layer.built else None
    fixed = any(isinstance(part, _NOT_CHECKED) for part in parts)
    if fixed and built is not None and tuple(built[1:]) != shape:
        raise ValueError("has weights for another shape, which Keras does not check")
    # TensorFlow on a PC reads behind an image of one channel if the output is one pixel wide.
    narrow = isinstance(layer, L.Conv2D) and shape[-1] == layer.strides[0] == 1 < layer.strides[1]
    if narrow and layer.compute_output_shape((1, *shape))[2] == 1:
        raise ValueError("TensorFlow computes another convolution")


def _merge(network: Network, kind: type, source: str) -> None:
    """Joins a tensor with others that fit, or with a branch that is made to fit."""
    draw_ = network.random
    shape = network.shape(source)
    if len(shape) > 3:
        raise ValueError("TFLite Micro has no such sums, and export no such concatenations")
    others = [
        name
        for name in (*network.inputs, *network.tensors)
        if name != source
        and len(network.shape(name)) <= 3
        and _fits(network.shape(name), shape, concatenate=kind is L.Concatenate)
    ]
    if not others or draw_.random() < 0.4:
        others = [_branch(network, source)]
    count = 1 if kind.__name__ == "Subtract" else draw_.choice((1, 1, 1, 2))
    sources = [source, *(draw_.choice(others) for _ in range(count))]
    draw_.shuffle(sources)
    _new_layer(network, kind, sources)


def _fits(one: tuple[int, ...], other: tuple[int, ...], *, concatenate: bool) -> bool:
    if concatenate:
        return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) < 2
    short, long = sorted((one, other), key=len)
    pairs = zip(short[::-1], long[::-1], strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _branch(network: Network, source: str) -> str:
    """A branch from a tensor with the tensor's own shape, or with that of a gate."""
    draw_ = network.random
    rank, channels = len(network.shape(source)), network.shape(source)[-1]
    activation = draw_.choice((None, "relu", "sigmoid", "tanh"))
    if rank not in (2, 3) or draw_.random() < 0.2:
        return _new_layer(network, L.Dense, [source], units=channels, activation=activation)
    if draw_.random() < 0.4:
        pool = draw_.choice((f"GlobalAveragePooling{rank - 1}D", f"GlobalMaxPooling{rank - 1}D"))
        pooled = _new_layer(network, getattr(L, pool), [source])
        return _new_layer(network, L.Dense, [pooled], units=channels, activation=activation)
    kind = getattr(L, f"Conv{rank - 1}D")
    given = {"filters": channels, "strides": 1, "padding": "same", "dilation_rate": 1, "groups": 1}
    return _new_layer(network, kind, [source], **given, activation=activation)


def _shared_layer(network: Network) -> None:
    """Calls a layer once more."""
    layers = [line.split(" ", 1)[0] for line in network.lines if line.startswith("l")]
    if not layers:
        raise ValueError("no layer yet")
    layer = network.random.choice(layers)
    if isinstance(network.scope[layer], layer_variants.MERGES):
        raise ValueError("takes several tensors")
    if isinstance(network.scope[layer], L.Rescaling):
        raise ValueError("Keras gives the shape of its input, also where the input broadcasts")
    _call_layer(network, layer, [_latest(network)])


def _norm_and_activation(network: Network) -> None:
    """A convolution or a Dense, BatchNorm and an activation, as most networks have them."""
    source = _latest(network)
    rank = len(network.shape(source))
    kinds = {
        1: (L.Dense,),
        2: (L.Conv1D, L.DepthwiseConv1D, L.SeparableConv1D, L.Dense),
        3: (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D, L.Conv2DTranspose, L.Dense),
    }
    if rank not in kinds:
        raise ValueError("another rank")
    x = _new_layer(network, network.random.choice(kinds[rank]), [source], activation=None)
    x = _new_layer(network, L.BatchNormalization, [x])
    kind = network.random.choice((None, L.ReLU, L.Activation, L.LeakyReLU))
    if kind is not None:
        _new_layer(network, kind, [x])


def _sub_model(network: Network) -> None:
    """A Sequential model as a layer, called once or twice."""
    draw_ = network.random
    source = _latest(network)
    channels = network.shape(source)[-1]
    number = sum(line.startswith("l") for line in network.lines)
    names = [f"{network.prefix}{number}_{part}" for part in "ab"]
    parts = [
        f"L.Dense({channels}, name={names[0]!r})",
        draw_.choice(("L.BatchNormalization(", "L.Activation('relu', ")) + f"name={names[1]!r})",
    ]
    name = f"{network.prefix}{number}"
    _run(network, f"l{number} = keras.Sequential([{', '.join(parts)}], name={name!r})")
    for _ in range(draw_.choice((1, 2))):
        source = _call_layer(network, f"l{number}", [source])
    network.kernels[names[0]] = L.Dense
    network.kinds.add(keras.Sequential)


def _operator(network: Network) -> None:
    """An operator between layers."""
    draw_ = network.random
    source = _latest(network)
    if source in network.inputs:
        raise ValueError("what is computed of an input alone is nothing to export")
    shape = network.shape(source)
    alike = [name for name in (*network.inputs, *network.tensors) if network.shape(name) == shape]
    text = draw_.choice(arguments.operators(len(shape)))
    other = draw_.choice([name for name in alike if name != source] or alike)
    if "softmax" in text and len(shape) > 4:
        raise ValueError("TensorFlow's softmax takes five axes")
    if " - {y}" in text and other == source:
        raise ValueError("always zero")
    sizes = {"height": 2 * shape[0], "width": 3 * shape[1 % len(shape)], "size": math.prod(shape)}
    line = text.format(x=source, y=other, **sizes)
    _call(network, line, [source, other] if "{y}" in text else [source])
    network.kinds.add(text)


# Keras calls them as symbols with any shape.
_NOT_CHECKED = (L.PReLU, L.Normalization, L.TimeDistributed, keras.Sequential)
_STEPS = (_any_layer, _norm_and_activation, _shared_layer, _sub_model, _operator)
_STEP_WEIGHTS = (12, 4, 1, 0.5, 8)


def _choose_outputs(network: Network) -> None:
    """All tensors that nothing reads, and now and then one that something reads, or any again."""
    leaves = [name for name in network.tensors if name not in network.read]
    others = [name for name in network.tensors if name in network.read]
    if others and network.random.random() < 0.2:
        leaves.append(network.random.choice(others))
    if network.random.random() < 0.05:
        leaves.append(network.random.choice([*network.inputs, *network.tensors]))
    leaves += [name for name in network.inputs if name not in network.read and name not in leaves]
    network.outputs = leaves
