"""The mutation score of the C kernels and the format: the share of mutants that a test kills.

    python -m tests.mutation.score FOLDER [--count 300] [--seed 20261122] [PATH_PART...]

Each mutant is one changed line of tflm_ops/src (mutants.py). It is compiled under the sanitizers.
The C tests and the Python tests of the kernels run on it, for src/cortex_m also a grid on the
emulated Cortex-M7. A mutant is killed if it does not compile, if a test fails, or if a test takes
TIMEOUT seconds. FOLDER gets survivors.txt and the results so far, so that a run that was stopped
goes on. PATH_PART chooses files.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nested_keras.codegen import sources
from nested_keras.codegen.firmware_errors import BuildError, DeviceError
from nested_keras.devices import qemu
from nested_keras.devices.toolchain import cortex_m7_toolchain
from tests.mutation.mutants import mutants_of, sample

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tflm_ops"
TESTS = ROOT / "tests" / "tflm_ops"
TIMEOUT = 60
BOARD = "mps2_an500"
FLAGS = ("-std=c11", "-O1", "-g1", "-fPIC", "-fsanitize=address,undefined")
STRICT = ("-fno-sanitize-recover=all", "-DFIRST_SEED=40001", "-DLAYERS=200", "-w")
# C programs with their arguments; {cases} stands for the files of make_cases.py.
PROGRAMS = {
    "test_refusals": (),
    "test_cases": ("{cases}",),
    "test_ops_grid": (),
    "test_depthwise_grid": (),
    "nested_grid": (),
    "test_detection_grid": (),
    "test_random_parameters": ("2000", "20261122"),
    "test_stream_mutations": ("6000", "20261122", "{cases}"),
}
WITH_CASES = ("test_cases", "test_stream_mutations")
# Python tests by a part of the path; the C tests know the rest better.
PYTEST = {
    "src/stream/": ("test_stream.py", "test_nested_conv.py"),
    "src/detection/": ("test_detection.py",),
    "src/ops/": ("test_every_operator.py", "test_ops.py", "test_dense.py"),
    "src/ref/": ("test_every_operator.py", "test_ops.py", "test_dense.py"),
    "src/portable/": ("test_nested_conv.py", "test_dense.py"),
    "src/cortex_m/": ("test_depthwise_dsp.py",),
}
# Programs for the emulated Cortex-M7, with the functions that they call.
ON_THE_M7 = {
    "nested_grid.c": ("nk_nested_conv_s8",),
    "test_depthwise_grid.c": (
        *("nk_depthwise_conv2d_s8_ref", "nk_depthwise_conv2d_s8_dsp"),
        *("nk_depthwise_conv2d_s8_portable", "nk_dims4_size"),
    ),
}
SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=4",
    "PYTHONMALLOC": "malloc",
}


def run(command, **settings):
    """Runs a command; returns its exit status, and 1 where the time is over."""
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=TIMEOUT,
            env={**os.environ, **SANITIZER, **settings},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1
    return done.returncode


class Build:
    """The kernels in a folder of their own, as a shared library, with the test programs."""

    def __init__(self, folder):
        self.folder = folder
        self.tree = folder / "tflm_ops"
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(SOURCES, self.tree)
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        self.library = folder / "libnk.so"

    def compile(self, path):
        """Compiles one source; returns whether that works."""
        include = f"-I{self.tree / 'include'}"
        return not run(
            ["gcc", *FLAGS, *STRICT, include, "-c", self.tree / path, "-o", self.object_of(path)]
        )

    def object_of(self, path):
        return self.folder / "objects" / f"{Path(path).stem}.o"

    def link(self):
        """Links the library."""
        objects = sorted((self.folder / "objects").glob("*.o"))
        return not run(["gcc", *FLAGS, "-shared", *objects, "-lm", "-o", self.library])

    def make_all(self):
        """Builds library, programs and cases."""
        for path in sorted(self.tree.glob("src/*/*.c")):
            assert self.compile(path.relative_to(self.tree)), path
        assert self.link()
        for name in PROGRAMS:
            more = ["nested_case.c"] if name in WITH_CASES else []
            more += ["host_board.c"] if name.endswith("_grid") else []
            command = [
                *("gcc", *FLAGS, *STRICT, f"-I{self.tree / 'include'}", f"-I{SOURCES / 'boards'}"),
                *(TESTS / file for file in (f"{name}.c", *more)),
                *(f"-L{self.folder}", "-lnk", "-lm", "-o", self.folder / name),
            ]
            assert not run(command), name
        assert not run([sys.executable, "-m", "tests.tflm_ops.make_cases", self.folder / "cases"])

    def fails_on_the_m7(self, program, entries):
        """Whether a program, which calls the entries, fails on the emulated Cortex-M7."""
        toolchain = cortex_m7_toolchain()
        board = sources.board_dir(BOARD)
        kernels = [
            self.tree / path.relative_to(sources.tflm_ops_dir())
            for path in sources.sources_for(entries)
        ]
        elf = self.folder / "grid.elf"
        try:
            objects = [
                toolchain.compile(
                    file,
                    include_dirs=(self.tree / "include", board.parent, TESTS),
                    cache_dir=self.folder / "m7",
                    extra_flags=("-DFIRST_SEED=1", "-DLAYERS=300", "-w"),
                )
                for file in (TESTS / program, *sources.board_sources(BOARD), *kernels)
            ]
            toolchain.link(objects, elf, flags=(f"-T{board / BOARD}.ld",))
            qemu.run(elf, timeout_s=TIMEOUT)
        except (BuildError, DeviceError):
            return True
        return False

    def killer(self, mutated=""):
        """The name of the first test that fails; None where all pass that concern a path."""
        cases = sorted((self.folder / "cases").glob("*.case"))
        for name, arguments in PROGRAMS.items():
            words = [w for word in arguments for w in (cases if word == "{cases}" else [word])]
            if run([self.folder / name, *words], LD_LIBRARY_PATH=str(self.folder)):
                return name
        for program, entries in ON_THE_M7.items():
            if "cortex_m" in mutated and self.fails_on_the_m7(program, entries):
                return f"{program} on the M7"
        tests = {test for part, names in PYTEST.items() for test in names if part in mutated}
        return "pytest" if tests and self.python_tests_fail(sorted(tests)) else None

    def start_server(self):
        """Starts the process that runs the Python tests."""
        runtime = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        tests = sorted({str(TESTS / name) for names in PYTEST.values() for name in names})
        command = [sys.executable, "-m", "tests.mutation.server", str(self.library), *tests]
        self.server = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env={**os.environ, **SANITIZER, "LD_PRELOAD": runtime},
        )  # fmt: skip

    def python_tests_fail(self, tests):
        """Whether a Python test fails. The alarm of the server ends a test that hangs."""
        self.server.stdin.write(" ".join(str(TESTS / test) for test in tests) + "\n")
        self.server.stdin.flush()
        return self.server.stdout.readline() != "0\n"


def try_mutant(build, mutant):
    """Returns the name of the test that kills a mutant, or None."""
    path = build.tree / mutant.path
    text = path.read_text()
    lines = text.splitlines()
    lines[mutant.line] = mutant.text
    path.write_text("\n".join(lines) + "\n")
    # A header is part of every source.
    users = [mutant.path]
    if path.suffix == ".h":
        users = [str(p.relative_to(build.tree)) for p in sorted(build.tree.glob("src/*/*.c"))]
    try:
        if not all(build.compile(user) for user in users) or not build.link():
            return "compiler"
        return build.killer(mutant.path)
    finally:
        path.write_text(text)
        for user in users:
            build.compile(user)


def main(argv=None):
    """Tries the sample; returns 0."""
    flags = argparse.ArgumentParser()
    flags.add_argument("folder", type=Path)
    flags.add_argument("parts", nargs="*", metavar="PATH_PART")
    flags.add_argument("--count", type=int, default=300)
    flags.add_argument("--seed", type=int, default=20261122)
    args = flags.parse_intermixed_args(argv)
    paths = sorted(p.relative_to(SOURCES).as_posix() for p in SOURCES.glob("src/*/*.[ch]"))
    chosen = [p for p in paths if not args.parts or any(part in p for part in args.parts)]
    everything = [m for p in chosen for m in mutants_of(p, (SOURCES / p).read_text())]
    kept = args.folder / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    build = Build(args.folder)
    build.make_all()
    build.start_server()
    for part in (part for part in PYTEST if any(part in path for path in chosen)):
        killer = build.killer(part)
        assert killer is None, f"the tests must pass before a mutation: {killer} fails"
    for mutant in sample(everything, args.count, args.seed):
        name = f"{mutant.path}:{mutant.line + 1}:{mutant.text}"
        if name not in results:
            results[name] = try_mutant(build, mutant)
            kept.write_text(json.dumps(results, indent=1))
            survivors = [each for each, killer in results.items() if killer is None]
            (args.folder / "survivors.txt").write_text("\n".join(survivors) + "\n")
            killed = len(results) - len(survivors)
            sys.stdout.write(
                f"{killed} of {len(results)} killed, of {len(everything)} mutants: "
                f"{results[name] or 'SURVIVOR'}: {name}\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
