"""Two runs at once with one cache: each gets its own model, and the cache stays sound."""

import subprocess
import sys

import numpy as np
import pytest

from nested_keras.codegen.firmware_errors import BuildError
from nested_keras.devices import toolchain
from nested_keras.firmware import HostModel
from tests.nested_keras.codegen.programs import expected, nested_net, random_inputs

pytestmark = pytest.mark.slow

# One run: builds models of seeds FIRST.. with the cache, for this PC and for the device.
RUN = """\
import sys
from pathlib import Path
import numpy as np
from nested_keras.firmware import HostModel, build_firmware
from tests.nested_keras.codegen.programs import expected, nested_net, random_inputs

cache, first, own = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
sys.stdin.readline()
for seed in range(first, first + 4):
    program = nested_net(seed=seed % 3)
    inputs = random_inputs(program, 2)
    model = HostModel(program, cache_dir=cache)
    for level in range(program.levels):
        found = model.run(inputs[0], level=level)
        np.testing.assert_array_equal(found, expected(program, inputs, level)[0])
for seed in range(first, first + 2):
    program = nested_net(seed=seed % 3)
    build_firmware(program, random_inputs(program, 1), own, cache_dir=cache)
print("sound")
"""


def both(folder):
    """Starts two runs, and lets them go at the same moment."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, folder / "cache", str(first), folder / f"own{first}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for first in (0, 1)
    ]  # fmt: skip
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    return [(*run.communicate(timeout=600), run.returncode) for run in runs]


@pytest.mark.arm
def test_two_runs_share_a_cache(tmp_path):
    for out, err, status in both(tmp_path):
        assert (out, status) == ("sound\n", 0), err
    # Nothing half written is left, and what is there serves a third run.
    left = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert left
    assert all(name.endswith(".o") and not name.startswith(".") for name in left)
    program = nested_net(seed=2)
    (x, *_) = inputs = random_inputs(program, 2)
    model = HostModel(program, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(model.run(x, level=0), expected(program, inputs, 0)[0])
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == left


def test_a_source_that_changes_while_it_is_compiled_does_not_get_into_the_cache(
    tmp_path, monkeypatch, object_cache
):
    source = tmp_path / "changing.c"
    source.write_text("int one(void) { return 1; }\n")
    run_tool = toolchain.run_tool

    def another_run_writes(command):
        source.write_text("int one(void) { return 2; }\n")
        return run_tool(command)

    monkeypatch.setattr(toolchain, "run_tool", another_run_writes)
    host = toolchain.Toolchain("cc", (), ())
    with pytest.raises(BuildError, match="changed while it was compiled"):
        host.compile(source, include_dirs=(), cache_dir=object_cache)
    assert not list(object_cache.glob("*changing*"))
