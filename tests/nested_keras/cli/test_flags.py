"""The flags of all programs of the project: shown with dashes, understood with underscores."""

import argparse
import re

import pytest
from absl import flags

from benchmarks import compare_revisions, training_step
from benchmarks.accuracy import __main__ as accuracy
from benchmarks.mlperf_tiny import run as mlperf_tiny
from nested_keras.cli import application, arguments

PROGRAMS = {
    "nested-keras": application.parser,
    "benchmarks.accuracy": accuracy.parser,
    "benchmarks.compare_revisions": compare_revisions.parser,
    "benchmarks.mlperf_tiny": mlperf_tiny.parser,
    "benchmarks.training_step": training_step.parser,
}


def walk(parser):
    """Yields a parser and those of all commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from walk(command)


def own_flags(parser):
    """Returns the flags of a parser that are not absl's."""
    long = [f for action in parser._actions for f in action.option_strings if f.startswith("--")]
    return [f for f in long if not {f[2:], f[2:].removeprefix("no")} & set(flags.FLAGS)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_flag_with_an_underscore_is_shown(program):
    parsers = list(walk(PROGRAMS[program]()))
    for parser in parsers:
        assert not re.search(r"--\w*_", parser.format_help()), parser.prog
        assert not [flag for flag in own_flags(parser) if "_" in flag], parser.prog


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_flag_has_its_old_spelling(program):
    for parser in walk(PROGRAMS[program]()):
        for flag in own_flags(parser):
            old = "--" + flag.removeprefix("--").replace("-", "_")
            for value in ("", "=a_b"):
                assert arguments.dashed([old + value], keep=flags.FLAGS) == [flag + value]


def test_dashes_change_the_names_of_flags_alone():
    given = ["--batch_size=a_b", "--no-split_batch", "x_y", "-a_b", "--log_dir", "--", "--c_d"]
    assert arguments.dashed(given, keep={"log_dir"}) == [
        *("--batch-size=a_b", "--no-split-batch", "x_y", "-a_b", "--log_dir", "--", "--c_d"),
    ]


def test_both_spellings_are_the_same_command():
    required = ["train", "--model", "m", "--data", "d", "--out", "o"]
    old, new = (
        application.parser().parse_args(arguments.dashed([*required, flag, "1x4"]))
        for flag in ("--block_shape", "--block-shape")
    )
    assert old == new
    assert old.block_shape == (1, 4)
