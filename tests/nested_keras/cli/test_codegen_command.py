"""`nested-keras codegen`, as a user calls it."""

import json
import re

import pytest

from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def test_codegen_writes_a_library(model, folder, capsys):
    out = folder / "library"
    assert nested_keras_command("codegen", model, "--out", out, "--name", "net") == 0
    assert "net_invoke()" in capsys.readouterr().out
    assert {"net.c", "net.h"} <= {path.name for path in out.iterdir()}


def test_weights_go_into_a_file(model, folder, capsys):
    out = folder / "external"
    assert nested_keras_command("codegen", model, "--out", out, "--weights", "external") == 0
    assert (out / "model_weights.bin").read_bytes().startswith(b"NKW1")
    assert "nk_status model_open(const void *file, size_t size);" in (out / "model.h").read_text()
    assert (
        f"Give the bytes of {out / 'model_weights.bin'} to model_open()" in capsys.readouterr().out
    )


def test_the_json_has_the_sizes_of_the_header(model, folder, capsys):
    out = folder / "sizes"
    assert nested_keras_command("codegen", model, "--out", out, "--json", folder / "s.json") == 0
    sizes = json.loads((folder / "s.json").read_text())
    macros = dict(re.findall(r"#define MODEL_(\w+) (\d+)$", (out / "model.h").read_text(), re.M))
    for key, macro in (("arena_bytes", "ARENA_SIZE"), ("stack_bytes", "STACK_SIZE")):
        assert sizes[key] == int(macros[macro])
    assert (sizes["levels"], sizes["name"]) == (int(macros["LEVELS"]), "model")
    assert f"{sizes['stack_bytes']:,} of stack" in capsys.readouterr().out


def test_a_smaller_arena_has_the_same_interface(model, folder, capsys):
    sizes = []
    for arena in ((), ("--arena", "smallest")):
        out = folder / f"arena{len(arena)}"
        assert nested_keras_command("codegen", model, "--out", out, *arena) == 0
        header = (out / "model.h").read_text()
        sizes.append(int(re.findall(r"#define MODEL_ARENA_SIZE (\d+)$", header, re.M)[0]))
    assert sizes[1] < sizes[0]
    capsys.readouterr()
    out = folder / "arena_of_one"
    picture = folder / "arena.svg"
    assert nested_keras_command("codegen", model, "--out", folder / "p", "--picture", picture) == 0
    assert f"an arena of {sizes[0]:,} bytes" in picture.read_text()
    capsys.readouterr()
    assert nested_keras_command("codegen", model, "--out", out, "--arena", "1") == 1
    assert f"the arena needs {sizes[1]:,} bytes: got a limit of 1" in capsys.readouterr().err
    assert not out.exists()


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(model, folder, capsys):
    out, missing = folder / "no_picture", folder / "missing"
    words = ("--out", out, "--picture", missing / "arena.svg")
    assert nested_keras_command("codegen", model, *words) == 1
    expected = f"expected a folder to write arena.svg to: {missing}"
    assert expected in capsys.readouterr().err
    assert not out.exists()


def test_an_arena_is_a_number_of_bytes_or_smallest(model, folder, capsys):
    for text in ("-1", "20k", "small"):
        assert nested_keras_command("codegen", model, "--out", folder, f"--arena={text}") == 2
        expected = f"expected a number of bytes or 'smallest': got '{text}'"
        assert expected in capsys.readouterr().err
