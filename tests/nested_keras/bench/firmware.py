"""Firmware written by hand whose counts are known."""

from __future__ import annotations

from pathlib import Path

from nested_keras.codegen import sources
from nested_keras.devices.toolchain import cortex_m7_toolchain


def build(folder: Path, body: str) -> Path:
    """A firmware whose main() has this body; the markers and board_puts() are declared."""
    source = folder / "main.c"
    source.write_text(
        '#include "board.h"\n#include "nk_bench_markers.h"\n'
        f"int main(void);\nint main(void) {{\n{body}\n}}\n"
    )
    board = sources.board_dir("mps2_an500")
    includes = (board.parent, sources.tflm_ops_dir() / "bench")
    toolchain = cortex_m7_toolchain()
    objects = [
        toolchain.compile(path, include_dirs=includes, cache_dir=folder)
        for path in (source, *sources.board_sources("mps2_an500"))
    ]
    elf = folder / "firmware.elf"
    toolchain.link(objects, elf, flags=(f"-T{board / 'mps2_an500.ld'}",))
    return elf


def asm(*lines: str) -> str:
    """A C statement with these instructions; r0..r3 and memory may change."""
    text = "".join(f'"{line}\\n"\n' for line in lines)
    return f'__asm__ volatile({text} ::: "r0", "r1", "r2", "r3", "lr", "cc", "memory");'
