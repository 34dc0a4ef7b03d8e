"""Gives mutated .tflite files to the commands that read them, for a number of seconds.

    python -m tests.fuzz.fuzz_files FINDINGS --seconds 60 [--seed N]

Each file goes through `inspect`, `strip`, `run` and `codegen` as the command line calls them. A
command may end with an error of one line. Any other exception is a finding: the file is written to
FINDINGS with the command that failed, and the exit status is 1.
"""

import argparse
import contextlib
import functools
import io
import itertools
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, Phase, given, seed as with_seed, settings, strategies as st

from nested_keras.cli import application
from nested_keras.runtime import lower
from tests.nested_keras.hostile import WORDS, many_operators, mutations
from tests.nested_keras.tflite.operators.samples import samples

BATCH = 50
SECONDS_PER_FILE = 30
# What application.main() prints as one line.
ONE_LINE = (ValueError, ImportError, OSError, RuntimeError, MemoryError)


@functools.cache
def models():
    """Sound files: one of each operator, and two of many."""
    return (*samples().values(), many_operators(), many_operators(external=True))


def numbers_of(tree):
    """Yields the object and the name of each number in the object tree of a file."""
    if isinstance(tree, list):
        for item in tree:
            yield from numbers_of(item)
    for name, value in vars(tree).items() if hasattr(tree, "__dict__") else ():
        if isinstance(value, bool | int | float):
            yield tree, name
        else:
            yield from numbers_of(value)


@st.composite
def changed_fields(draw, model):
    """A file whose layout is sound, with other numbers in a few of its fields."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    places = list(numbers_of(tree))
    for _ in range(draw(st.integers(1, 3))):
        owner, name = places[draw(st.integers(0, len(places) - 1))]
        value = getattr(owner, name)
        numbers = st.sampled_from((*WORDS, -1)) | st.integers(-5, 20)
        if isinstance(value, float):
            numbers = st.floats(width=32)
        setattr(owner, name, type(value)(draw(numbers)))
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(tree.Pack(builder), b"TFL3")
    except (TypeError, OverflowError):
        return model  # the number does not fit its field
    return bytes(builder.Output())


def files():
    """Any mutation of any sound file."""
    one = st.integers(0, len(models()) - 1).map(models().__getitem__)
    return one.flatmap(lambda model: mutations(model) | changed_fields(model))


def zeros_for(model, path):
    """Writes test data of one input, if the model's input can be read."""
    shape = (1, 4, 4, 4)
    with contextlib.suppress(ValueError):
        details = lower(model)
        shape = details.tensors[details.inputs[0]].shape
    if np.prod(shape, dtype=float) < 1e5:
        np.savez(path, x_test=np.zeros((1, *shape[1:]), np.float32))


@functools.cache
def parser():
    """The parser of the command line, which takes longer to make than to use."""
    return application.parser()


def execute(words):
    """Runs a command; returns the text of its error, or None."""
    args = parser().parse_args(words)
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        try:
            with application.terminal_of(args) as args.terminal:
                args.action(args)
        except ONE_LINE as error:
            return str(error)
    return None


def try_file(model, folder):
    """Gives a file to each command; any error but one line of text raises."""
    path, data, out = folder / "model.tflite", folder / "data.npz", folder / "out"
    path.write_bytes(model)
    zeros_for(model, data)
    for words in (
        ("inspect", path),
        ("strip", path, "--levels", "1", "--out", folder / "stripped.tflite"),
        ("run", path, "--target", "reference", "--data", data),
        ("codegen", path, "--out", out),
    ):
        command = [str(word) for word in words]
        error = execute(command)
        if error is not None and (not error or "\n" in error.strip()):
            raise AssertionError(f"{command[0]}: expected an error of one line: got {error!r}")


def stop_slow_file(*_):
    """The handler of the alarm."""
    raise AssertionError(f"a file took more than {SECONDS_PER_FILE} s")


class Search:
    """Draws files until the time is over; keeps the last file that failed, the smallest."""

    def __init__(self, seconds, folder):
        self.end = time.monotonic() + seconds
        self.folder = folder
        self.count = 0
        self.failed = None

    def try_one(self, model):
        """Tries a file; remembers the file if it fails."""
        self.count += 1
        signal.alarm(SECONDS_PER_FILE)
        try:
            try_file(model, self.folder)
        except BaseException:
            self.failed = model
            raise
        finally:
            signal.alarm(0)

    def run_batch(self, number):
        """Tries BATCH files that depend on a seed."""

        @with_seed(number)
        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            derandomize=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(files())
        def batch(model):
            if self.failed is not None or time.monotonic() < self.end:
                self.try_one(model)

        batch()


def main(argv=None):
    """Runs the fuzzer; returns its exit status."""
    flags = argparse.ArgumentParser()
    flags.add_argument("findings", type=Path)
    flags.add_argument("--seconds", type=float, default=60)
    flags.add_argument("--seed", type=int, default=20261122)
    args = flags.parse_args(argv)
    signal.signal(signal.SIGALRM, stop_slow_file)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(args.seconds, Path(folder))
        try:
            for number in itertools.count(args.seed):
                if time.monotonic() >= search.end:
                    break
                search.run_batch(number)
        except BaseException:
            if search.failed is None:
                raise
            args.findings.mkdir(parents=True, exist_ok=True)
            (args.findings / f"files-{number}.tflite").write_bytes(search.failed)
            (args.findings / f"files-{number}.txt").write_text(traceback.format_exc())
            traceback.print_exc()
            return 1
    sys.stdout.write(f"{search.count} files, 0 findings\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
