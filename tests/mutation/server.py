"""Runs the Python tests of the kernels again and again without importing anything again.

    python -m tests.mutation.server LIBRARY TEST...

For each line on standard input, which names tests, the process forks, and the child runs these
tests on LIBRARY as it is now. The exit status is printed on a line. score.py starts this program
with the runtime of the address sanitizer.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

SECONDS = 300
# What is imported already is not rewritten.
FLAGS = ("-q", "-x", "-p", "no:cacheprovider", "--assert=plain")


def run_tests(tests):
    """Runs the tests in a child process; returns its status."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        status = 1
        # Ends a kernel that does not end.
        signal.alarm(SECONDS)
        try:
            status = int(pytest.main([*FLAGS, *tests]))
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def main(library, *tests):
    os.environ["NK_LIBRARY"] = library
    for index, test in enumerate(tests):
        # What the tests import is there before the fork.
        spec = importlib.util.spec_from_file_location(f"preload{index}_{Path(test).stem}", test)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for line in sys.stdin:
        sys.stdout.write(f"{run_tests(line.split())}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
