"""CODED levels and packed tables on the emulated Cortex-M7, against the NumPy reference.

A part of a layer has few channels, so that most layers have several parts.
test_cases.c runs the same layers on this computer.
"""

from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.format import Encoding, Tables
from tests.tflm_ops import coded_cases, grid_firmware
from tests.tflm_ops.grid_firmware import ALIGNMENT, NO_UNALIGNED_ACCESS
from tests.tflm_ops.make_cases import HEADER_BYTES, packed_case

pytestmark = pytest.mark.arm

HERE = Path(__file__).parent


def aligned_case(layer, x, outputs):
    """A case whose content is aligned, as coded_grid.c reads it."""
    case = packed_case(layer, x, outputs)
    parts = (case[:HEADER_BYTES], case[HEADER_BYTES:])
    return b"".join(part.ljust(-(-len(part) // ALIGNMENT) * ALIGNMENT, b"\0") for part in parts)


@pytest.fixture(scope="module")
def cases():
    return [*coded_cases.grid()]


def test_the_grid_has_every_form_and_pair_of_neighbours(cases):
    levels = [level for layer, _, _ in cases for level in layer.levels]
    assert {level.encoding for level in levels} == set(Encoding)
    assert {level.tables for level in levels} == set(Tables)
    pairs = {
        (first.encoding is Encoding.CODED, second.encoding is Encoding.CODED)
        for layer, _, _ in cases
        for first, second in zip(layer.levels, layer.levels[1:], strict=False)
    }
    assert len(pairs) == 4


@pytest.mark.parametrize(
    "flags",
    [(), ("-DNK_PART_BYTES=64",), NO_UNALIGNED_ACCESS, ("-DNK_USE_DSP=0",)],
    ids=["usual", "small parts", "no unaligned access", "plain C"],
)
def test_cortex_m7_equals_the_reference(cases, flags, tmp_path):
    content = b"".join(aligned_case(*case) for case in cases)
    functions = sources.functions_used(HERE / "coded_grid.c")
    told = grid_firmware.run("coded_grid.c", content, functions, flags=flags, folder=tmp_path)
    assert told == f"{len(cases)} cases, 0 failures\n"
