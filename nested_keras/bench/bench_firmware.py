"""Build and run the benchmark firmware for a list of cases (tflm_ops/bench/nk_bench.h)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nested_keras import files
from nested_keras.bench import counter
from nested_keras.bench.bench_source import AnyCase, Data, cases_source
from nested_keras.bench.core import M7, Core
from nested_keras.bench.operator_cases import OperatorCase
from nested_keras.bench.profile import Listing, Profile
from nested_keras.codegen import sources
from nested_keras.codegen.firmware_errors import DeviceError
from nested_keras.devices.board import Board


@dataclass(frozen=True)
class Library:
    """The library to measure: the sources that nk_bench_run() needs.

    Attributes:
        name: The name of the firmware file.
        objects: The compiled kernels.
        run_source: The file in tflm_ops/bench that defines nk_bench_run().
        operator_source: The file that defines nk_bench_run_operator().
        include_dirs: Folders with the library's headers, for both files.
        channels_last_depthwise: Whether depthwise filters are [height][width][out], as in TFLite,
            and not [out][height][width].
        core: The core for which the kernels are compiled.
    """

    name: str
    objects: tuple[Path, ...]
    run_source: str
    operator_source: str
    include_dirs: tuple[Path, ...]
    channels_last_depthwise: bool
    core: Core = M7


@dataclass(frozen=True, eq=False)
class Measurement:
    """One case on the emulated core.

    Attributes:
        profile: Instructions and modelled cycles of the call.
        scratch_bytes: Scratch memory that the library asked for.
    """

    profile: Profile
    scratch_bytes: int


def own_library(work_dir: Path, core: Core = M7) -> Library:
    """The kernels of tflm_ops, compiled as for a firmware.

    Args:
        work_dir: Receives the objects.
        core: The core.

    Returns:
        The library.
    """
    toolchain = core.toolchain()
    include = sources.tflm_ops_dir() / "include"
    functions = (
        *("nk_stream_open", "nk_stream_validate"),
        *("nk_nested_conv_s8", "nk_nested_conv_s8_get_buffer_size"),
        *("nk_conv2d_s8", "nk_depthwise_conv2d_s8", "nk_fully_connected_s8"),
        *("nk_add_s8", "nk_average_pool2d_s8", "nk_max_pool2d_s8", "nk_softmax_s8"),
    )
    objects = tuple(
        toolchain.compile(source, include_dirs=(include,), cache_dir=work_dir)
        for source in sources.sources_for(functions)
    )
    return Library(
        "nested_keras",
        objects,
        run_source="nk_bench_run.c",
        operator_source="nk_bench_run_operator.c",
        include_dirs=(),
        channels_last_depthwise=False,
        core=core,
    )


def measure(library: Library, cases: Sequence[AnyCase], work_dir: Path) -> list[Measurement]:
    """Runs every case once and checks its output.

    Args:
        library: The library to measure.
        cases: At least one.
        work_dir: Receives the firmware and the counts.

    Returns:
        A measurement for each case.

    Raises:
        ToolchainError: A compiler or QEMU is missing.
        DeviceError: A call failed, or an output differs from the reference.
    """
    elf = _build(library, cases, work_dir)
    run = counter.count(elf, work_dir, machine=library.core.machine, begins_cold=True)
    scratch = _check_console(run.console, library.name, cases)
    if len(run.regions) != len(cases):
        raise DeviceError(f"expected {len(cases)} counted calls: got {len(run.regions)}")
    listing = Listing(elf, library.core)
    return [
        Measurement(listing.profile(region), used)
        for region, used in zip(run.regions, scratch, strict=True)
    ]


def _build(library: Library, cases: Sequence[AnyCase], work_dir: Path) -> Path:
    toolchain, board = library.core.toolchain(), library.core.board
    data = Data()
    listed = work_dir / f"{library.name}_cases.c"
    files.write_text(
        listed,
        cases_source(cases, data, channels_last_depthwise=library.channels_last_depthwise),
    )
    bench = sources.tflm_ops_dir() / "bench"
    includes = (sources.tflm_ops_dir() / "include", bench, sources.boards_dir())
    own = (bench / "nk_bench_main.c", listed, *sources.board_sources(board))
    objects = [
        toolchain.compile(source, include_dirs=includes, cache_dir=work_dir) for source in own
    ]
    run_includes = (*includes, *library.include_dirs)
    run_sources = [library.run_source]
    if any(isinstance(case, OperatorCase) for case in cases):
        run_sources.append(library.operator_source)
    objects += [
        toolchain.compile(bench / name, include_dirs=run_includes, cache_dir=work_dir)
        for name in run_sources
    ]
    elf = work_dir / f"{library.name}.elf"
    linker_script = Board.read(board).linker_script
    toolchain.link(
        [*objects, *library.objects, data.write(work_dir)], elf, flags=(f"-T{linker_script}",)
    )
    return elf


def _check_console(console: str, library: str, cases: Sequence[AnyCase]) -> list[int]:
    """Compares every output with the reference; returns the scratch bytes of each case."""
    *lines, last = console.splitlines() or [""]
    if last != "end" or len(lines) != len(cases):
        raise DeviceError(
            f"expected {len(cases)} results and `end`: got {len(lines)} and {last[:80]!r}"
        )
    return [
        _check_line(line, f"{library}, {case.title}", index, case)
        for index, (line, case) in enumerate(zip(lines, cases, strict=True))
    ]


def _check_line(line: str, what: str, index: int, case: AnyCase) -> int:
    words = line.split(" ")
    if len(words) != 5 or words[:2] != ["case", str(index)]:
        raise DeviceError(f"expected `case {index} STATUS SCRATCH HEX`: got {line[:80]!r}")
    status, scratch, digits = int(words[2]), int(words[3]), words[4]
    if status != 0:
        raise DeviceError(f"{what}: the call returned {status}, expected 0")
    y = np.frombuffer(bytes.fromhex(digits), np.int8)
    expected = case.y.reshape(-1)
    if y.shape != expected.shape:
        raise DeviceError(f"{what}: expected {expected.size} output bytes: got {y.size}")
    wrong = np.flatnonzero(y != expected)
    if wrong.size:
        first = int(wrong[0])
        raise DeviceError(
            f"{what}: {wrong.size} of {y.size} outputs differ from the reference; "
            f"the first is output {first}: expected {expected[first]}, got {y[first]}"
        )
    return scratch
