"""Runs a grid of cases on the emulated Cortex-M7: a C program and the bytes of the cases."""

from pathlib import Path

from nested_keras.codegen import sources
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import cortex_m7_toolchain

HERE = Path(__file__).parent
BOARD = "mps2_an500"
ALIGNMENT = 16
# The start-up code of such a build traps an unaligned access; bytewise.c has none.
NO_UNALIGNED_ACCESS = (
    "-mno-unaligned-access",
    "-fno-builtin",
    "-fno-tree-loop-distribute-patterns",
)


def run(program, cases, functions, *, flags, folder):
    """Returns what the program prints.

    Args:
        program: The name of a C file in this folder, which reads from cases_begin to cases_end.
        cases: The bytes there.
        functions: The functions of tflm_ops that the program calls.
        flags: Further flags of the compiler.
        folder: Receives all files.
    """
    data = folder / "grid.bin"
    data.write_bytes(cases)
    images = folder / "grid_data.S"
    images.write_text(
        '.section .images, "a"\n'
        f".balign {ALIGNMENT}\n"
        ".global cases_begin, cases_end\n"
        f'cases_begin: .incbin "{data}"\n'
        "cases_end:\n"
    )
    board = sources.board_dir(BOARD)
    includes = (sources.tflm_ops_dir() / "include", board.parent)
    toolchain = cortex_m7_toolchain()
    objects = [
        toolchain.compile(path, include_dirs=includes, cache_dir=folder, extra_flags=flags)
        for path in (
            *([HERE / "bytewise.c"] if flags == NO_UNALIGNED_ACCESS else []),
            HERE / program,
            images,
            *sources.board_sources(BOARD),
            *sources.sources_for(functions),
        )
    ]
    elf = folder / "grid.elf"
    toolchain.link(objects, elf, flags=(f"-T{board / f'{BOARD}.ld'}",))
    return qemu.run(elf)
