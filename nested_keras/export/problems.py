"""All reasons why a model cannot be nested and exported, found before training."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator

from nested_keras.export import steps
from nested_keras.nesting import conversion, fidelity
from nested_keras.nesting.model import NestedModel, nest, replace_layers
from nested_keras.typing import KerasArgument, KerasModel

# The steps that need no representative data, because random examples suffice in float.
_STEPS = steps.STEPS[: steps.STEPS.index(steps.compare_in_float) + 1]
_WARNING = "export will refuse this model: "


class _Problems:
    """Collects the texts of errors, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the error that ends the block, and goes on behind the block."""
        try:
            yield
        except (TypeError, ValueError) as error:
            self.add(str(error))


def problems_of(
    model: KerasModel,
    sparsities: Iterable[float],
    block_shape: Iterable[int],
    **choices: KerasArgument,
) -> list[str]:
    """Finds the reasons of `nest` and export to refuse; see `nested_keras.export.supports`."""
    problems = _Problems()
    options = tuple(sparsities), tuple(block_shape)
    with warnings.catch_warnings(record=True) as caught, problems.noted():
        warnings.simplefilter("always")
        base = conversion.functional(model)
        replace_layers(base, *options, attempt=problems.noted, **choices)
    for warning in caught:
        text = str(warning.message)
        if text.startswith(_WARNING):
            problems.add(text.removeprefix(_WARNING))
    if problems.texts:
        return problems.texts
    with problems.noted():
        nested = nest(model, options[0], block_shape=options[1], **choices)
        _export_in_float(nested)
    return problems.texts


def _export_in_float(nested: NestedModel) -> None:
    """Runs the first steps of an export.

    Raises:
        ExportError: A step refuses the model.
    """
    state = steps.ExportState(nested, fidelity.example(nested))
    for step in _STEPS:
        state = step(state)
