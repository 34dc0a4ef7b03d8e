"""Compares the issue model with LLVM's model of the Cortex-M7, on the kernels of the benchmark.

    python benchmarks/llvm_mca.py

Needs what `nested-keras bench kernels` needs, and llvm-mca of LLVM 14 or later on the PATH (Debian:
`apt install llvm`). Old versions crash on loads that write their address back, so the write-back is
left out. CMSIS_NN_ROOT may name a checkout of CMSIS-NN, whose layers are then compared too.

Every block that a layer executes is taken to run again and again, in both models, and counts as
often as it ran. Branches, conditions, and blocks that llvm-mca cannot read, are left out of both.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from nested_keras.bench import bench_firmware, cmsis, kernel_table
from nested_keras.bench.bench_source import AnyCase
from nested_keras.bench.instruction import parse, split_mnemonic
from nested_keras.bench.layer_cases import LAYERS, Case, cases_of
from nested_keras.bench.pipeline import loop_cycles
from nested_keras.bench.profile import Profile
from nested_keras.devices import process
from nested_keras.devices.toolchain import find_tool
from nested_keras.report.table import format_table

_ITERATIONS = 100
_SPARSITIES = (0.0, 0.9)
_TOTAL = re.compile(rb"^Total Cycles:\s+(\d+)$", re.MULTILINE)
_WRITE_BACK = re.compile(r"^((?:ldr|str)\S* [^,]+, \[[^\]]*\])(?:!|, #-?\d+)$")
_IF_THEN = re.compile(r"it[te]*$")
Code: TypeAlias = tuple[str, ...]


def simplified(code: Sequence[str]) -> Code:
    """The instructions of a block in the form that both models read.

    Branches and the conditions of other instructions are left out, and the write-back of addresses.
    """
    plain = []
    for text in code:
        mnemonic, _, operands = text.replace("\t", " ").partition("<")[0].strip().partition(" ")
        if not (parse(text).is_branch or _IF_THEN.match(mnemonic)):
            name, _, sets_flags = split_mnemonic(re.sub(r"\.[nw]$", "", mnemonic))
            plain.append(_WRITE_BACK.sub(r"\1", f"{name}{'s' * sets_flags} {operands.strip()}"))
    return tuple(plain)


def llvm_cycles(block: Code, folder: Path) -> float | None:
    """Cycles of a pass through a block by LLVM's model; None if llvm-mca cannot read it."""
    source = folder / "block.s"
    source.write_text("\n".join((".syntax unified", ".thumb", *block, "")), encoding="ascii")
    options = ("-mtriple=thumbv7em-none-eabi", "-mcpu=cortex-m7", f"-iterations={_ITERATIONS}")
    done = process.run([find_tool("llvm-mca"), *options, os.fspath(source)])
    total = _TOTAL.search(done.stdout)
    return int(total[1]) / _ITERATIONS if done.returncode == 0 and total else None


def measure(
    library: bench_firmware.Library, cases: Sequence[AnyCase], folder: Path
) -> list[Profile]:
    """Counts the cases on the emulator."""
    return [each.profile for each in bench_firmware.measure(library, cases, folder)]


def main() -> None:
    """Prints a row for each layer."""
    cases = [
        case
        for layer in LAYERS
        for case in cases_of(layer)
        if case.stream is not None and case.sparsity in _SPARSITIES and case.block_size == 1
    ]
    root = cmsis.root_from_environment()
    with process.temporary_folder() as folder:
        profiles = measure(bench_firmware.own_library(folder), cases, folder)
        titles = [case.title for case in cases]
        if root is not None:
            dense = [case for case in kernel_table.baseline_cases(cases) if isinstance(case, Case)]
            profiles += measure(cmsis.library(root, folder), dense, folder)
            titles += [f"CMSIS-NN, {case.layer.name}" for case in dense]
        codes = {simplified(block.code) for profile in profiles for block in profile.blocks}
        theirs = {code: llvm_cycles(code, folder) for code in codes if code}
    rows = []
    for title, profile in zip(titles, profiles, strict=True):
        mine = other = known = 0.0
        for block in profile.blocks:
            code = simplified(block.code)
            cycles = theirs.get(code)
            if cycles is not None:
                mine += loop_cycles([parse(text) for text in code]) * block.executions
                other += cycles * block.executions
                known += len(block.code) * block.executions
        share = known / profile.instructions
        rows.append([title, f"{mine:,.0f}", f"{other:,.0f}", f"{other / mine:.2f}", f"{share:.0%}"])
    header = ["layer", "this model", "LLVM", "LLVM / this", "of the instructions"]
    sys.stdout.write(f"{format_table(header, rows)}\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help; no flags
    main()
