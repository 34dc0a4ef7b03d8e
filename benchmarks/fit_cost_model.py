"""Fits nested_keras/cortex_m/cycles.json, the cycles of the cost model, to layers run on QEMU.

    python benchmarks/fit_cost_model.py [m7] [m4]

The layers here cover every kernel, loop and width of tile; those of the kernel table are not among
them, so that the error on the table is an honest one: `regenerate.py` writes it into kernels.md.
Needs what `nested-keras bench kernels` needs, and about two minutes for each core named; both by
default. The Cortex-M33 has the cycles of the Cortex-M4.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nested_keras import files
from nested_keras.bench import bench_firmware
from nested_keras.bench.core import CORES, Core
from nested_keras.bench.layer_cases import Case, Layer, level_cases
from nested_keras.cortex_m import cycles
from nested_keras.devices import process
from nested_keras.format import (
    Chooser,
    Encoding,
    LayerKind,
    NestedWeights,
    StoredLevel,
    Stream,
    smallest,
)
from nested_keras.tflite import operators

OUT = Path(cycles.__file__).with_name("cycles.json")
_CONV, _DEPTHWISE, _FC = LayerKind.CONV, LayerKind.DEPTHWISE, LayerKind.FULLY_CONNECTED
_SPARSITIES = (0.95, 0.85, 0.7, 0.5, 0.2)
_LEVELS = (0.92, 0.8, 0.6)
# Weights of a channel in all levels up to each, of levels that a chain joins.
_JOINED_WEIGHTS = ((2, 6, 9), (4, 12, 18))
# So few weights as a depthwise channel has would often all be pruned, and its scale be degenerate.
_DEPTHWISE_SPARSITIES = (0.5, 0.35, 0.25, 0.15, 0.1)
_DEPTHWISE_LEVELS = (0.5, 0.35, 0.2)
# Cases that go into one firmware.
_BATCH = 120


def _only(encoding: Encoding) -> Chooser:
    """Takes `encoding` where a level can have it, and the smallest block elsewhere."""

    def choose(options: Sequence[StoredLevel]) -> StoredLevel:
        wanted = [option for option in options if option.encoding is encoding]
        return wanted[0] if wanted else smallest(options)

    return choose


_DENSE, _DELTA8, _DELTA16 = map(_only, (Encoding.DENSE, Encoding.DELTA8, Encoding.DELTA16))


def _variants(layer: Layer, number: int) -> Iterator[Case]:
    """The layer in all encodings; the sparsities and levels rotate with its number."""
    sizes = [size for size in (1, 2, 4) if layer.kind is not _DEPTHWISE or size == 1]
    sizes = [size for size in sizes if layer.in_channels % size == 0]
    shares, levels = _SPARSITIES, _LEVELS
    if layer.kind is _DEPTHWISE:
        shares, levels = _DEPTHWISE_SPARSITIES, _DEPTHWISE_LEVELS
    sparsity = itertools.cycle(shares[number % 5 :] + shares[: number % 5])

    def alone(share: float, size: int, choose: Chooser) -> Case:
        return level_cases(dataclasses.replace(layer, sparsities=(share,)), size, choose=choose)[0]

    yield alone(0.0, 1, _DENSE)
    for size in sizes:
        yield alone(next(sparsity), size, _DELTA8)
        yield alone(next(sparsity), size, _DELTA8)
    yield alone(next(sparsity), sizes[number % len(sizes)], _DELTA16)
    nested = dataclasses.replace(layer, sparsities=levels)
    first = _DENSE if number % 3 == 0 else _DELTA8
    yield from level_cases(nested, sizes[number % len(sizes)], choose=first)[1:]
    if layer.kind is _CONV:
        positions = max(36, layer.kernel**2 * layer.in_channels)
        few = tuple(1 - weights / positions for weights in _JOINED_WEIGHTS[number // 2 % 2])
        joined = dataclasses.replace(layer, sparsities=few)
        yield from level_cases(joined, 1, choose=_DELTA8)[1:]


def _reshaped(case: Case, **changes: int) -> Case:
    """The same weights with other parameters of the layer."""
    assert case.stream is not None
    nested = case.stream.weights
    return _packed(
        case, dataclasses.replace(nested, params=dataclasses.replace(nested.params, **changes))
    )


def _enlarged(case: Case) -> Case:
    """The same weights with outputs 2^10 times as large, out of the short requantisation."""
    assert case.stream is not None
    nested = case.stream.weights
    return _packed(case, dataclasses.replace(nested, shift=nested.shift + np.int8(10)))


def _packed(case: Case, nested: NestedWeights) -> Case:
    stream = Stream.pack(nested)
    dense = operators.dense_op(stream, case.level)
    y = operators.run_op(dense, [case.x], case.layer.output_shape)
    return dataclasses.replace(case, stream=stream, dense=dense, y=y)


def _layers() -> Iterator[Layer]:
    def layer(kind: LayerKind, *shape: int, stride: int = 1) -> Layer:
        size, inputs, outputs, kernel = shape
        name = f"{kind.name} {kernel}x{kernel} {inputs}->{outputs} @{size} / {stride}"
        return Layer(name, kind, size, inputs, outputs, kernel, stride=stride)

    for size, channels, outputs in (
        *((1, 8, 24), (2, 24, 16), (3, 16, 8), (4, 8, 32), (5, 24, 12), (6, 12, 20)),
        *((7, 16, 24), (8, 20, 40), (11, 16, 16), (13, 8, 12), (18, 8, 8), (20, 4, 12)),
    ):
        yield layer(_CONV, size, channels, outputs, 3)
        yield layer(_CONV, size, 4 * channels, 2 * outputs, 1)
    for size, channels, outputs in ((4, 8, 24), (7, 16, 20), (12, 16, 16), (16, 4, 32)):
        yield layer(_CONV, size, channels, outputs, 3, stride=2)
        yield layer(_CONV, size, 4 * channels, outputs, 1, stride=2)
        yield layer(_CONV, size, channels // 2, outputs, 5)
    yield layer(_CONV, 12, 3, 16, 3)
    # Channels of more than 255 weights, in tiles of all widths.
    for size in (2, 3, 6, 7):
        yield layer(_CONV, size, 48, 24, 3)
        yield layer(_CONV, 2 * size, 320, 16, 1, stride=2)
    yield layer(_CONV, 16, 4, 8, 7, stride=2)
    yield layer(_CONV, 6, 192, 48, 1)
    yield layer(_CONV, 4, 64, 24, 3)
    yield layer(_CONV, 8, 48, 16, 3)
    for inputs, outputs in ((32, 10), (64, 64), (75, 36), (190, 31), (512, 20), (640, 128)):
        yield layer(_FC, 1, inputs, outputs, 1)
    for size, channels in ((3, 40), (5, 48), (6, 32), (8, 24), (12, 16), (25, 8), (31, 8)):
        for kernel, stride in itertools.product((3, 5), (1, 2)):
            yield layer(_DEPTHWISE, size, channels, channels, kernel, stride=stride)
    for size, channels in ((2, 24), (4, 20), (6, 24), (9, 12), (12, 12), (16, 8)):
        yield layer(_DEPTHWISE, size, channels, channels, 7)
        yield layer(_DEPTHWISE, size, channels, channels, 7, stride=2)


def _cases() -> list[Case]:
    cases: list[Case] = []
    for number, layer in enumerate(_layers()):
        own = list(_variants(layer, number))
        cases += own
        if layer.kind is _DEPTHWISE and layer.kernel == 3:  # as after a relu
            cases += [_reshaped(case, output_offset=-128) for case in own[:2]]
        if layer.kind is not _FC and number % 3 == 0:
            cases += [_reshaped(own[0], activation_max=100), _enlarged(own[-1])]
            if layer.kernel == 3 and layer.stride == 1:
                pads = {"pad_top": 2, "pad_left": 2}
                cases += [_reshaped(case, dilation_h=2, dilation_w=2, **pads) for case in own[1:3]]
    return cases


def _measure(cases: Sequence[Case], core: Core) -> list[int]:
    cycles: list[int] = []
    for first in range(0, len(cases), _BATCH):
        with process.temporary_folder() as folder:
            library = bench_firmware.own_library(folder, core)
            part = cases[first : first + _BATCH]
            cycles += [
                measured.profile.cycles
                for measured in bench_firmware.measure(library, part, folder)
            ]
    return cycles


def _features(case: Case) -> dict[str, float]:
    assert case.stream is not None
    levels = case.stream.levels[: case.level + 1]
    exact = cycles.exact_channels(case.stream)[case.level]
    return cycles.features(case.stream.params, case.layer.image_size, levels, exact=exact)


def fit(features: Sequence[dict[str, float]], cycles: Sequence[int]) -> dict[str, float]:
    """Least squares of the relative error with all coefficients at least 0.

    A coefficient that comes out negative is dropped, the most negative first, and the rest is
    fitted again; a dropped one is 0.

    Args:
      features: Counts by name of each case.
      cycles: What each case takes.

    Returns:
      The cycles by name.
    """
    names = sorted({name for counts in features for name in counts})
    matrix = np.array([[counts.get(name, 0) for name in names] for counts in features], float)
    matrix /= np.asarray(cycles, float)[:, np.newaxis]
    kept = list(range(len(names)))
    while True:
        scale = matrix[:, kept].max(axis=0)
        solution = np.linalg.lstsq(matrix[:, kept] / scale, np.ones(len(cycles)), rcond=1e-9)[0]
        if solution.min() >= 0:
            break
        del kept[int(solution.argmin())]
    fitted = dict.fromkeys(names, 0.0)
    for index, value in zip(kept, solution / scale, strict=True):
        fitted[names[index]] = round(float(value), 3)
    return fitted


def fitted_to(cases: Sequence[Case], core: Core) -> dict[str, Any]:
    """Measures the cases on a core; returns its part of the file and prints the largest errors."""
    features = [_features(case) for case in cases]
    cycles = _measure(cases, core)
    fitted = fit(features, cycles)
    predicted = [sum(fitted[name] * n for name, n in counts.items()) for counts in features]
    errors = np.abs(np.array(predicted) / cycles - 1)
    for index in np.argsort(errors)[::-1][:20]:
        sys.stdout.write(
            f"{errors[index]:6.1%} {cycles[index]:>9,} {cases[index].title}, level "
            f"{cases[index].level}, block {cases[index].block_size}\n"
        )
    return {
        "written": f"{datetime.date.today().isoformat()} by benchmarks/fit_cost_model.py",
        "cases": len(cases),
        "relative_error": {
            "median": round(float(np.median(errors)), 4),
            "95th percentile": round(float(np.percentile(errors, 95)), 4),
            "largest": round(float(errors.max()), 4),
        },
        "cycles": fitted,
    }


def main() -> None:
    """Writes the file."""
    content = json.loads(OUT.read_text(encoding="ascii"))
    cases = _cases()
    for name in sys.argv[1:] or ("m7", "m4"):
        content[name] = fitted_to(cases, CORES[name])
        sys.stdout.write(f"{name}: {content[name]['relative_error']}\n")
    files.write_text(OUT, json.dumps(content, indent=1) + "\n")
    sys.stdout.write(f"Wrote {OUT}\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help; no flags
    main()
