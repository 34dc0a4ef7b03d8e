"""Checks tflm_ops/src against MISRA C:2012 with cppcheck's addon: `make misra`.

A rule that is broken must stand in the table of tflm_ops/MISRA.md with the reason, and a rule in
the table must be broken. The configuration is the portable one, without assembly.
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tflm_ops" / "MISRA.md"


def findings() -> str:
    """Returns what cppcheck prints, one finding a line."""
    sources = sorted((ROOT / "tflm_ops" / "src").glob("*/*.c"))
    command = [
        *("cppcheck", "--std=c11", "--addon=misra", "-DNK_USE_DSP=0", "--quiet"),
        "-DINT_MAX=2147483647",  # cppcheck reads no header of the system
        *("--suppress=missingIncludeSystem", "--suppress=unusedStructMember"),
        *("--template={file}:{line}: {id}: {message}", f"-I{ROOT / 'tflm_ops' / 'include'}"),
    ]
    done = subprocess.run([*command, *sources], capture_output=True, text=True, check=True)
    return done.stderr


def main() -> int:
    """Prints what is not argued; returns the exit status."""
    argued = set(re.findall(r"^\| (\d+\.\d+) \|", TABLE.read_text(), re.MULTILINE))
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for line in findings().splitlines():
        rule = re.search(r": misra-c2012-(\d+\.\d+): ", line)
        counts[rule[1] if rule else line] += 1
        if rule is None or rule[1] not in argued:
            wrong.append(line)
    wrong += [f"{TABLE.name}: no line breaks rule {rule} any more" for rule in argued - set(counts)]
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    kinds = f"{sum(counts.values())} lines, {len(counts)} rules"
    sys.stdout.write(f"{kinds}, {len(wrong)} not argued\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
