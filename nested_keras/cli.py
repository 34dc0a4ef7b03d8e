"""The `nested-keras` command: thin commands over the library."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from absl import app, flags, logging
from absl.flags import argparse_flags

from nested_keras.firmware import RUNTIMES
from nested_keras.report import TARGETS, format_table

_DESCRIPTION = """Nested sparse convnets: one set of weights, N sparsity levels, a knob at run time.

Typical way through:
  nested-keras train   --model base.keras --data data.npz --out nested.keras
  nested-keras export  nested.keras --data data.npz --out model.tflite
  nested-keras inspect model.tflite
  nested-keras run     model.tflite --target qemu --data data.npz --limit 50
  nested-keras codegen model.tflite --out firmware/model

Data files are .npz archives. `train` reads x_train, y_train, x_test, y_test; `export` reads
x_train; `run` reads x_test and, for the accuracy, y_test. Images are [n, height, width, channels]
as the Keras model takes them; labels are class indices [n].
"""


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected comma-separated fractions such as 0.9,0.8,0.7: got {text!r}"
        ) from None


def _block_shape(text: str) -> tuple[int, int]:
    shapes = {"1x1": (1, 1), "1x2": (1, 2), "1x4": (1, 4)}
    if text not in shapes:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(shapes)}: got {text!r}")
    return shapes[text]


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more: got {text!r}")
    return int(text)


def _load_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Arrays of a .npz archive by name."""
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in names if name not in archive.files]
        if missing:
            raise ValueError(
                f"{path}: expected arrays {', '.join(names)}; "
                f"got {', '.join(archive.files)} (missing {', '.join(missing)})"
            )
        return [archive[name] for name in names]


def _say(text: str) -> None:
    print(text, flush=True)


def _demo(args: argparse.Namespace) -> None:
    from nested_keras import demo, report

    result = demo.run(args.out, say=_say)
    _say("")
    _say(report.level_table(result))
    _say(f"\nWrote model.tflite, firmware.elf, report.json and report.html to {args.out}/")


def _train(args: argparse.Namespace) -> None:
    import keras
    import tensorflow_model_optimization as tfmot

    import nested_keras
    from nested_keras import callbacks

    x_train, y_train, x_test, y_test = _load_arrays(
        args.data, "x_train", "y_train", "x_test", "y_test"
    )
    keras.utils.set_random_seed(args.seed)
    base = keras.models.load_model(args.model, compile=False)
    model = nested_keras.nest(base, args.sparsities, block_shape=args.block_shape)
    model.compile(
        keras.optimizers.Adam(args.learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        routing=args.routing,
    )
    steps = args.epochs * -(-len(x_train) // args.batch_size)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=max(args.sparsities),
        begin_step=0,
        end_step=max(1, int(0.6 * steps)),
        frequency=max(1, steps // 50),
    )
    model.fit(
        x_train,
        y_train,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_data=(x_test, y_test),
        callbacks=[
            callbacks.NestedPruning(schedule),
            callbacks.BatchNormReestimation(x_train[:2000]),
        ],
    )
    model.save(args.out)
    rows = [
        [str(row["level"]), f"{row['sparsity']:.3f}", f"{row['accuracy']:.2%}"]
        for row in model.evaluate_levels(x_test, y_test, verbose=0)
    ]
    _say(format_table(["level", "sparsity", "accuracy"], rows))
    _say(f"Wrote {args.out}")


def _export(args: argparse.Namespace) -> None:
    import nested_keras
    from nested_keras import export

    (x_train,) = _load_arrays(args.data, "x_train")
    model = nested_keras.load_model(args.model)
    content = export.to_tflite(model, representative_dataset=x_train[: args.samples])
    args.out.write_bytes(content)
    _say(f"Wrote {args.out}: {len(content):,} bytes, every level verified against its dense twin")
    _print_levels(content)


def _print_levels(content: bytes) -> None:
    from nested_keras import report

    rows = [
        [str(size.level), f"{size.sparsity:.3f}", f"{size.nnz:,}", f"{size.weight_bytes:,}"]
        for size in report.level_sizes(content)
    ]
    _say(format_table(["level", "zeros, all layers", "nonzeros", "weight bytes"], rows))


def _per_level(numbers: Sequence[int]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def _inspect(args: argparse.Namespace) -> None:
    from nested_keras import export

    content = args.model.read_bytes()
    header = [
        *("layer", "kind", "weights", "nonzeros per level", "bytes per level"),
        *("block", "stored as", "predicted cycles per level"),
    ]
    rows = [
        [
            layer.name,
            layer.kind,
            f"{layer.weights:,}",
            _per_level(layer.nnz),
            _per_level(layer.bytes),
            f"1x{layer.block_size}" if layer.nested else "-",
            " / ".join(layer.encodings) if layer.nested else "not nested",
            _per_level(layer.cycles) if layer.nested else "-",
        ]
        for layer in export.summarize_model(content)
    ]
    _say(format_table(header, rows))
    _say("")
    _print_levels(content)


def _run(args: argparse.Namespace) -> None:
    from nested_keras import report

    (x,) = _load_arrays(args.data, "x_test")
    with np.load(args.data, allow_pickle=False) as archive:
        labels = archive["y_test"][: args.limit] if "y_test" in archive.files else None
    result = report.run_levels(
        args.model.read_bytes(),
        x[: args.limit],
        labels,
        target=args.target,
        device_runtime=args.runtime,
    )
    _say(f"{args.model} on {args.target}: {len(x[: args.limit])} inputs")
    header = ["level", "accuracy", "instructions", "arena bytes", "flash bytes", "mismatches"]
    rows = [
        [
            str(row.level),
            "-" if row.accuracy is None else f"{row.accuracy:.2%}",
            *(
                "-" if value is None else f"{value:,}"
                for value in (row.instructions, row.arena_bytes, row.flash_bytes)
            ),
            str(row.mismatches_against_reference),
        ]
        for row in result.levels
    ]
    _say(format_table(header, rows))
    if args.json:
        args.json.write_text(json.dumps(result.to_dict(), indent=2) + "\n")
        _say(f"Wrote {args.json}")


def _codegen(args: argparse.Namespace) -> None:
    from nested_keras import firmware

    library = firmware.generate(args.model.read_bytes(), args.out, name=args.name)
    _say(f"Wrote a C library to {args.out}: {library.arena_bytes:,} bytes of arena")
    _say(f"Include {args.name}.h, compile every .c file, call {args.name}_invoke().")


def _firmware(args: argparse.Namespace) -> None:
    from nested_keras import firmware

    model = firmware.QemuModel(args.model.read_bytes(), runtime=args.runtime)
    if args.data is None:
        x = [np.zeros(tensor.shape, tensor.dtype) for tensor in model.input_details]
    else:
        (images,) = _load_arrays(args.data, "x_test")
        x = [images if images.dtype == np.int8 else images.astype(np.float32)]
    built = model.build([array[: args.limit] for array in x], args.out, board=args.board)
    _say(
        f"Wrote {built.elf}: {built.text_bytes:,} bytes of code and constants, "
        f"{built.data_bytes + built.bss_bytes:,} bytes of variables"
    )


def _strip(args: argparse.Namespace) -> None:
    from nested_keras import export

    before = args.model.read_bytes()
    after = export.strip_model(before, args.levels)
    args.out.write_bytes(after)
    _say(f"Wrote {args.out}: levels 0..{args.levels - 1}, {len(before):,} -> {len(after):,} bytes")


def _bench_kernels(args: argparse.Namespace) -> None:
    from nested_keras.bench import cmsis, kernels

    benchmark = kernels.run(cmsis_nn_root=cmsis.root_from_environment())
    _say(kernels.table(benchmark))
    if args.json:
        rows = [row.to_dict() for row in benchmark.rows]
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
        _say(f"Wrote {args.json}")


def _bench_model(args: argparse.Namespace) -> None:
    from nested_keras.bench import model

    benchmark = model.run(args.model.read_bytes())
    _say(model.table(benchmark))
    if args.json:
        args.json.write_text(json.dumps(benchmark.to_dict(), indent=2) + "\n")
        _say(f"Wrote {args.json}")


def _add_bench(sub: argparse.ArgumentParser) -> None:
    """Adds the two benchmarks below the command `bench`."""
    benchmarks = sub.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    kernels = benchmarks.add_parser("kernels", help="the layers of benchmarks/README.md")
    kernels.set_defaults(action=_bench_kernels)
    model = benchmarks.add_parser("model", help="every operator of a .tflite, at every level")
    model.set_defaults(action=_bench_model)
    model.add_argument("model", metavar="MODEL", type=Path, help="a .tflite written by `export`")
    for benchmark in (kernels, model):
        benchmark.add_argument(
            "--json", type=Path, default=None, help="write the results to this file"
        )


def _parser() -> argparse_flags.ArgumentParser:
    parser = argparse_flags.ArgumentParser(
        prog="nested-keras",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, action: Any, summary: str, details: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{details}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(action=action)
        return sub

    def model_argument(sub: argparse.ArgumentParser, text: str) -> None:
        sub.add_argument("model", metavar="MODEL", type=Path, help=text)

    def runtime_argument(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--runtime",
            choices=RUNTIMES,
            default="standalone",
            help="what runs the model on a device: generated C (default) or TFLite Micro",
        )

    sub = command(
        "demo",
        _demo,
        "Train, export and run a small nested convnet on an emulated Cortex-M7.",
        "Uses the handwritten digits that scikit-learn ships, so nothing is downloaded. Needs\n"
        "arm-none-eabi-gcc and qemu-system-arm. Leaves model.tflite, firmware.elf, report.json\n"
        "and report.html in the output folder and prints one row per level.",
    )
    sub.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the results")

    sub = command(
        "train",
        _train,
        "Nest a Keras classifier and train all its levels together.",
        "Starts from the weights in the .keras or .h5 file. Masks ramp up over the first 60 % of\n"
        "the steps (tfmot PolynomialDecay), BatchNorm statistics are re-estimated per level after\n"
        "each epoch, and the result is saved as one .keras file. For another loss, schedule or\n"
        "data pipeline use the Python API: nested_keras.nest, compile, fit.",
    )
    sub.add_argument(
        "--model",
        type=Path,
        required=True,
        help="the Keras model to start from, with softmax output",
    )
    sub.add_argument(
        "--data", type=Path, required=True, help=".npz with x_train, y_train, x_test, y_test"
    )
    sub.add_argument(
        "--sparsities",
        type=_fractions,
        default=(0.9, 0.8, 0.7),
        metavar="S0,S1,...",
        help="share of zeros per level, sparsest first (default 0.9,0.8,0.7)",
    )
    sub.add_argument(
        "--block_shape", type=_block_shape, default=(1, 1), help="1x1 (default), 1x2 or 1x4"
    )
    sub.add_argument("--epochs", type=_positive, default=10, help="default 10")
    sub.add_argument("--batch_size", type=_positive, default=64, help="default 64")
    sub.add_argument("--learning_rate", type=float, default=2e-3, help="of Adam (default 0.002)")
    sub.add_argument(
        "--routing",
        type=float,
        default=0.5,
        help="share of a level's gradient that reaches the weights of sparser levels: 0 strict, "
        "1 joint (default 0.5)",
    )
    sub.add_argument("--seed", type=int, default=0, help="default 0")
    sub.add_argument("--out", type=Path, required=True, help="the nested .keras file to write")

    sub = command(
        "export",
        _export,
        "Convert a trained nested model to one .tflite with all its levels.",
        "Folds BatchNorm, calibrates activation ranges over all levels, quantises to int8, packs\n"
        "the weights level by level, and compares every level with a dense golden model bit for\n"
        "bit before the file is written.",
    )
    model_argument(sub, "nested .keras file written by `train` or NestedModel.save")
    sub.add_argument("--data", type=Path, required=True, help=".npz with x_train for calibration")
    sub.add_argument(
        "--samples", type=_positive, default=200, help="calibration images (default 200)"
    )
    sub.add_argument("--out", type=Path, required=True, help="the .tflite to write")

    sub = command(
        "inspect",
        _inspect,
        "Show a .tflite's layers: nonzeros, bytes, encoding and predicted cycles per level.",
        "Bytes of level l are what a runtime reads at level l: header, tables and weights of the\n"
        "levels 0..l. Layers that are not nested count the same at every level. `block` and\n"
        "`stored as` are what the exporter chose for the weights that each level adds; the cycles\n"
        "are those of a Cortex-M7, predicted (docs/kernels.md).",
    )
    model_argument(sub, "a .tflite written by `export`")

    sub = command(
        "run",
        _run,
        "Run a .tflite at every level and report accuracy and instructions.",
        "Targets: `reference` (NumPy), `litert` (LiteRT with the NESTED_SPARSE_CONV delegate),\n"
        "`tflm` (TFLite Micro's own interpreter, from the PyPI package tflite-micro),\n"
        "`host` (generated C compiled for this PC), and generated C on an emulated Cortex-M7,\n"
        "which also counts instructions per inference: `qemu` (mps2-an500) and `renode`\n"
        "(NUCLEO-F767ZI; Renode is found on PATH or by the environment variable RENODE).\n"
        "With `--runtime tflm` TFLite Micro runs there in place of the generated C; TFLM_ROOT\n"
        "must name a tree of it with a library built for the Cortex-M7.\n"
        "Every output is compared with the NumPy reference; mismatches must be 0.",
    )
    model_argument(sub, "a .tflite written by `export`")
    sub.add_argument("--target", choices=TARGETS, required=True)
    runtime_argument(sub)
    sub.add_argument("--data", type=Path, required=True, help=".npz with x_test and maybe y_test")
    sub.add_argument("--limit", type=_positive, default=None, help="use only the first N inputs")
    sub.add_argument("--json", type=Path, default=None, help="write the results to this file")

    sub = command(
        "codegen",
        _codegen,
        "Write a self-contained C library for a .tflite.",
        "No heap, no interpreter: model data, a static arena plan and\n"
        "NAME_invoke(input, output, level). Compiles with any C11 compiler.",
    )
    model_argument(sub, "a .tflite written by `export`")
    sub.add_argument("--out", type=Path, required=True, help="folder for the library")
    sub.add_argument("--name", default="model", help="prefix of the C names (default model)")

    sub = command(
        "firmware",
        _firmware,
        "Build the firmware that `run` runs, for an emulator or for the board itself.",
        "Writes firmware.elf, which runs the inputs at every level and prints outputs and counts\n"
        "(docs/firmware.md). `make flash` writes it to a NUCLEO-F767ZI.",
    )
    model_argument(sub, "a .tflite written by `export`")
    sub.add_argument("--board", required=True, help="a folder of tflm_ops/boards (docs/boards.md)")
    runtime_argument(sub)
    sub.add_argument(
        "--data", type=Path, default=None, help=".npz with x_test (default: one input of zeros)"
    )
    sub.add_argument("--limit", type=_positive, default=None, help="use only the first N inputs")
    sub.add_argument("--out", type=Path, required=True, help="folder for the firmware")

    sub = command(
        "strip",
        _strip,
        "Keep only the sparsest K levels of a .tflite.",
        "The weights are stored level by level, so this cuts each stream after level K-1.",
    )
    model_argument(sub, "a .tflite written by `export`")
    sub.add_argument("--levels", type=_positive, required=True, metavar="K", help="levels to keep")
    sub.add_argument("--out", type=Path, required=True, help="the .tflite to write")

    sub = command(
        "bench",
        None,
        "Count instructions and model Cortex-M7 cycles of kernels or of a model.",
        "Builds firmware, runs it under QEMU and checks every output against the NumPy reference.\n"
        "Instructions are exact; cycles come from a static, uncalibrated model\n"
        "(benchmarks/cycle_model.md). `kernels` compares with dense CMSIS-NN: measured from\n"
        "CMSIS_NN_ROOT where that names a checkout, else recorded counts.",
    )
    _add_bench(sub)
    return parser


def _execute(args: argparse.Namespace) -> int:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        args.action(args)
    except ModuleNotFoundError as error:
        # Training and export need packages that running a .tflite does not.
        print(
            f"nested-keras: error: {args.command} needs the package {error.name}: "
            "pip install 'nested_keras[demo]'",
            file=sys.stderr,
        )
        return 1
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        # What a user can put right is told in one line; a traceback is for defects of ours.
        print(f"nested-keras: error: {error}", file=sys.stderr)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `nested-keras` command.

    Args:
      argv: Program name and arguments; None takes sys.argv.
    """
    # TensorFlow's start-up and conversion notes would bury what the commands say.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(
        _execute,
        argv=list(argv) if argv is not None else None,
        flags_parser=lambda arguments: _parser().parse_args(arguments[1:]),
    )
