"""Code and stack of the kernels do not grow unseen: the committed record against a measurement.

Another version of the compiler makes other code, so the bounds are then wider.
"""

import json

import pytest

from benchmarks import footprint

pytestmark = pytest.mark.arm

RECORD = json.loads(footprint.RECORD.read_text())
# Factor and bytes by which a source may exceed the record: with its compiler, and with another.
SAME, OTHER = {"code": (1.03, 32), "stack": (1.0, 16)}, {"code": (1.2, 200), "stack": (1.25, 64)}


@pytest.fixture(scope="module")
def measured():
    return footprint.measure()


def test_the_record_names_every_source(measured):
    assert set(RECORD["sources"]) == set(measured)


@pytest.mark.parametrize("kind", ["code", "stack"])
def test_no_source_grows_unseen(measured, kind):
    same = footprint.compiler() == RECORD["compiler"]
    factor, more = (SAME if same else OTHER)[kind]
    grown = {
        name: (committed[kind], measured[name][kind])
        for name, committed in RECORD["sources"].items()
        if measured[name][kind] > committed[kind] * factor + more
    }
    assert grown == {}, "if this is meant: python -m benchmarks.footprint"


def test_the_stack_of_every_function_is_bounded():
    # docs/firmware.md has the stack of a whole call, of which one frame is the largest part.
    assert max(each["stack"] for each in RECORD["sources"].values()) < 2000
