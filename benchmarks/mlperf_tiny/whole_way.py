"""Run all models of MLPerf Tiny, and count the bytes by which the runtimes differ.

    python benchmarks/mlperf_tiny/whole_way.py DIR --out benchmarks/mlperf_tiny/whole_way.md

DIR has the files of the benchmark. Each .tflite runs as it is. Each Keras file is nested at 90, 80
and 70 %, trained for two steps and exported; its int8 outputs are compared with the float ones too.
The inputs are random, in the range that the benchmark's own int8 file takes: this is a test of the
way, and says nothing about the accuracy.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import nested_keras
from nested_keras import callbacks, export, files, report, runtime

SPARSITIES = (0.9, 0.8, 0.7)
TARGETS = ("litert", "host", "qemu")
INPUTS, EXAMPLES = 4, 32


@dataclass(frozen=True)
class Entry:
    """A model of the benchmark.

    Attributes:
        task: What it does.
        tflite: Its int8 file.
        keras: Its Keras file; None where the benchmark has none.
        loss: What the Keras model is trained with.
    """

    task: str
    tflite: str
    keras: str | None = None
    loss: str = "sparse_categorical_crossentropy"


ENTRIES = (
    Entry("anomaly detection", "ad01_int8.tflite", "ad01.h5", "mse"),
    Entry("image classification", "pretrainedResnet_quant.tflite", "pretrainedResnet.h5"),
    Entry("image classification, larger", "ic02_int8.tflite"),
    Entry("keyword spotting", "kws_ref_model.tflite"),
    Entry("streaming wake word", "str_ww_ref_model.tflite", "str_ww_ref_model.h5"),
    Entry("visual wake words", "vww_96_int8.tflite", "vww_96.h5"),
)


HEAD = f"""\
# The models of MLPerf Tiny v1.4, the whole way

`whole_way.py` wrote this table; its docstring has the command and the method. In every row LiteRT,
the generated C on the PC and the generated C on the emulated Cortex-M7 give the bytes of the NumPy
reference at every level, over {INPUTS} inputs. For the nested models TFLite Micro does so too. (It
rounds the builtin FULLY_CONNECTED of the plain files in another way than LiteRT, see
docs/quantization.md.) Sizes are in KB, instructions in millions, the sparsest level first; the last
column says how far int8 is from float, in percent of the range of the outputs.

| task | file | .tflite | arena | instructions | int8 from float |
|---|---|---|---|---|---|
"""


def random_inputs(tflite: bytes, count: int) -> Any:
    """Returns random inputs, float32, in the range of a model's own; each with a contrast."""
    tensor = runtime.ReferenceModel(tflite).input_details[0]
    rng = np.random.default_rng(0)
    shape = (count, *tensor.shape[1:])
    contrast = np.linspace(0.2, 1.0, count).reshape(-1, *[1] * (len(shape) - 1))
    steps = rng.uniform(-128, 128, shape) * contrast - tensor.zero_point
    return (steps * tensor.scale).astype(np.float32)


def exported(path: Path, loss: str, x: Any) -> tuple[Any, bytes]:
    """Nests a Keras file, trains it for two steps and exports it."""
    base = nested_keras.load_model(path, compile=False)
    model = nested_keras.nest(base, SPARSITIES)
    classes = base.output_shape[-1]
    y = x if loss == "mse" else np.random.default_rng(1).integers(0, classes, len(x))
    model.compile(keras.optimizers.Adam(1e-4), loss)
    model.fit(x, y, batch_size=EXAMPLES // 2, callbacks=[callbacks.NestedPruning()], verbose=0)
    return model, export.to_tflite(model, representative_dataset=x)


def distance(model: Any, tflite: bytes, x: Any) -> float:
    """Returns how far int8 is from float at the worst level, as a share of the outputs' range."""
    reference = runtime.ReferenceModel(tflite)
    (output,) = reference.output_details
    shares = []
    for level in range(model.levels):
        want = np.asarray(model.at_level(level)(x, training=False))
        real = (reference.run(x, level).astype(np.float32) - output.zero_point) * output.scale
        shares.append(np.abs(real.reshape(want.shape) - want).max() / np.ptp(want))
    return float(max(shares))


def row(entry: Entry, name: str, tflite: bytes, x: Any, *, model: Any = None) -> str:
    """Runs a model on all targets; returns a row of the table.

    Raises:
        RuntimeError: If an output differs from the NumPy reference's.
    """
    for target in TARGETS if model is None else ("tflm", *TARGETS):
        run = report.run_levels(tflite, x, target=target)
        wrong = [level.mismatches_against_reference for level in run.levels]
        if any(wrong):
            raise RuntimeError(f"{name}: {target} differs from the NumPy reference in {wrong}")
    cells = (
        entry.task,
        f"`{name}`",
        f"{len(tflite) / 1024:.0f}",
        f"{run.levels[-1].arena_bytes / 1024:.0f}",
        " / ".join(f"{level.instructions / 1e6:.2f}" for level in run.levels),
        "" if model is None else f"{100 * distance(model, tflite, x):.1f} %",
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Runs all models and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the benchmark's model files")
    parser.add_argument("--out", type=Path, required=True, help="the table, Markdown")
    args = parser.parse_args()
    files.require_writable(args.out)
    keras.utils.set_random_seed(0)
    table = HEAD
    for entry in ENTRIES:
        tflite = (args.folder / entry.tflite).read_bytes()
        table += row(entry, entry.tflite, tflite, random_inputs(tflite, INPUTS))
        if entry.keras is not None:
            x = random_inputs(tflite, EXAMPLES)
            model, nested = exported(args.folder / entry.keras, entry.loss, x)
            few = x[:: EXAMPLES // INPUTS]
            table += row(entry, entry.keras, nested, few, model=model)
        print(table.splitlines()[-1], file=sys.stderr)
    files.write_text(args.out, table)


if __name__ == "__main__":
    main()
