"""Count the machine code of a generated library, linked as in a firmware that runs the model."""

from __future__ import annotations

import os
from pathlib import Path

from nested_keras.bench.core import M7, Core
from nested_keras.codegen.library import GeneratedLibrary
from nested_keras.devices.toolchain import run_tool


def code_bytes(library: GeneratedLibrary, work_dir: Path, core: Core = M7) -> int:
    """Links the library's functions alone, for a core, and leaves unused sections out.

    Args:
        library: The generated library.
        work_dir: Receives the objects and the linked file.
        core: The core.

    Returns:
        Bytes of code and small tables, with the used parts of the C library, without the model's
        constants.

    Raises:
        ToolchainError: The cross compiler is missing.
        BuildError: The compiler refused a source.
    """
    toolchain = core.toolchain()
    linked = work_dir / "code_size.elf"
    entries = (f"-Wl,-e,{library.name}_invoke", f"-Wl,-u,{library.name}_check")
    toolchain.link(library.compile(toolchain, work_dir), linked, flags=entries)
    listing = run_tool(["arm-none-eabi-size", os.fspath(linked)])
    return int(listing.splitlines()[1].split()[0]) - library.data_bytes
