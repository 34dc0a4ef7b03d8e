import fcntl
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tflm_ops.library import Library

ROOT = Path(__file__).parents[1]

# Reproducible everywhere, and no time limit per example: the machine may be busy. A failure prints
# the line that repeats it.
settings.register_profile("exact", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("exact")


@pytest.fixture(scope="session")
def nk():
    """The kernels, built as a shared library for this computer."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    # Test processes that run side by side must not build in the same folder at once.
    with (build / "host.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["cmake", "--preset", "host"], ["cmake", "--build", "--preset", "host"]):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return Library(build / "host" / "libnk.so")
