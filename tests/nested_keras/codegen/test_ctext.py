import ctypes
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nested_keras.codegen import ctext


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_read_back_as_the_same_float32(value):
    text = ctext.float_literal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text)
    assert "." in text or "e" in text  # an integer with an f is no C constant
    assert ctypes.c_float(float(text[:-1])).value == value


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32"])
def test_arrays_are_printed_whole_in_lines_that_fit(dtype):
    values = np.random.default_rng(3).integers(0, 127, (7, 30)).astype(dtype)
    text = ctext.ConstArray("weights", values).definition("PLACE")
    head, *lines = text.splitlines()
    assert head == f"PLACE static const _Alignas(16) {ctext.c_type(dtype)} weights[210] = {{"
    assert lines.pop() == "};"
    assert max(map(len, lines)) <= ctext.COLUMNS
    words = "".join(lines).removesuffix(",").split(",")
    assert [float(word.removesuffix("f")) for word in words] == values.reshape(-1).tolist()


def test_int8_and_int32_extremes_are_printed_as_they_are():
    text = ctext.ConstArray("a", np.array([-(2**31), 2**31 - 1], np.int32)).definition("PLACE")
    assert "-2147483648,2147483647,\n" in text
    assert "-128,127,\n" in ctext.ConstArray("b", np.array([-128, 127], np.int8)).definition("")


def test_equal_arrays_are_kept_once():
    constants = ctext.Constants()
    ones = np.ones(4, np.int8)
    assert constants.add("first", ones) == "first"
    assert constants.add("second", ones.copy()) == "first"
    assert constants.add("third", ones.astype(np.uint8)) == "third"
    assert [array.name for array in constants.arrays] == ["first", "third"]


@given(st.text(max_size=300) | st.text("?/*\\ \n-a", max_size=300))
def test_comments_hold_any_text(text):
    comment = ctext.comment(text)
    assert comment.startswith("/* ")
    assert comment.endswith(" */")
    assert "*/" not in comment[:-2]
    assert "/*" not in comment[2:]
    assert "??" not in comment
    assert "\\" not in comment
    assert comment.isascii()
    assert max(map(len, comment.split("\n"))) <= ctext.COLUMNS


@given(st.lists(st.text("abc_", min_size=1, max_size=40), min_size=1, max_size=12))
def test_calls_are_broken_into_aligned_lines(arguments):
    text = ctext.call("function", arguments, prefix="return ")
    first, *others = text.split("\n")
    assert max(map(len, (first, *others))) <= ctext.COLUMNS
    assert all(line.startswith(" " * 18) and line[18] != " " for line in others)
    assert " ".join(line.strip() for line in (first, *others)) == (
        f"return function({', '.join(arguments)});"
    )


def test_negative_macro_values_are_in_parentheses():
    assert ctext.integer_literal(-3) == "(-3)"
    assert ctext.integer_literal(3) == "3"
