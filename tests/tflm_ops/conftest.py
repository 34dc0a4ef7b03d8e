import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.tflm_ops.library import Library

ROOT = Path(__file__).parents[2]


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
