"""Writes the seeds of the fuzzers of packed streams from the golden cases of tests/tflm_ops/golden.

    python -m tests.fuzz.make_seeds

An input is a head of HEAD_BYTES, which starts with the dimensions (packed_input.h), and the stream.
"""

import struct
from pathlib import Path

HEAD_BYTES = 48
HERE = Path(__file__).parent
GOLDEN = HERE.parent / "tflm_ops" / "golden"
SEEDS = HERE / "seeds"
# Ends of a case's header (tests/tflm_ops/nested_case.h): dimensions, number of levels, sizes.
DIMENSIONS, STREAM_BYTES, HEADER = 5, 6, struct.Struct("<9i")


def packed_input(case):
    """The input of a fuzzer that runs the layer of a case."""
    header = HEADER.unpack_from(case)
    head = struct.pack("<5H", *header[:DIMENSIONS]).ljust(HEAD_BYTES, b"\0")
    return head + case[HEADER.size :][: header[STREAM_BYTES]]


def seeds():
    """File names in SEEDS with their bytes."""
    for path in sorted(GOLDEN.glob("*.case")):
        yield f"packed/{path.stem}", packed_input(path.read_bytes())


def main():
    for name, content in seeds():
        target = SEEDS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    main()
