"""Measures whole models and writes models.json and models.md beside this file.

    python benchmarks/models.py

The models of MLPerf Tiny with random weights, each nested at 90, 80 and 70 % sparsity (the first
layer, depthwise layers and the last one stay dense), run as generated C on QEMU. The baseline is
TFLite Micro with CMSIS-NN on the same dense models.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from nested_keras import applications, export, files, nest
from nested_keras.bench import cmsis, whole_model as model_bench
from nested_keras.report.table import format_table

HERE = Path(__file__).resolve().parent
SPARSITIES = (0.9, 0.8, 0.7)
_SEED = 0
_HEAD = "<!-- Written by benchmarks/models.py. Do not edit. -->\n"
_NOTE = """\
Weights are random and seeded. The first layer, depthwise layers and the last layer are dense.
"90/80/70" is one model with three levels, "90" is a model of one level, "dense" is the int8 model
of TensorFlow's converter without pruning. All run as generated C on the emulated Cortex-M7.

Instructions are exact; cycles come from a static, uncalibrated issue model (cycle_model.md). On
boards CMSIS-NN's code takes 1.0 to 1.45 times its modelled cycles, at the median 1.2. "memory" adds
the misses of 16 KB caches to the cycles.
Every output was compared with the NumPy reference. The arena has room for input and output, as
the arena of TFLite Micro has; "arena + I/O" adds the buffers of a caller who keeps input and
output elsewhere. Code is the part of the library, and of the C library, that the linker keeps.

The baseline is TFLite Micro of August 2026 with CMSIS-NN of July 2026 on the dense int8 files of
MLPerf Tiny. It was counted in the same way on 2026-11-28, with arm-none-eabi-gcc 12.2, and rounded
to 10,000; benchmarks/models.py does not count it again. With memory the three take 23,270,000,
18,180,000 and 5,560,000 cycles.

"x ST" and "x Plumerai" compare with engines that one can buy, on the dense int8 models of MLPerf
Tiny: X-CUBE-AI on an STM32H7A3 at 280 MHz (MLPerf Tiny v1.2) and Plumerai's engine on an STM32F746
at 216 MHz (v1.1). Their cycles were measured on boards, ours are modelled: expect to lose a factor
of 1.0 to 1.45 of these ratios on a board. A ratio below 1 says that the dense engine is faster.
"""


@dataclass(frozen=True)
class Network:
    """A model, and its dense cost in TFLite Micro with CMSIS-NN.

    Attributes:
        name: The name in the rows.
        make: Builds the Keras model.
        instructions: Instructions of one inference.
        cycles: Modelled cycles of one inference.
        arena_bytes: The arena that TFLite Micro asks for.
        st_cycles: Cycles of ST's X-CUBE-AI, measured on an STM32H7A3; 0 where none are published.
        plumerai_cycles: Cycles of Plumerai's engine, measured on an STM32F746; likewise.
    """

    name: str
    make: Callable[[], Any]
    instructions: int
    cycles: int
    arena_bytes: int
    st_cycles: int = 0
    plumerai_cycles: int = 0


@dataclass(frozen=True)
class Row:
    """One model at one level, against the baseline.

    Attributes:
      network: Name of the network.
      model: "90/80/70", "dense", or the sparsity of a model of one level.
      sparsity: Of the nested layers.
      instructions: Of one inference; exact.
      cycles: Likewise; modelled.
      memory_cycles: Likewise, with the misses of the caches.
      speedup_instructions: Baseline's divided by ours.
      speedup_cycles: Likewise.
      speedup_st: Cycles that ST measured on a board divided by our modelled cycles.
      speedup_plumerai: Cycles that Plumerai measured on a board divided by our modelled cycles.
      arena_bytes: Static memory of the generated code.
      io_bytes: Input and output buffers.
      baseline_arena_bytes: TFLite Micro's arena, which holds those too.
      code_bytes: Machine code.
      data_bytes: Constants.
      tflite_bytes: The exported file.
    """

    network: str
    model: str
    sparsity: float
    instructions: int
    cycles: int
    memory_cycles: int
    speedup_instructions: float
    speedup_cycles: float
    speedup_st: float
    speedup_plumerai: float
    arena_bytes: int
    io_bytes: int
    baseline_arena_bytes: int
    code_bytes: int
    data_bytes: int
    tflite_bytes: int


NETWORKS = (
    Network(
        "ResNet-8", applications.resnet8, 30_030_000, 22_100_000, 54_996, 11_440_000, 13_580_000
    ),
    Network(
        "VWW MobileNetV1 0.25",
        applications.mobilenet_v1,
        *(24_030_000, 17_390_000, 100_708, 6_670_000, 7_360_000),
    ),
    Network("DS-CNN", applications.ds_cnn, 7_640_000, 5_460_000, 22_820, 3_170_000, 3_830_000),
)


def build(network: Network, sparsities: Sequence[float]) -> export.ExportedModel:
    """Nests, prunes and exports a network with seeded random weights."""
    keras.utils.set_random_seed(_SEED)
    nested = nest(network.make(), sparsities)
    nested.prune()
    images = np.random.default_rng(_SEED).standard_normal((32, *nested.input_shape[1:]))
    return export.build(nested, representative_dataset=images.astype(np.float32))


def measure(
    network: Network, tflite: bytes, sparsities: Sequence[float], *, label: str
) -> list[Row]:
    """Runs a model at all its levels."""
    result = model_bench.run(tflite)
    rows = []
    for cost, sparsity in zip(result.levels, sparsities, strict=True):
        rows.append(
            Row(
                network=network.name,
                model=label,
                sparsity=sparsity,
                instructions=cost.instructions,
                cycles=cost.cycles,
                memory_cycles=cost.memory_cycles,
                speedup_instructions=round(network.instructions / cost.instructions, 3),
                speedup_cycles=round(network.cycles / cost.cycles, 3),
                speedup_st=round(network.st_cycles / cost.cycles, 3),
                speedup_plumerai=round(network.plumerai_cycles / cost.cycles, 3),
                arena_bytes=result.arena_bytes,
                io_bytes=result.io_bytes,
                baseline_arena_bytes=network.arena_bytes,
                code_bytes=result.code_bytes,
                data_bytes=result.data_bytes,
                tflite_bytes=len(tflite),
            )
        )
    return rows


def measure_network(network: Network) -> list[Row]:
    """The nested model, models of one level each, and the dense one."""
    nested = build(network, SPARSITIES)
    rows = measure(network, nested.tflite, SPARSITIES, label="/".join(map(_percent, SPARSITIES)))
    for sparsity in SPARSITIES:
        alone = build(network, [sparsity])
        rows += measure(network, alone.tflite, [sparsity], label=_percent(sparsity))
    dense = build(network, [0.0])
    rows += measure(network, dense.dense_tflite, [0.0], label="dense")
    return rows


def counted_with() -> str:
    """The line of models.md that names what the figures depend on."""
    versions = f"Keras {keras.__version__}, TensorFlow {tf.__version__}"
    return f"Counted with {cmsis.compiler_version()}, -O2; weights and export by {versions}."


def _percent(sparsity: float) -> str:
    return f"{100 * sparsity:.0f}"


def _speedups(row: Row) -> tuple[float, ...]:
    measured = (row.speedup_st, row.speedup_plumerai)
    return (row.speedup_instructions, row.speedup_cycles, *measured)


def table(rows: Sequence[Row]) -> str:
    """Costs, one line for each row."""
    header = ["network", "model", "sparsity", "instructions", "cycles", "memory"]
    header += [
        "instr. x",
        "cycles x",
        "x ST",
        "x Plumerai",
        "arena",
        "arena + I/O",
        "TFLM arena",
        "code",
        "constants",
    ]
    lines = []
    for row in rows:
        numbers = (row.arena_bytes, row.arena_bytes + row.io_bytes, row.baseline_arena_bytes)
        lines.append(
            [
                row.network,
                row.model,
                f"{_percent(row.sparsity)} %",
                f"{row.instructions:,}",
                f"{row.cycles:,}",
                f"{row.memory_cycles:,}",
                *(f"{speedup:.2f}" for speedup in _speedups(row)),
                *(f"{n:,}" for n in (*numbers, row.code_bytes, row.data_bytes)),
            ]
        )
    return format_table(header, lines)


def storage_table(rows: Sequence[Row]) -> str:
    """One nested model against the models of one level that it stands for."""
    header = ["network", "constants", "three models", "ratio", ".tflite", "three files", "ratio"]
    lines = []
    for network in NETWORKS:
        own = [row for row in rows if row.network == network.name]
        nested = own[0]
        alone = [row for row in own if row.model in map(_percent, SPARSITIES)]
        line = [network.name]
        for mine, others in (
            (nested.data_bytes, sum(row.data_bytes for row in alone)),
            (nested.tflite_bytes, sum(row.tflite_bytes for row in alone)),
        ):
            line += [f"{mine:,}", f"{others:,}", f"{mine / others:.3f}"]
        lines.append(line)
    return format_table(header, lines)


def main() -> None:
    """Writes the files."""
    rows = [row for network in NETWORKS for row in measure_network(network)]
    content = [asdict(row) for row in rows]
    files.write_text(HERE / "models.json", json.dumps(content, indent=1) + "\n")
    files.write_text(
        HERE / "models.md",
        f"{_HEAD}# Whole models\n\n{_NOTE}\n{counted_with()}\n\n```\n{table(rows)}\n```\n\n"
        f"## Storage\n\n```\n{storage_table(rows)}\n```\n",
    )
    sys.stdout.write(f"Wrote {HERE / 'models.json'} and {HERE / 'models.md'}\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help; no flags
    main()
