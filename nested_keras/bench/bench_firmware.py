"""Build and run the benchmark firmware for a list of cases (tflm_ops/bench/nk_bench.h)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nested_keras.bench import counter
from nested_keras.bench.layers import Case
from nested_keras.bench.profile import Listing, Profile
from nested_keras.firmware import sources
from nested_keras.firmware.errors import DeviceError
from nested_keras.firmware.toolchain import cortex_m7_toolchain
from nested_keras.format import LayerKind

_BOARD = "mps2_an500"
_ALIGNMENT = 16


@dataclass(frozen=True)
class Library:
    """What is measured: the sources that nk_bench_run() needs.

    Attributes:
      name: Of the firmware file.
      objects: Its kernels, compiled.
      run_source: The file in tflm_ops/bench that defines nk_bench_run().
      include_dirs: Where that file finds the library's headers.
      channels_last_depthwise: Whether depthwise filters are [height][width][out], as in TFLite, and
        not [out][height][width].
    """

    name: str
    objects: tuple[Path, ...]
    run_source: str
    include_dirs: tuple[Path, ...]
    channels_last_depthwise: bool


@dataclass(frozen=True, eq=False)
class Measurement:
    """One case on the emulated Cortex-M7.

    Attributes:
      profile: Instructions and modelled cycles of the call.
      scratch_bytes: Scratch memory that the library asked for.
    """

    profile: Profile
    scratch_bytes: int


def own_library(work_dir: Path) -> Library:
    """The kernels of tflm_ops, as a firmware gets them.

    Args:
      work_dir: Receives the objects.

    Returns:
      The library.
    """
    toolchain = cortex_m7_toolchain()
    include = sources.tflm_ops_dir() / "include"
    functions = (
        *("nk_stream_open", "nk_stream_validate"),
        *("nk_nested_conv_s8", "nk_nested_conv_s8_get_buffer_size"),
        *("nk_conv2d_s8", "nk_depthwise_conv2d_s8", "nk_fully_connected_s8"),
    )
    objects = tuple(
        toolchain.compile(source, include_dirs=(include,), cache_dir=work_dir)
        for source in sources.sources_for(functions)
    )
    return Library("nested_keras", objects, "nk_bench_run.c", (), channels_last_depthwise=False)


def measure(library: Library, cases: Sequence[Case], work_dir: Path) -> list[Measurement]:
    """Runs every case once and checks its output.

    Args:
      library: What to measure.
      cases: At least one.
      work_dir: Receives the firmware and the counts.

    Returns:
      A measurement for each case.

    Raises:
      ToolchainError: A compiler or QEMU is missing.
      DeviceError: A call failed, or an output differs from the reference.
    """
    elf = _build(library, cases, work_dir)
    run = counter.count(elf, work_dir)
    scratch = _check_console(run.console, library.name, cases)
    if len(run.regions) != len(cases):
        raise DeviceError(f"expected {len(cases)} counted calls: got {len(run.regions)}")
    listing = Listing(elf)
    return [
        Measurement(listing.profile(region), used)
        for region, used in zip(run.regions, scratch, strict=True)
    ]


def _build(library: Library, cases: Sequence[Case], work_dir: Path) -> Path:
    toolchain = cortex_m7_toolchain()
    data = _Data()
    cases_source = work_dir / f"{library.name}_cases.c"
    cases_source.write_text(_cases_source(library, cases, data), encoding="ascii")
    bench = sources.tflm_ops_dir() / "bench"
    board = sources.board_dir(_BOARD)
    includes = (sources.tflm_ops_dir() / "include", bench, board.parent)
    own = (bench / "nk_bench_main.c", cases_source, *sorted(board.glob("*.c")))
    objects = [
        toolchain.compile(source, include_dirs=includes, cache_dir=work_dir) for source in own
    ]
    run_includes = (*includes, *library.include_dirs)
    objects.append(
        toolchain.compile(bench / library.run_source, include_dirs=run_includes, cache_dir=work_dir)
    )
    elf = work_dir / f"{library.name}.elf"
    linker_script = board / f"{_BOARD}.ld"
    toolchain.link(
        [*objects, *library.objects, data.write(work_dir)], elf, flags=(f"-T{linker_script}",)
    )
    return elf


class _Data:
    """The arrays of all cases in one file, which the assembler takes in as it is."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._places: dict[bytes, int] = {}

    def add(self, values: npt.NDArray[np.generic] | bytes, c_type: str) -> str:
        """Stores an array, once if it comes again; returns a C expression that points to it."""
        content = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
        if content not in self._places:
            self._bytes += bytes(-len(self._bytes) % _ALIGNMENT)
            self._places[content] = len(self._bytes)
            self._bytes += content
        return f"(const {c_type} *)(const void *)(nk_bench_data + {self._places[content]})"

    def write(self, work_dir: Path) -> Path:
        """Writes the data and the assembler file that includes it; returns the latter."""
        name = hashlib.sha256(self._bytes).hexdigest()[:24]
        content = work_dir / f"data-{name}.bin"
        content.write_bytes(self._bytes)
        source = content.with_suffix(".S")
        source.write_text(
            '    .section .images, "a"\n'
            f"    .balign {_ALIGNMENT}\n"
            "    .global nk_bench_data\n"
            f'nk_bench_data:\n    .incbin "{content.resolve()}"\n',
            encoding="utf-8",
        )
        return source


def _cases_source(library: Library, cases: Sequence[Case], data: _Data) -> str:
    entries = "".join(_case_entry(library, case, data) for case in cases)
    return (
        '#include "nk_bench.h"\n\n'
        "extern const uint8_t nk_bench_data[];\n\n"
        f"const nk_bench_case nk_bench_cases[] = {{\n{entries}}};\n"
        f"const int32_t nk_bench_case_count = {len(cases)};\n"
    )


def _case_entry(library: Library, case: Case, data: _Data) -> str:
    layer, dense = case.layer, case.dense
    is_depthwise = layer.kind == LayerKind.DEPTHWISE
    weights = dense.filter.reshape(
        layer.out_channels, layer.kernel, layer.kernel, 1 if is_depthwise else layer.in_channels
    )
    dims = ", ".join(map(str, weights.shape))
    if is_depthwise and library.channels_last_depthwise:
        weights = weights.transpose(3, 1, 2, 0)
    stream = "NULL" if case.stream is None else data.add(case.stream, "uint8_t")
    return f"""\
    {{
        .kind = {int(layer.kind)},
        .dense =
            {{
                .filter = {data.add(weights, "int8_t")},
                .filter_dims = {{{dims}}},
                .bias = {data.add(dense.bias.astype(np.int32), "int32_t")},
                .multiplier = {data.add(dense.multiplier.astype(np.int32), "int32_t")},
                .shift = {data.add(dense.shift.astype(np.int32), "int32_t")},
                .stride_h = {layer.stride},
                .stride_w = {layer.stride},
                .dilation_h = 1,
                .dilation_w = 1,
                .pad_top = {layer.pad},
                .pad_left = {layer.pad},
                .input_offset = {dense.input_offset},
                .output_offset = {dense.output_offset},
                .activation_min = {dense.activation_min},
                .activation_max = {dense.activation_max},
            }},
        .depth_multiplier = 1,
        .input_dims = {{{", ".join(map(str, layer.input_shape))}}},
        .output_dims = {{{", ".join(map(str, layer.output_shape))}}},
        .input = {data.add(case.x, "int8_t")},
        .stream = {stream},
        .stream_bytes = {len(case.stream or b"")},
        .level = {case.level},
    }},
"""


def _check_console(console: str, library: str, cases: Sequence[Case]) -> list[int]:
    """Compares every output with the reference; returns the scratch bytes of each case."""
    *lines, last = console.splitlines() or [""]
    if last != "end" or len(lines) != len(cases):
        raise DeviceError(
            f"expected {len(cases)} results and `end`: got {len(lines)} and {last[:80]!r}"
        )
    return [
        _check_line(
            line, f"{library}, {case.layer.label} at sparsity {case.sparsity:g}", index, case
        )
        for index, (line, case) in enumerate(zip(lines, cases, strict=True))
    ]


def _check_line(line: str, what: str, index: int, case: Case) -> int:
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
