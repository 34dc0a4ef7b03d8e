"""The branches of the C runtime that its tests take: `make coverage` writes docs/coverage.md.

    python -m tests.coverage.branches FOLDER [--out docs/coverage.md]

FOLDER is the build folder of the preset `coverage`, in which the C tests have run. The Python tests
of the kernels run here, on the same library. A branch that no test takes fails, unless
exclusions.txt argues why none can: a path, the code of the line, and the reason.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tflm_ops"
# Stand-ins for headers of TFLite Micro.
STAND_INS = SOURCES / "tflm" / "abi"
TESTS = (
    *("test_every_operator.py", "test_ops.py", "test_dense.py", "test_nested_conv.py"),
    *("test_stream.py", "test_detection.py", "test_depthwise_dsp.py"),
)
EXCLUSIONS = Path(__file__).parent / "exclusions.txt"
INTRODUCTION = """\
# Coverage of the C runtime

`make coverage` writes this table. It counts branches: each condition must be true in one test and
false in another. The code runs on a PC. The grids of `tests/tflm_ops` run the code that is for the
Cortex-M7 alone in QEMU, and the table does not count that code.

"""


@dataclass
class File:
    """The branches of a file: how many there are, and those that no test takes.

    Attributes:
        count: Number of branches.
        missed: Line and outcome (True or False) of each branch that no test takes.
    """

    count: int = 0
    missed: list[tuple[int, bool]] = field(default_factory=list)


def run_python_tests(folder):
    """Runs the tests of tests/tflm_ops on the library in the folder."""
    settings = {
        "NK_LIBRARY": str(folder / "libnk.so"),
        "LLVM_PROFILE_FILE": str(folder / "raw" / "%m.profraw"),
    }
    tests = [ROOT / "tests" / "tflm_ops" / name for name in TESTS]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests],
        env={**os.environ, **settings}, cwd=ROOT, check=True,
    )  # fmt: skip


def export(folder):
    """What llvm-cov knows of the library and of the programs that are linked to the adapter."""
    profile = folder / "all.profdata"
    raw = sorted((folder / "raw").glob("*.profraw"))
    subprocess.run(["llvm-profdata", "merge", "-o", profile, *raw], check=True)
    programs = sorted((folder / "tests" / "tflm_ops").glob("test_*"))
    objects = [f"-object={path}" for path in programs if path.is_file()]
    done = subprocess.run(
        ["llvm-cov", "export", folder / "libnk.so", *objects, f"-instr-profile={profile}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return json.loads(done.stdout)["data"][0]


def branches_of(exported):
    """The branches of each file of tflm_ops, by path.

    A header is compiled into many sources, so a branch counts as taken where one of them takes it.
    """
    taken = {}
    for function in exported["functions"]:
        for branch in function["branches"]:
            path = Path(function["filenames"][branch[6]])
            if path.is_relative_to(SOURCES) and not path.is_relative_to(STAND_INS):
                place = (path.relative_to(ROOT).as_posix(), *branch[:4])
                for outcome, count in ((True, branch[4]), (False, branch[5])):
                    taken[place, outcome] = taken.get((place, outcome), 0) + count
    files = {}
    for (place, outcome), count in sorted(taken.items()):
        file = files.setdefault(place[0], File())
        file.count += 1
        if count == 0:
            file.missed.append((place[1], outcome))
    return files


def exclusions():
    """Path and code of each excluded line, with the reason."""
    lines = [line for line in EXCLUSIONS.read_text().splitlines() if line and line[0] != "#"]
    return {
        (path, code): reason
        for path, code, reason in (map(str.strip, line.split(" | ", 2)) for line in lines)
    }


def report(files):
    """The table, and the lines that no test takes and no exclusion names."""
    argued = exclusions()
    unused = dict(argued)
    rows, open_lines = [], []
    for path, file in files.items():
        lines = (ROOT / path).read_text().splitlines()
        excluded = 0
        for line, outcome in file.missed:
            key = path, lines[line - 1].strip()
            unused.pop(key, None)
            excluded += key in argued
            if key not in argued:
                open_lines.append(f"{path}:{line}: never {outcome}: {key[1]}")
        taken = file.count - len(file.missed)
        rows.append(f"| `{path}` | {file.count} | {taken} | {excluded} |")
    open_lines += [f"{path}: exclusions.txt names a line in vain: {code}" for path, code in unused]
    total = sum(file.count for file in files.values())
    missed = sum(len(file.missed) for file in files.values())
    share = f"{100 * (total - missed) / total:.1f} %"
    text = f"{total - missed:,} of {total:,} branches are taken ({share}); "
    text += "`make coverage` names" if open_lines else "the page argues"
    text += f" the other {missed}.\n\n" if missed else " none.\n\n"
    text += "| file | branches | taken | argued |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    if argued:
        text += "\n## Branches that no test can take\n\n"
        text += "".join(f"- `{path}`: `{code}`: {why}\n" for (path, code), why in argued.items())
    return INTRODUCTION + text, open_lines


def main(argv=None):
    """Writes the table; returns 1 where a branch is neither taken nor argued."""
    flags = argparse.ArgumentParser()
    flags.add_argument("folder", type=Path)
    flags.add_argument("--out", type=Path, default=ROOT / "docs" / "coverage.md")
    args = flags.parse_args(argv)
    folder = args.folder.resolve()
    run_python_tests(folder)
    text, open_lines = report(branches_of(export(folder)))
    args.out.write_text(text)
    sys.stderr.write("".join(f"{line}\n" for line in open_lines))
    return 1 if open_lines else 0


if __name__ == "__main__":
    sys.exit(main())
