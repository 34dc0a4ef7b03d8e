"""docs/adding_a_layer.md names the files that exist, and its example works as written."""

import pathlib
import re

import keras
import numpy as np
import pytest

from nested_keras import export, runtime
from nested_keras.export import compare, graph, plain_layers
from nested_keras.export.fold import fold
from nested_keras.nesting import entries, kinds, model
from nested_keras.tflite.operators import Conv2D, NestedSparseConv
from tests.nested_keras import nets

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_layer.md").read_text()


def test_the_files_that_the_page_names_exist():
    named = set(re.findall(r"`((?:nested_keras|tests)/[\w/]+\.py)`", PAGE))
    assert len(named) >= 8
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_layer_has_both_halves_of_its_entry():
    made_anew = {
        *kinds.SEPARABLE,
        keras.layers.TimeDistributed,
        keras.layers.BatchNormalization,
    }
    assert set(entries.ENTRIES) - made_anew == set(graph.TRACES)
    for row in kinds.ROWS:
        assert {row.keras, row.nested} <= set(entries.ENTRIES)
        assert issubclass(row.nested, row.keras)


def test_no_other_file_lists_the_layers():
    named = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "nested_keras").rglob("*.py")
        if re.search(r"\bL\.Flatten\b|\"Flatten\"", path.read_text())
    }
    files = ("nesting/entries.py", "export/plain_layers.py", "nesting/heads.py")
    assert named == {f"nested_keras/{name}" for name in files}
    assert all(name in PAGE for name in named)


@pytest.mark.slow
def test_the_worked_example_works(monkeypatch):
    entry, function, trace = (
        eval(f"{{{block}}}", {**vars(entries), **vars(plain_layers)})
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    )
    for table, rows in (
        (entries.ENTRIES, entry),
        (plain_layers._EXTREMA, function),
        (graph.TRACES, trace),
    ):
        for key, value in rows.items():
            assert key in table
            monkeypatch.setitem(table, key, value)
    inputs = keras.Input((8, 8, 3))
    left, right = (keras.layers.Conv2D(4, 3)(inputs) for _ in range(2))
    x = keras.layers.Conv2D(5, 1)(keras.layers.Maximum()([left, right]))
    nested = model.nest(nets.randomise(keras.Model(inputs, x), seed=0))
    nested.prune()
    data = (np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32),)
    compare.compare(nested, fold(graph.trace(nested)), data)
    ops = runtime.lower(export.build(nested, representative_dataset=data[0]).tflite).ops
    others = [type(op).__name__ for op in ops if not isinstance(op, NestedSparseConv | Conv2D)]
    assert others == ["Maximum"]
