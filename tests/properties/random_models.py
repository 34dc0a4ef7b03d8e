"""Random networks go the whole way, many side by side in one Keras model.

`python -m tests.properties.random_models SEED` shows the network of a seed as Keras code and checks
the network alone. With `--to END --log FILE` all seeds up to END are tried; the same command goes
on where FILE ends.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import random
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import nested_keras
from nested_keras import export, firmware, runtime
from nested_keras.nesting.layers import NestedBatchNormalization
from tests.properties import drawing
from tests.properties.drawing import Network

# Networks side by side: one export and one C library serve all of them.
FOREST = 50
EXAMPLES = 12
# Examples that every runtime runs, where the batch size of the inputs is open.
RUN = 3
# Root of the mean square, in steps of the output's scale, by which int8 may be off a model that
# rounds as int8 does (`export.quantize_aware`). Sums that land between two steps are rounded up
# here and down there: one step at most, and a few steps some layers on. A wrong layer gives tens.
OWN = 4.0
# Likewise behind a leaky_relu: TFLite rounds values below 0 twice, so that most end a step below
# those of a model that rounds once.
LEAKY_OWN = 12.0


@dataclasses.dataclass(frozen=True)
class Options:
    """What the networks of a forest have in common.

    Attributes:
        sparsities: One per level.
        batch: Batch size of the inputs, or None for any.
        block_shape: As `nest`.
        types: The types of inputs and outputs, as `export.to_tflite`.
    """

    sparsities: tuple[float, ...]
    batch: int | None
    block_shape: tuple[int, int]
    types: Mapping[str, str]


class WrongError(AssertionError):
    """A network that does not compute what it should; the text says where."""


def options_of(seed: int) -> Options:
    """Draws what the networks of the forest of a seed have in common."""
    draw = random.Random(f"forest {seed // FOREST}")
    levels = draw.choice((1, 2, 2, 3, 3))
    sparsities = draw.sample((1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.0), levels)
    return Options(
        tuple(sorted(sparsities, reverse=True)),
        draw.choice((None, None, 1, 2, 3)),
        draw.choice(((1, 1), (1, 1), (1, 2), (1, 4))),
        {
            f"inference_{side}_type": draw.choice(("int8", "int8", "uint8", "float32"))
            for side in ("input", "output")
        },
    )


def networks_of(seeds: Sequence[int]) -> list[Network]:
    """Draws the networks of seeds of one forest."""
    batch = options_of(seeds[0]).batch
    return [drawing.draw(seed, batch=batch) for seed in seeds]


def check(networks: Sequence[Network]) -> None:
    """Takes networks of one forest the whole way, side by side.

    Raises:
        WrongError: A level computes something else, or a runtime.
        ValueError: `nest` or the export refuses a network.
    """
    options = options_of(networks[0].seed)
    base = keras.Model(
        [tensor for each in networks for tensor in each.keras_tensors(each.inputs)],
        [tensor for each in networks for tensor in each.keras_tensors(each.outputs)],
    )
    for layer in base._flatten_layers(include_self=False):
        _fill(layer)
    data = _data(base)
    run = _some(data, options)
    want = _flat(base, run)
    nested = _nest(networks, base, options)
    _compare_before_pruning(networks, nested, run, want)
    for layer in nested.layers:
        _fill(layer)
    nested.prune()
    floats = [_flat(nested.at_level(level), run) for level in range(nested.levels)]
    export.quantize_aware(nested, representative_dataset=data)
    tflite = export.build(nested, representative_dataset=data, **options.types).tflite
    program = runtime.lower(tflite)
    reference = runtime.ReferenceModel(program)
    others = {
        "LiteRT": runtime.LiteRTModel(tflite, interface=program),
        "the generated C": firmware.HostModel(program, cache_dir=object_cache),
    }
    scales = _scales(program)
    for level in range(reference.levels):
        outputs = _as_tuple(reference.run(run, level))
        for name, runner in others.items():
            _equal(networks, _as_tuple(runner.run(run, level)), outputs, f"{name}, level {level}")
        rounded = functools.cache(
            functools.partial(_flat, nested.at_level(level), run, nested.input)
        )
        _near(networks, floats[level], rounded, outputs, scales, level)


# Where compiled kernels are kept; None for a folder of each run's own.
object_cache: Path | None = None


def _some(data: list[Any], options: Options) -> list[Any]:
    return [array[: options.batch or RUN] for array in data]


def _nest(networks: Sequence[Network], base: Any, options: Options) -> Any:
    names = {layer.name for layer in base._flatten_layers(include_self=False)}
    exclude: list[str] = []
    overrides: dict[str, dict[str, Any]] = {}
    for network in networks:
        _choose(network, names, options, exclude, overrides)
    return nested_keras.nest(
        base,
        options.sparsities,
        block_shape=options.block_shape,
        exclude=exclude,
        overrides=overrides,
    )


def _choose(
    network: Network,
    names: set[str],
    options: Options,
    exclude: list[str],
    overrides: dict[str, dict[str, Any]],
) -> None:
    """Draws which kernels of a network stay dense, and which have sparsities of their own."""
    draw = random.Random(f"choices {network.seed}")
    # The last layer stays nested, so that a network alone can be nested.
    used = [name for name in network.kernels if name in names]
    for name in used[:-1]:
        chance = draw.random()
        if chance < 0.15:
            exclude.append(name)
        elif chance < 0.3:
            levels = len(options.sparsities)
            values = draw.sample((1.0, 0.9, 0.85, 0.7, 0.6, 0.4, 0.2, 0.0), levels)
            overrides[name] = {"sparsities": sorted(values, reverse=True)}


def _fill(layer: Any) -> None:
    """Draws the weights of a layer by its name, those of BatchNorm at each level anew."""
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    for variable in layer.weights if not getattr(layer, "layers", None) else ():
        name, shape = variable.path.rsplit("/", 1)[-1], variable.shape
        if name.startswith("level_map"):
            continue
        if isinstance(layer, keras.layers.BatchNormalization | NestedBatchNormalization):
            low, high = {"moving_variance": (0.3, 1.5), "gamma": (0.5, 1.5)}.get(name, (-0.4, 0.4))
            values = rng.uniform(low, high, shape)
            if name == "gamma":
                values *= np.where(rng.random(shape[-1]) < 0.2, -1, 1)
        elif "kernel" in name:
            inputs = max(1, int(np.prod(shape[:-1])))
            values = rng.normal(0, rng.choice((0.7, 1.5)) / np.sqrt(inputs), shape)
        elif variable.dtype.startswith("float") and name in ("bias", "alpha"):
            values = rng.normal(0, 0.3, shape)
        else:
            continue
        variable.assign(values)


def _data(nested: Any) -> list[Any]:
    """Representative data, drawn for each input by its name."""
    arrays = []
    for tensor in nested.inputs:
        rng = np.random.default_rng(zlib.crc32(tensor.name.encode()))
        values = rng.normal(size=(EXAMPLES, *tensor.shape[1:])) * rng.choice((0.3, 1.0, 3.0))
        arrays.append((np.abs(values) if rng.random() < 0.3 else values).astype(np.float32))
    return arrays


def _compare_before_pruning(
    networks: Sequence[Network], nested: Any, data: list[Any], want: list[Any]
) -> None:
    """All levels have the same weights: `nest` itself compares each of them."""
    got = _flat(nested, data)
    for network, index in _places(networks):
        scale = max(1e-6, float(np.abs(want[index]).max()))
        off = float(np.abs(want[index] - got[index]).max()) / scale
        if not off <= 1e-5:
            raise WrongError(f"seed {network.seed}: nested is off by {off:.2g} before pruning")


def _places(networks: Sequence[Network]) -> list[tuple[Network, int]]:
    """The network of each output, with the index of the output."""
    owners = [network for network in networks for _ in network.outputs]
    return [(network, index) for index, network in enumerate(owners)]


def _equal(
    networks: Sequence[Network], got: Sequence[Any], want: Sequence[Any], where: str
) -> None:
    for network, index in _places(networks):
        if not np.array_equal(got[index], want[index]):
            count = np.count_nonzero(got[index] != want[index])
            raise WrongError(
                f"seed {network.seed}: {where}: {count} of {want[index].size} values of output "
                f"{index} differ from NumPy's"
            )


@dataclasses.dataclass(frozen=True)
class Scale:
    """How an output holds real numbers.

    Attributes:
        size: Real units of one step; 1 for float32.
        zero_point: The integer that stands for zero.
        step: Real units of one step of the int8 values behind the output.
    """

    size: float
    zero_point: int
    step: float


def _scales(program: runtime.Program) -> list[Scale]:
    made = {op.outputs[0]: op for op in program.ops}
    scales = []
    for index in program.outputs:
        tensor = inner = program.tensors[index]
        if not tensor.scale:  # float32
            inner = program.tensors[made[index].inputs[0]]
        scales.append(Scale(tensor.scale or 1.0, tensor.zero_point, inner.scale))
    return scales


def _near(
    networks: Sequence[Network],
    floats: Sequence[Any],
    rounded: Callable[[], Sequence[Any]],
    outputs: Sequence[Any],
    scales: Sequence[Scale],
    level: int,
) -> None:
    """Compares the outputs of a runtime with the model in float.

    Where int8 is far from float, the rounded model says whether rounding explains the distance.
    """
    for network, index in _places(networks):
        scale = scales[index]
        got = (outputs[index].astype(np.float64) - scale.zero_point) * scale.size
        steps = functools.partial(_steps, network, scale.step)
        whole = steps(got - floats[index])
        bound = LEAKY_OWN if network.leaks else OWN
        if whole <= bound:
            continue
        near = rounded()[index]
        own, rounding = (steps(near - other) for other in (got, floats[index]))
        # Two roundings differ as one of them differs from float, and few values say less of it.
        if own > bound + (1 + 4 / np.sqrt(got.size)) * rounding:
            raise WrongError(
                f"seed {network.seed}: level {level}: output {index} is {whole:.3g} steps off the "
                f"model in float, {own:.3g} off the rounded model; rounding explains {rounding:.3g}"
            )


def _steps(network: Network, step: float, distances: Any) -> float:
    """Returns the root of the mean square of distances, in steps.

    A value that rounding takes over a jump of a function lands a jump away, tens of steps: networks
    with jumps have the farthest hundredth of their values left out. A wrong layer moves more.
    """
    squares = np.sort(np.square(distances / step, dtype=np.float64), axis=None)
    if network.jumps:
        squares = squares[: -(squares.size // 100) - 1] if squares.size > 1 else squares
    return float(np.sqrt(squares.mean()))


def _flat(model: Any, inputs: list[Any], structure: Any = None) -> list[Any]:
    given = keras.tree.pack_sequence_as(model.input if structure is None else structure, inputs)
    return [np.asarray(y) for y in keras.tree.flatten(model(given, training=False))]


def _as_tuple(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclasses.dataclass
class Outcome:
    """What came of a range of seeds.

    Attributes:
        tried: Number of networks.
        failed: What is wrong, with the smallest network that shows it, by seed.
    """

    tried: int = 0
    failed: dict[int, str] = dataclasses.field(default_factory=dict)


def run(seeds: Sequence[int], outcome: Outcome) -> None:
    """Checks the networks of seeds of one forest, and tells those apart that fail."""
    keras.utils.clear_session(free_memory=False)
    text = _problem(networks_of(seeds))
    if text is None:
        outcome.tried += len(seeds)
    elif len(seeds) > 1:
        half = len(seeds) // 2
        run(seeds[:half], outcome)
        run(seeds[half:], outcome)
    else:
        outcome.tried += 1
        outcome.failed[seeds[0]] = _smallest(seeds[0], text)


def _problem(networks: Sequence[Network]) -> str | None:
    try:
        check(networks)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _smallest(seed: int, text: str) -> str:
    """Returns what is wrong with the network of a seed, of the fewest steps that show it."""
    batch = options_of(seed).batch
    for steps in range(1, 10):
        keras.utils.clear_session(free_memory=False)
        network = drawing.draw(seed, batch=batch, steps=steps)
        smaller = _problem([network])
        if smaller is not None:
            return f"seed {seed}: {smaller}\n{options_of(seed)}\n{network.show()}"
    return f"seed {seed}: {text}"


def main() -> None:
    """Shows and checks one network, or tries many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--to", type=int, help="try all seeds from SEED up to this one")
    parser.add_argument("--log", type=Path, help="append to this file, and go on where it ends")
    arguments = parser.parse_args()
    if arguments.to is None:
        (network,) = networks_of([arguments.seed])
        _say(options_of(arguments.seed), network.show())
        _say(_problem([network]) or "right")
        return
    with tempfile.TemporaryDirectory() as folder:
        _try_all(range(arguments.seed, arguments.to), arguments.log, Path(folder))


def _try_all(seeds: range, log: Path | None, folder: Path) -> None:
    """Tries the forests of seeds that a log does not have yet."""
    global object_cache
    object_cache = folder
    done = log.read_text() if log and log.exists() else ""
    for first in seeds[::FOREST]:
        if f"seeds {first}.." in done:
            continue
        outcome = Outcome()
        run(range(first, min(first + FOREST, seeds.stop)), outcome)
        report = [f"seeds {first}..{first + outcome.tried - 1}: {outcome.tried} tried"]
        report += outcome.failed.values()
        _say(*report)
        if log:
            with log.open("a") as file:
                file.write("\n".join(report) + "\n")


def _say(*lines: object) -> None:
    sys.stdout.write("\n".join(map(str, lines)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
