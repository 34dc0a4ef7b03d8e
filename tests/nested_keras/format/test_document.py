"""docs/nested_format.md against the code: its example and its tables are read out of the page."""

import re
from pathlib import Path

import numpy as np
import pytest

from nested_keras import format as nested_format
from nested_keras.format import Stream, constants, encode
from tests.nested_keras.format import plain_reader

PAGE = (Path(__file__).parents[3] / "docs" / "nested_format.md").read_text()
SIZES = {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "i32": 4}


def fenced(language, example):
    texts = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(texts) == 2
    return texts[example]


def hex_stream(example):
    rows = [line.split(": ") for line in fenced("hex", example).splitlines()]
    assert [int(offset, 16) for offset, _ in rows] == list(range(0, 16 * len(rows), 16))
    return bytes.fromhex("".join(row for _, row in rows))


@pytest.fixture(scope="module")
def stream():
    return hex_stream(0)


@pytest.mark.parametrize("example", [0, 1])
def test_example_is_the_layer_that_the_page_builds(example):
    names = {name: getattr(nested_format, name) for name in nested_format.__all__}
    scope = names | {"np": np}
    exec(fenced("python", example), scope)
    stream, nested = hex_stream(example), scope["nested"]
    decoded = Stream.parse(stream).weights
    assert decoded.params == nested.params
    for name in ("weights", "level_map", "bias", "multiplier", "shift"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(nested, name))
    choose = scope.get("choose", nested_format.smallest)
    assert encode(nested, choose=choose) == stream
    assert encode(Stream.parse(stream).weights, choose=choose) == stream
    assert f"these {len(stream)} bytes" in " ".join(PAGE.split())


def test_example_is_what_the_page_says_about_it(stream):
    prose = " ".join(PAGE.split())
    assert f"The first {Stream.parse(stream).prefix_bytes(0)} bytes alone" in prose
    assert len(Stream.parse(stream).strip(1).data) == Stream.parse(stream).prefix_bytes(0)
    assert f"{int.from_bytes(stream[60:64], 'little'):#010x}" in PAGE


def test_example_reads_by_the_text_alone(stream):
    read = plain_reader.read(stream)
    assert read.encodings == [2, 3]
    assert [folded for folded, _, _ in read.tables] == [[1252, 3484], [2664, 3584]]
    assert read.bias == [[100, -100], [1000, 0]]
    stored = {
        (channel, index): pair
        for channel, row in enumerate(read.weights)
        for index, pair in enumerate(row)
        if pair
    }
    assert stored == {
        (0, 0): (5, 0),
        (0, 1): (-3, 0),
        (0, 598): (4, 1),
        (0, 599): (7, 0),
        (1, 2): (-1, 0),
        (1, 3): (2, 0),
        (1, 4): (127, 0),
        (1, 5): (-100, 0),
    }


def test_second_example_reads_by_the_text_alone():
    read = plain_reader.read(hex_stream(1))
    assert read.encodings == [4, 0]
    assert read.tables[0] == read.tables[1]
    assert read.tables[0][1:] == ([5 << 28, 13 << 27], [-7, -6])
    assert read.bias == [[48, -80], [48, -80]]
    assert [value for row in read.weights for pair in row if pair for value in pair[:1]] == [
        9, -9, 9, 10, -11, 9, -10,
    ]  # fmt: skip
    assert [read.weights[0][index] for index in (0, 3, 4, 12, 20)] == [
        (9, 0), (-9, 0), (9, 0), (10, 0), (-11, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "layout"),
    [
        ("Header, 64 bytes", constants.STREAM_HEADER),
        ("Level block", constants.LEVEL_HEADER),
    ],
)
def test_field_tables_equal_the_layouts(title, layout):
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (\w+)(?: bytes)? \| (\w*) ?\|", section, re.MULTILINE)
    documented = [
        (int(offset), SIZES.get(size) or int(size), name or f"reserved_{offset}")
        for offset, size, name in rows
    ]
    assert documented == [
        (offset, dtype.itemsize, name) for name, (dtype, offset, *_) in layout.fields.items()
    ]
