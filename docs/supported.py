"""Writes docs/supported.md from the tables of the code: `make supported`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from nested_keras import files
from nested_keras.nesting import alternatives, keras_operators, kinds, supported
from nested_keras.nesting.entries import ENTRIES, Entry

PAGE = Path(__file__).with_name("supported.md")
_HEAD = """# Supported layers

`make supported` writes this page from the tables that `nest()` and export read.

`nest()` carries a model exactly, or refuses it at once with the name of the layer, the reason and
what to use in its place. An argument that a table does not name may have any value. A layer of your
own is refused, unless it inherits from a layer of this page and overrides none of its methods.
"""
# Layers that `nest` replaces without a row in `kinds.ROWS`.
_REPLACED = {
    keras.layers.SeparableConv2D: "a depthwise and a pointwise convolution, both nested",
    keras.layers.BatchNormalization: "statistics, gamma and beta of its own for each level",
}


def page() -> str:
    """Returns the text of the page."""
    return "\n".join((*_lines(), ""))


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Nested\n"
    yield from _table(("layer", "in the nested model", "must have"), _nested())
    yield "\n## Shared by all levels\n"
    yield "A nested model carries these layers without changes.\n"
    yield from _table(("layer", "must have", "must have for export"), _carried())
    yield "\n## Operators between layers\n"
    operators = ", ".join(f"`{name}`" for name in sorted(keras_operators.OPERATORS))
    yield "`nest()` puts layers that compute the same in the place of operators, such as `a + b`,"
    yield "`0.5 * x`, `x[:, 1:]` or `keras.ops.relu(x)`. By the names of Keras's classes:"
    yield f"{operators}."
    yield "\nA constant operand is one number, or an array that broadcasts to the tensor's shape."
    yield "A square root, a logarithm or a division must give finite numbers: put `relu(x) + 0.01`"
    yield "in the place of x. In int8 the root or the logarithm of a negative number is zero."
    yield "`nest()` refuses an operator for which there is no layer."
    yield "\n## Activations\n"
    names = ", ".join(f"`{name}`" for name in supported.ACTIVATIONS.values())
    layers = ", ".join(f"`{kind.__name__}`" for kind, e in ENTRIES.items() if e.is_activation)
    yield f"The functions {names}, and equal functions of `keras.ops` and `tf.nn`;"
    yield f"the layers {layers}. `nest()` refuses Keras's other functions. A function of your own"
    yield "can be exported if the function acts on each value alone; `nest()` and export try this"
    yield "on numbers in several shapes and orders. Any other function can be trained, but not"
    yield "exported."
    yield "\n## Refused\n"
    yield "`nest()` refuses every other layer. For some layers there is another way:\n"
    yield from _table(("layer", "another way"), _refused())
    yield "\nOther ways for operators between layers:\n"
    yield from _table(("operator", "another way"), _refused_operators())


def _nested() -> Iterator[tuple[str, ...]]:
    for row in kinds.ROWS:
        stream = row.stream.name.lower().replace("_", " ")
        must = _conditions(ENTRIES[row.keras], ENTRIES[row.keras].only)
        yield f"`{row.keras.__name__}`", f"`{row.nested.__name__}`: {stream}", must
    for kind, text in _REPLACED.items():
        yield f"`{kind.__name__}`", text, _conditions(ENTRIES[kind], ENTRIES[kind].only)


def _carried() -> Iterator[tuple[str, ...]]:
    nested = {kind for row in kinds.ROWS for kind in (row.keras, row.nested)} | set(_REPLACED)
    for kind, entry in sorted(ENTRIES.items(), key=lambda item: item[0].__name__):
        if kind not in nested and kind.__module__.startswith("keras."):
            export = _values(entry.not_exported)
            yield f"`{kind.__name__}`", _conditions(entry, entry.only), export


def _refused() -> Iterator[tuple[str, ...]]:
    known = {kind.__name__ for kind in ENTRIES}
    for name in sorted(set(alternatives.LAYERS) - known):
        yield f"`{name}`", alternatives.for_layer(name, "")
    yield "`CutMix`, `MixUp`", alternatives.for_layer("CutMix", "")


def _refused_operators() -> Iterator[tuple[str, ...]]:
    for name in sorted(alternatives.OPERATORS):
        yield f"`{name}`", alternatives.for_operator(name)


def _conditions(entry: Entry, only: Any) -> str:
    """The values that arguments must have, and the rules that no value can say."""
    rules = (rule.__doc__ for rule in (entry.rule, entry.rank_rule, entry.shape_rule))
    sentences = [rule.rstrip(".") for rule in rules if rule]
    return "; ".join(filter(None, (_values(only), *sentences)))


def _values(only: Any) -> str:
    return ", ".join(f"`{key}={value!r}`" for key, value in only.items())


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for cells in (titles, ("---",) * len(titles), *rows):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    files.write_text(PAGE, page())
