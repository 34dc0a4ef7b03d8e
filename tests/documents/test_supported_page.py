"""docs/supported.md is what the tables of the code say."""

import pytest

from docs import supported
from nested_keras.nesting.entries import ENTRIES

pytestmark = pytest.mark.slow


def test_the_page_is_fresh():
    assert supported.PAGE.read_text() == supported.page(), "`make supported` writes the page anew"


def test_every_layer_stands_in_one_row():
    page = supported.page().split("## Refused")[0]
    for kind in ENTRIES:
        rows = page.count(f"\n| `{kind.__name__}` |")
        assert rows == (1 if kind.__module__.startswith("keras.") else 0)


def test_a_new_layer_moves_from_the_refused_ones(monkeypatch):
    import keras

    from nested_keras.nesting.entries import Entry

    assert "| `Dot` | use Multiply" in supported.page()
    monkeypatch.setitem(ENTRIES, keras.layers.Dot, Entry())
    assert "| `Dot` |  |  |" in supported.page()
    assert "| `Dot` | use Multiply" not in supported.page()
