import fcntl
import gc
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from nested_keras.devices.toolchain import Toolchain
from tests import zoo
from tests.tflm_ops.library import Library

ROOT = Path(__file__).parents[1]

# Reproducible everywhere, and no time limit per example: the machine may be busy. A failure prints
# the line that repeats it.
settings.register_profile("exact", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("exact")

# The files that take longest. They come first: one that came last would leave the other processes
# of `pytest -n` without work.
LONG = (
    "properties/test_random_models.py",
    "documents/test_documents.py",
    "test_notebooks.py",
    "nested_keras/test_runs.py",
    "nested_keras/callbacks/test_pruning.py",
    "benchmarks/accuracy/test_methods.py",
    "nested_keras/nesting/test_fitting.py",
    "nested_keras/applications/test_applications.py",
    "test_runtimes_agree.py",
    "nested_keras/cli/test_train_command.py",
    "nested_keras/bench/test_budget.py",
    "nested_keras/test_demo.py",
    "benchmarks/accuracy/test_runs.py",
    "nested_keras/export/test_aware.py",
    "tflm_ops/test_sources.py",
)


def pytest_collection_modifyitems(items):
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish():
    """What is imported by now stays: the collector need not look through it again and again.

    Graphs of TensorFlow are many small objects that live long. With Python's own thresholds, a
    tenth of the time goes into looking for garbage among them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def nk():
    """The kernels, built as a shared library for this computer; or those of NK_LIBRARY."""
    if "NK_LIBRARY" in os.environ:  # tests/mutation
        return Library(Path(os.environ["NK_LIBRARY"]))
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    # Test processes that run side by side must not build in the same folder at once.
    with (build / "host.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["cmake", "--preset", "host"], ["cmake", "--build", "--preset", "host"]):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return Library(build / "host" / "libnk.so")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder for what the tests of a session make once, in however many processes they run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def object_cache(shared_folder):
    """Compiled kernels. Whatever folder a test compiles into, each object is compiled only once."""
    compile_ = Toolchain.compile

    def compile_once(self, source, *, cache_dir, **kwargs):
        cache_dir.mkdir(parents=True, exist_ok=True)
        made = compile_(self, source, cache_dir=folder, **kwargs)
        return Path(shutil.copy(made, cache_dir)) if cache_dir != folder else made

    folder = shared_folder / "objects"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toolchain, "compile", compile_once)
        yield folder


@pytest.fixture(scope="session", autouse=True)
def kept_zoo(shared_folder):
    """The models of the zoo, each exported only once."""
    zoo.kept_in = shared_folder / "zoo"
    zoo.kept_in.mkdir(exist_ok=True)
