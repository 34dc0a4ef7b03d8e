"""Exact instruction counts of marked regions of a firmware, from QEMU and a small plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nested_keras.bench.caches import DEFAULT, NO_MISSES, Memory, Misses
from nested_keras.codegen.firmware_errors import DeviceError, ToolchainError
from nested_keras.codegen.sources import tflm_ops_dir
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import Toolchain, run_tool

_PLUGIN_API_1 = range(6, 9)
_CODE_BYTES = 4 << 20  # as in count_plugin.c
_WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")


class Counts(NamedTuple):
    """What one instruction did in a region.

    Attributes:
        executions: How often the instruction ran.
        wrong_directions: How often the predictor expected a jump and none came, or the reverse.
        wrong_targets: How often the jump went to another address than the time before.
        jumps: How often the instruction jumped.
    """

    executions: int
    wrong_directions: int = 0
    wrong_targets: int = 0
    jumps: int = 0


@dataclass(frozen=True)
class Region:
    """What ran between NK_BENCH_BEGIN and NK_BENCH_END.

    Attributes:
        counts: What the instruction at each address did.
        misses: The lines that the caches had to fetch.
    """

    counts: Mapping[int, Counts]
    misses: Misses = NO_MISSES


@dataclass(frozen=True)
class CountedRun:
    """The output and the executed instructions of one run of a firmware.

    Attributes:
        console: The printed text.
        regions: In the order of their ends.
    """

    console: str
    regions: tuple[Region, ...]


def count(
    elf: Path,
    work_dir: Path,
    *,
    machine: str = "mps2-an500",
    memory: Memory = DEFAULT,
    begins_cold: bool = False,
    timeout_s: float = 600.0,
) -> CountedRun:
    """Runs a firmware and counts the instructions of its marked regions.

    Args:
        elf: Firmware that ends with exit status 0.
        work_dir: Receives the compiled plugin and the counts.
        machine: QEMU's name of the board for which the firmware was built.
        memory: The caches to simulate.
        begins_cold: Whether the caches are empty when a region begins. By default the caches hold
            what the code before has left there.
        timeout_s: Seconds after which the emulator is killed.

    Returns:
        Console text and counts.

    Raises:
        ToolchainError: QEMU or the PC's C compiler is missing, or QEMU has another plugin API.
        DeviceError: The firmware did not end well, or its regions do not pair up.
    """
    _require_plugin_api()
    plugin = build_plugin(work_dir)
    counts = work_dir / f"{elf.stem}.counts"
    counts.unlink(missing_ok=True)
    arguments = (
        f"{plugin.resolve()},counts={counts},code={_code_address(elf):x},"
        f"cache={memory.cache_bytes},tcm={memory.has_tightly_coupled_ram:d},cold={begins_cold:d}"
    )
    options = ("-plugin", arguments)
    console = qemu.run(elf, machine=machine, timeout_s=timeout_s, options=options)
    return CountedRun(console, parse_counts(counts.read_text(encoding="ascii")))


def _code_address(elf: Path) -> int:
    """The start of the 4 MiB that hold the entry point of a 32-bit ELF."""
    with elf.open("rb") as file:
        entry = int.from_bytes(file.read(28)[24:], "little")
    return entry // _CODE_BYTES * _CODE_BYTES


def build_plugin(work_dir: Path) -> Path:
    """Compiles the plugin for this PC, or finds the compiled plugin.

    Args:
        work_dir: The folder of the plugin.

    Returns:
        The shared library.

    Raises:
        ToolchainError: There is no C compiler.
    """
    toolchain = Toolchain("cc", ("-std=c11", "-O2", "-fPIC", *_WARNINGS), ("-shared",))
    source = tflm_ops_dir() / "bench" / "count_plugin.c"
    compiled = toolchain.compile(source, include_dirs=(), cache_dir=work_dir)
    plugin = compiled.with_suffix(".so")
    if not plugin.exists():
        toolchain.link([compiled], plugin)
    return plugin


def parse_counts(text: str) -> tuple[Region, ...]:
    """Reads the plugin's file (tflm_ops/bench/count_plugin.c describes the form).

    Args:
        text: The contents.

    Returns:
        The regions.

    Raises:
        DeviceError: The plugin reported an error, or the file is incomplete.
    """
    *lines, last = text.splitlines() or [""]
    if last.startswith("error "):
        raise DeviceError(f"the counted regions are not sound: {last.removeprefix('error ')}")
    if last != "end":
        raise DeviceError(f"expected the counts to finish with `end`: got {last!r}")
    regions: list[Region] = []
    for line in lines:
        first, *numbers = line.split()
        if first == "region":
            counts: dict[int, Counts] = {}
            regions.append(Region(counts, Misses(*map(int, numbers[1:]))))
        else:
            counts[int(first, 16)] = Counts(*map(int, numbers))
    return tuple(regions)


def _require_plugin_api() -> None:
    banner = run_tool(["qemu-system-arm", "--version"])
    version = re.search(r"version (\d+)\.", banner)
    if version is None or int(version.group(1)) not in _PLUGIN_API_1:
        raise ToolchainError(
            "counting needs qemu-system-arm 6.0 to 8.2 (plugin API 1): "
            f"got {banner.splitlines()[0] if banner else 'no version'}"
        )
