"""Code and stack of each source of the runtime on a Cortex-M7: `python -m benchmarks.footprint`.

Writes benchmarks/footprint.json: bytes of code and constants, and the largest frame of any function
of the source on the stack, as the compiler reports it (-fstack-usage). models.json has code and
arena of whole models.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path

from nested_keras import files
from nested_keras.codegen import sources
from nested_keras.devices.toolchain import cortex_m7_toolchain, run_tool

RECORD = Path(__file__).parent / "footprint.json"


def compiler() -> str:
    """Returns name and version of the compiler."""
    return run_tool([cortex_m7_toolchain().compiler, "--version"]).splitlines()[0]


def measure() -> dict[str, dict[str, int]]:
    """Returns `code` and `stack` in bytes of each source, by its name."""
    toolchain = cortex_m7_toolchain()
    include = sources.tflm_ops_dir() / "include"
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((sources.tflm_ops_dir() / "src").glob("*/*.c")):
            made = Path(folder) / f"{source.stem}.o"
            flags = (*toolchain.flags, "-fstack-usage", f"-I{include}", "-c", str(source))
            run_tool([toolchain.compiler, *flags, "-o", str(made)])
            text, data = run_tool(["arm-none-eabi-size", str(made)]).splitlines()[1].split()[:2]
            frames = re.findall(r"\t(\d+)\t", made.with_suffix(".su").read_text())
            measured[source.name] = {
                "code": int(text) + int(data),
                "stack": max(map(int, frames), default=0),
            }
    return measured


def main() -> None:
    """Writes the record."""
    record = {"compiler": compiler(), "sources": measure()}
    files.write_text(RECORD, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help; no flags
    main()
