"""A process that runs for weeks: its memory stays where it was after the first minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.large

# The allocator of the C library takes and keeps some hundred KB. A forgotten interpreter
# takes 5 KB and more, 7 MB in all; 70 bytes that each invocation forgets are seen as well.
ROOM = 1 << 20


@pytest.mark.parametrize(
    ("runner", "what", "count"),
    [
        ("litert", "invocations", 20_000),
        ("host", "invocations", 20_000),
        ("litert", "interpreters", 2_000),
    ],
)
def test_the_memory_stays_flat(runner, what, count):
    # A process of its own: the capture of pytest takes memory, too.
    done = subprocess.run(
        [sys.executable, "-m", "tests.long_life", runner, what, str(count)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < ROOM
