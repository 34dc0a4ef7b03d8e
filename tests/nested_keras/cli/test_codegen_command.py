"""`nested-keras codegen`, as a user calls it."""

import pytest

from tests.nested_keras.cli.commands import nested_keras_command

pytestmark = pytest.mark.slow


def test_codegen_writes_a_library(model, folder, capsys):
    out = folder / "library"
    assert nested_keras_command("codegen", model, "--out", out, "--name", "net") == 0
    assert "net_invoke()" in capsys.readouterr().out
    assert {"net.c", "net.h"} <= {path.name for path in out.iterdir()}
