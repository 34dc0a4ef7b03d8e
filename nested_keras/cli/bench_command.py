"""`nested-keras bench`: count instructions and model cycles of kernels or of a model."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from nested_keras.bench.caches import DEFAULT, MEMORIES
from nested_keras.cli import arguments
from nested_keras.runtime.runner import read_model
from nested_keras.typing import Subparsers


def add(commands: Subparsers) -> None:
    """Adds the command."""
    sub = arguments.add_command(
        commands,
        "bench",
        None,
        "Count instructions and model Cortex-M cycles of kernels or of a model.",
        "Builds firmware, runs it under QEMU and checks every output against the NumPy reference.\n"
        "Instructions are exact; cycles come from a static, uncalibrated model\n"
        "(benchmarks/cycle_model.md). `kernels` compares with dense CMSIS-NN: measured if\n"
        "CMSIS_NN_ROOT names a checkout, else from recorded counts.",
    )
    _add_bench(sub)


def _bench_kernels(args: argparse.Namespace) -> None:
    from nested_keras.bench import cmsis, kernel_table
    from nested_keras.bench.core import CORES

    arguments.require_json(args.json)
    args.terminal.status("building firmware and counting under QEMU")
    benchmark = kernel_table.run(cmsis_nn_root=cmsis.root_from_environment(), core=CORES[args.core])
    args.terminal.say(kernel_table.table(benchmark))
    arguments.write_json(args, [row.to_dict() for row in benchmark.rows])


def _bench_model(args: argparse.Namespace) -> None:
    from nested_keras.bench import whole_model
    from nested_keras.bench.core import CORES

    arguments.require_json(args.json)
    args.terminal.status("building firmware and counting under QEMU")
    memory = dataclasses.replace(
        MEMORIES[args.memory], flash_cycles=args.flash_cycles, ram_cycles=args.ram_cycles
    )
    benchmark = whole_model.run(read_model(args.model), memory=memory, core=CORES[args.core])
    args.terminal.say(whole_model.table(benchmark))
    arguments.write_json(args, benchmark.to_dict())


def _add_bench(sub: argparse.ArgumentParser) -> None:
    """Adds the two benchmarks below the command `bench`."""
    benchmarks = sub.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    kernels = benchmarks.add_parser("kernels", help="the layers of benchmarks/README.md")
    kernels.set_defaults(action=_bench_kernels)
    model = benchmarks.add_parser("model", help="every operator of a .tflite, at every level")
    model.set_defaults(action=_bench_model)
    model.add_argument("model", metavar="MODEL", type=Path, help="a .tflite written by `export`")
    model.add_argument(
        "--memory",
        choices=MEMORIES,
        default=DEFAULT.name,
        help="the size of the caches of an M7, and whether its RAM is tightly coupled; default "
        "%(default)s",
    )
    for kind in ("flash", "ram"):
        default = getattr(DEFAULT, f"{kind}_cycles")
        text = f"cycles until a line of {kind} is in the cache; default {default}"
        model.add_argument(
            f"--{kind}-cycles", metavar="N", type=arguments.positive, default=default, help=text
        )
    for benchmark in (kernels, model):
        arguments.add_core(benchmark)
        arguments.add_json(benchmark)
        arguments.add_quiet(benchmark)
