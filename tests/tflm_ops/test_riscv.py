"""The kernels on a 32-bit RISC-V without floating point, RV32IMAC, emulated by qemu-riscv32.

Needs gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-user of Debian.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from tests.tflm_ops.test_portable import GRIDS

TESTS = Path(__file__).parent
COMPILER = "riscv64-unknown-elf-gcc"
EMULATOR = "qemu-riscv32"
CORE = ("-march=rv32imac", "-mabi=ilp32")
LIBRARY = "--specs=picolibc.specs"
COMPILE = (
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-c"),
    *("-fno-builtin", "-fno-tree-loop-distribute-patterns"),  # bytewise.c must not call itself
)
# Of picolibc the headers alone, because its linker script is for boards; nothing sets up gp.
LINK = ("-nostdlib", "-static", "-Wl,--no-relax")


def has_tools():
    """Whether compiler, C library and emulator are there."""
    if not (shutil.which(COMPILER) and shutil.which(EMULATOR)):
        return False
    found = [COMPILER, *CORE, LIBRARY, "-E", "-include", "string.h", "-x", "c", "/dev/null"]
    return subprocess.run(found, capture_output=True, check=False).returncode == 0


def run(*words, cwd=None):
    """Runs a command and returns what it prints."""
    command = [str(word) for word in words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=cwd).stdout


pytestmark = pytest.mark.skipif(
    not has_tools(),
    reason="needs gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-user",
)


@pytest.mark.parametrize("program", GRIDS)
def test_kernels_equal_the_references(tmp_path, program):
    root = sources.tflm_ops_dir()
    files = (
        TESTS / f"{program}.c",
        TESTS / "riscv_board.c",
        TESTS / "bytewise.c",
        *(file for file in sources.sources_for(GRIDS[program]) if file.suffix == ".c"),
    )
    includes = [f"-I{folder}" for folder in (root / "include", root / "boards", TESTS)]
    grid = ["-DFIRST_SEED=60001", "-DLAYERS=200"]
    run(COMPILER, *CORE, LIBRARY, *COMPILE, *includes, *grid, *files, cwd=tmp_path)
    objects = tmp_path.glob("*.o")
    run(COMPILER, *CORE, *LINK, *objects, "-lgcc", "-o", program, cwd=tmp_path)
    printed = run(EMULATOR, tmp_path / program)
    assert re.search(r"^(layers 200 failures 0|[0-9]{3,} layers)$", printed.strip())
