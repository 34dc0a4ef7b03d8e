import re
from pathlib import Path

import numpy as np
import pytest

from nested_keras.format import Encoding, LayerKind, Tables, constants

HEADER = Path(__file__).parents[3] / "tflm_ops" / "include" / "nk_format.h"


@pytest.fixture(scope="module")
def macros():
    """NK_ macros of the C header: names without the prefix, values as int or str."""
    defines = re.findall(r'^#define NK_(\w+) (\d+|"\w+")', HEADER.read_text(), re.MULTILINE)
    return {name: value.strip('"') if '"' in value else int(value) for name, value in defines}


def with_prefix(macros, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in macros.items()
        if name.startswith(prefix)
    }


def offsets(layout):
    return {
        name.upper(): field[1]
        for name, field in layout.fields.items()
        if not name.startswith("reserved_")
    }


def test_layouts_have_no_gaps():
    for layout, size in ((constants.STREAM_HEADER, 64), (constants.LEVEL_HEADER, 32)):
        assert layout.itemsize == size
        assert sum(field[0].itemsize for field in layout.fields.values()) == size
        for name, (_, offset, *_) in layout.fields.items():
            if name.startswith("reserved_"):
                assert offset == int(name.removeprefix("reserved_"))


def test_header_offsets_equal_the_c_header(macros):
    assert offsets(constants.STREAM_HEADER) == with_prefix(macros, "OFFSET_")
    assert offsets(constants.LEVEL_HEADER) == with_prefix(macros, "LEVEL_OFFSET_")


def test_enumerations_equal_the_c_header(macros):
    assert {kind.name: kind.value for kind in LayerKind} == with_prefix(macros, "KIND_")
    assert {code.name: code.value for code in Encoding} == with_prefix(macros, "ENCODING_")
    assert {form.name: form.value for form in Tables} == with_prefix(macros, "TABLES_")


def test_numbers_equal_the_c_header(macros):
    assert macros["STREAM_MAGIC"].encode() == constants.STREAM_MAGIC
    assert macros["LEVEL_HEADER_BYTES"] == constants.LEVEL_HEADER_BYTES
    for name in (
        "VERSION",
        "HEADER_BYTES",
        "MAX_LEVELS",
        "ALIGNMENT",
        "READ_AHEAD_BYTES",
        "MAX_CHANNEL_WEIGHTS",
        "MAX_GAP",
        "MAX_SYMBOL_BITS",
        "MAX_CODE_WORDS",
        "MAX_TABLE_BITS",
    ):
        assert macros[f"STREAM_{name}"] == getattr(constants, f"STREAM_{name}"), name


def test_integers_are_little_endian():
    for layout in (constants.STREAM_HEADER, constants.LEVEL_HEADER):
        for name, (dtype, *_) in layout.fields.items():
            if dtype.kind in "iu" and dtype.itemsize > 1:
                assert dtype == np.dtype(dtype).newbyteorder("<"), name
