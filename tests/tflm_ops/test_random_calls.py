"""Random calls of every operator without weights, under the sanitizers of gcc and clang.

The operators with weights are called by test_random_parameters.c.
"""

import csv
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nested_keras.codegen import sources
from nested_keras.tflite import operators
from tests.nested_keras.tflite.operators.samples import programs

ROUNDS, SEED = 250, 20261122
RUNTIMES = {"gcc": "libasan.so", "clang": "libclang_rt.asan-x86_64.so"}
STATUSES = {"NK_OK", "NK_ERROR_ARGUMENT", "NK_ERROR_SHAPE", "None"}


def sample_calls():
    """Operators with inputs and an output, by the name of the sample."""
    for name, program in programs().items():
        (op,) = program.ops
        c_call = operators.registration_of(op).c_call
        if c_call is not None and "filter_dims" not in c_call.parameters(op, 4):
            tensors = (program.tensors[index] for index in (*op.inputs, *op.outputs))
            *inputs, output = (np.zeros(t.shape, t.dtype) for t in tensors)
            yield name, (op, inputs, output)


@pytest.fixture(scope="module", params=RUNTIMES)
def run(request, tmp_path_factory):
    """Runs random_calls.py with the kernels of one compiler."""
    compiler = request.param
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    folder = tmp_path_factory.mktemp(compiler)
    runtime = subprocess.run(
        [compiler, f"-print-file-name={RUNTIMES[compiler]}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip(f"{compiler} has no {RUNTIMES[compiler]}")
    root = sources.tflm_ops_dir()
    flags = ["-std=c11", "-g", "-O1", "-shared", "-fPIC", f"-I{root / 'include'}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += ["-shared-libasan"] if compiler == "clang" else []
    library, calls = folder / "libnk.so", folder / "calls.pickle"
    files = sorted((root / "src").glob("*/*.c"))
    subprocess.run([compiler, *flags, *files, "-lm", "-o", library], check=True)
    calls.write_bytes(pickle.dumps(dict(sample_calls())))
    settings = {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        # Every object has a block of its own, so the sanitizer sees its ends.
        "PYTHONMALLOC": "malloc",
    }

    def call(*arguments):
        command = [sys.executable, "-m", "tests.tflm_ops.random_calls", library, calls]
        return subprocess.run(
            [*command, *map(str, arguments)], env={**os.environ, **settings}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    return call


def test_no_call_leaves_its_buffers(run):
    done = run(ROUNDS, SEED)
    assert done.returncode == 0, done.stderr[-4000:]
    counts = {}
    for name, status, count in csv.reader(done.stdout.splitlines(), delimiter="\t"):
        assert status in STATUSES, (name, status)
        counts.setdefault(name, {})[status] = int(count)
    assert set(counts) == {name for name, _ in sample_calls()}
    for name, of in counts.items():
        # A run in which hardly anything is accepted shows nothing.
        assert of["NK_OK"] > ROUNDS / 40, name


def test_the_sanitizer_sees_a_buffer_that_is_too_short(run):
    done = run(20, SEED, 1)
    assert "heap-buffer-overflow" in done.stderr
