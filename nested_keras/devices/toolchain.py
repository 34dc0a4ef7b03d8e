"""Compilers as Python objects: find the program, compile with a cache, link.

An object is cached by the hash of all its sources and flags, so that the kernels are compiled once
for many models.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nested_keras import files
from nested_keras.codegen.firmware_errors import BuildError, ToolchainError
from nested_keras.devices import process

_WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
_CORTEX_M7 = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
_INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "c++": "g++",
    "cc": "gcc",
}


def find_tool(name: str) -> str:
    """Path of a program.

    Args:
        name: A program on PATH.

    Raises:
        ToolchainError: The program is not there.
    """
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES.get(name, name)
        raise ToolchainError(
            f"{name} was not found on PATH; on Debian install it with: apt install {package}"
        )
    return path


def run_tool(command: Sequence[str]) -> str:
    """Runs a build tool to its end.

    Args:
        command: The program's name (looked up on PATH) or path, and its arguments.

    Returns:
        The text that the program printed on standard output.

    Raises:
        ToolchainError: The program is missing.
        BuildError: The program failed.
    """
    program = find_tool(command[0])
    done = process.run([program, *command[1:]])
    if done.returncode != 0:
        shown = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise BuildError(f"{command[0]} failed with exit status {done.returncode}:\n{shown}")
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Toolchain:
    """A C compiler with its flags.

    Attributes:
        compiler: Program name.
        flags: For compiling and linking.
        link_flags: For linking alone.
    """

    compiler: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]

    def compile(
        self,
        source: Path,
        *,
        include_dirs: Sequence[Path],
        cache_dir: Path,
        extra_flags: Sequence[str] = (),
        first_include: Path | None = None,
    ) -> Path:
        """Compiles one file, or finds the object of an earlier equal compilation.

        Args:
            source: A .c or .S file.
            include_dirs: Where `#include "..."` looks, after the folder of the file. The headers
                that are found so are part of the cache key.
            cache_dir: Where objects are kept; made when absent.
            extra_flags: Flags for this file alone.
            first_include: A header to include ahead of the file's text.

        Returns:
            The object file.

        Raises:
            ToolchainError: The compiler is missing.
            BuildError: The compiler refused the file, or another run replaced the file meanwhile.
        """
        find_tool(self.compiler)
        flags = (*self.flags, *extra_flags)
        first = () if first_include is None else (first_include,)
        key = repr((self.compiler, flags, len(first), source.suffix))
        digest = _digest(key, (*first, source), include_dirs)
        target = cache_dir / f"{source.stem}-{digest}.o"
        if target.exists():
            return target
        cache_dir.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{folder}" for folder in include_dirs]
        includes += [part for path in first for part in ("-include", os.fspath(path))]
        # Another process may build the same object.
        with files.replacing(target) as made:
            run_tool(
                [self.compiler, *flags, *includes, "-c", os.fspath(source), "-o", os.fspath(made)]
            )
            # The object of another text must not get into the cache.
            if _digest(key, (*first, source), include_dirs) != digest:
                raise BuildError(
                    f"{source} changed while it was compiled: two runs must not write to one folder"
                )
        return target

    def link(self, objects: Sequence[Path], output: Path, *, flags: Sequence[str] = ()) -> None:
        """Links objects to an executable or a shared library, which is written whole or not at all.

        Raises:
            ToolchainError: The compiler is missing.
            BuildError: The linker refused, for example because the program does not fit the memory.
        """
        inputs = [os.fspath(path) for path in objects]
        command = [self.compiler, *self.flags, *inputs, *self.link_flags, *flags]
        with files.replacing(output) as made:
            run_tool([*command, "-o", os.fspath(made)])


def _digest(key: str, starts: Sequence[Path], include_dirs: Sequence[Path]) -> str:
    """The cache key of an object: of its flags, its sources and their headers."""
    digest = hashlib.sha256(key.encode())
    for path in _with_headers(starts, include_dirs):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _with_headers(starts: Sequence[Path], include_dirs: Sequence[Path]) -> list[Path]:
    """Files and the headers included by `#include "..."`, directly or not, in order."""
    found = list(starts)
    for file in found:  # which grows
        for name in _INCLUDE.findall(file.read_bytes()):
            places = (folder / os.fsdecode(name) for folder in (file.parent, *include_dirs))
            path = next((place.resolve() for place in places if place.is_file()), None)
            if path is not None and path not in found:
                found.append(path)
    return found


def host_toolchain() -> Toolchain:
    """The machine's own C compiler, building shared libraries."""
    flags = ("-std=c11", "-O2", "-fPIC", *_WARNINGS)
    return Toolchain("cc", flags, ("-shared", "-lm"))


def cortex_m7_toolchain() -> Toolchain:
    """The cross compiler for the Cortex-M7 with double-precision FPU.

    Raises:
        ToolchainError: The compiler is there but its C library is not.
    """
    return arm_toolchain(_CORTEX_M7)


def arm_toolchain(core: Sequence[str]) -> Toolchain:
    """The cross compiler for a Cortex-M.

    Args:
        core: The flags that name the core, such as -mcpu=cortex-m7.

    Raises:
        ToolchainError: The compiler is there but its C library is not.
    """
    compiler = "arm-none-eabi-gcc"
    find_tool(compiler)
    # gcc prints the bare name back when gcc has no such file.
    if not Path(run_tool([compiler, *core, "-print-file-name=libc.a"]).strip()).is_absolute():
        raise ToolchainError(
            f"{compiler} has no C library (libc.a); on Debian install it with: "
            "apt install libnewlib-arm-none-eabi"
        )
    flags = ("-std=c11", "-O2", "-ffunction-sections", "-fdata-sections", *core, *_WARNINGS)
    return Toolchain(compiler, flags, ("-nostartfiles", "-Wl,--gc-sections", "-lm"))
