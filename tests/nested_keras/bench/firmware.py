"""Firmware written by hand whose counts are known."""

from __future__ import annotations

from pathlib import Path

from nested_keras.codegen import sources
from nested_keras.devices.board import Board
from nested_keras.devices.toolchain import arm_toolchain


def build(folder: Path, body: str, *, board: str = "mps2_an500") -> Path:
    """A firmware whose main() has this body; the markers and board_puts() are declared."""
    source = folder / "main.c"
    source.write_text(
        '#include "board.h"\n#include "nk_bench_markers.h"\n'
        f"int main(void);\nint main(void) {{\n{body}\n}}\n"
    )
    facts = Board.read(board)
    includes = (facts.folder.parent, sources.tflm_ops_dir() / "bench")
    toolchain = arm_toolchain(facts.flags)
    objects = [
        toolchain.compile(path, include_dirs=includes, cache_dir=folder)
        for path in (source, *sources.board_sources(board))
    ]
    elf = folder / "firmware.elf"
    toolchain.link(objects, elf, flags=(f"-T{facts.linker_script}",))
    return elf


def asm(*lines: str) -> str:
    """A C statement with these instructions; r0..r3 and memory may change."""
    text = "".join(f'"{line}\\n"\n' for line in lines)
    return f'__asm__ volatile({text} ::: "r0", "r1", "r2", "r3", "lr", "cc", "memory");'
