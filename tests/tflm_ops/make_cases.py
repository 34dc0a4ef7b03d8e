"""Writes the streams that the C tests read (layout: nested_case.h): make_cases.py FOLDER.

The few in golden/, for builds without Python, are written by make_cases.py FOLDER --golden.
"""

import struct
import sys
from pathlib import Path

from nested_keras.format import Stream, encode
from nested_keras.tflite import operators
from tests.nested_keras.format.streams import PROFILES, encode_packed
from tests.tflm_ops import coded_cases
from tests.tflm_ops.cases import CASES, PADDED, stream_and_input

GOLDEN = (
    *("3x3", "1x1 stride 2", "dilation 2", "batch 3", "block 2", "block 4 of 12", "narrow clamp"),
    *("depthwise multiplier 3", "depthwise 5x5 dilation 2", "row", "row block 4"),
)
# Those that are there a second time, with CODED weights and packed tables.
GOLDEN_CODED = ("3x3", "dilation 2", "block 2", "depthwise multiplier 3", "row block 4")
HEADER = struct.Struct("<9i")
HEADER_BYTES = HEADER.size


def packed_case(layer, x, outputs):
    """One layer: dimensions, stream, input, and the expected output of every level."""
    size = (*x.shape[1:3], *outputs[0].shape[1:3]) if x.ndim == 4 else (1, 1, 1, 1)
    header = (x.shape[0], *size, len(outputs), len(layer.data), x.size, outputs[0].size)
    arrays = (x.tobytes(), *(y.tobytes() for y in outputs))
    return b"".join([HEADER.pack(*header), layer.data, *arrays])


def case_bytes(name, *, levels, profile, pack=encode):
    """The case of a layer of cases.py."""
    data, x, y_shape = stream_and_input(
        CASES[name], levels=levels, profile=profile, seed=levels, pack=pack
    )
    op = operators.NestedSparseConv("", (0,), (1,), layer=Stream.parse(data))
    outputs = [operators.run_op(op, [x], y_shape, level) for level in range(levels)]
    return packed_case(op.layer, x, outputs)


def main(folder, *, golden=False):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.case"):
        old.unlink()
    for index, name in enumerate(CASES):
        levels, profile = 1 + index % 4, PROFILES[index % len(PROFILES)]
        padded = "_padded" if name in PADDED else ""
        if not golden or name in GOLDEN:
            case = case_bytes(name, levels=levels, profile=profile)
            (folder / f"{index:02}{padded}.case").write_bytes(case)
        if not golden or name in GOLDEN_CODED:
            case = case_bytes(name, levels=2, profile="mixed", pack=encode_packed)
            (folder / f"{index:02}{padded}_coded.case").write_bytes(case)
    for index, case in enumerate([] if golden else coded_cases.grid()):
        (folder / f"grid_{index:03}.case").write_bytes(packed_case(*case))


if __name__ == "__main__":
    main(Path(sys.argv[1]), golden="--golden" in sys.argv[2:])
