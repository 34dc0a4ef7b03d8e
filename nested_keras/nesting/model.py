"""Make a nested model of a Keras model: the same graph, with kernels that N levels share."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from nested_keras.format.levels import check_level
from nested_keras.nesting import (
    conversion,
    fidelity,
    flattened,
    keras_graph,
    keras_operators,
    layers,
    loading,
    masks,
    optimizer_slots,
    supported,
    trainer,
)
from nested_keras.nesting.graph_call import Replacement
from nested_keras.typing import (
    Data,
    KerasArgument,
    KerasLayer,
    KerasModel,
    KerasOperation,
    KerasStore,
    KerasTensor,
    Value,
)

_QUANTIZATION = "quantization"


def nest(
    model: KerasModel,
    sparsities: Iterable[float] = (0.9, 0.8, 0.7),
    *,
    block_shape: Iterable[int] = (1, 1),
    exclude: Iterable[str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    shared_affine: bool = False,
    name: str | None = None,
) -> NestedModel:
    """Makes a nested model of a Keras model.

    Weights and BatchNorm statistics are copied exactly and nothing is pruned yet, so each level
    computes the outputs of the model. The ramp of `callbacks.NestedPruning`, or `NestedModel.prune`
    in one shot, makes the levels differ. The model itself does not change. Sub-models are
    flattened, a SeparableConv2D becomes a DepthwiseConv2D and a Conv2D ("<name>_depthwise",
    "<name>_pointwise"), a TimeDistributed(Dense) becomes a Dense, and every BatchNormalization gets
    statistics per level.

    Args:
        model: A built functional or Sequential model; docs/supported.md lists the layers that the
            model may have. A user's own activation can be trained, with a warning that export will
            refuse the model if the function does more than change each value alone.
        sparsities: Fraction of zeros per level, each in [0, 1], strictly decreasing: level 0 is the
            sparsest.
        block_shape: (1, 1), (1, 2) or (1, 4): weights pruned together, along the input channels.
            Depthwise kernels always have (1, 1).
        exclude: Names of the layers whose kernel stays dense. None stands for the depthwise
            kernels, the first convolution and the last Dense.
        overrides: Per layer name, a mapping with "sparsities" (one per level) or "block_shape" or
            both. A layer with an override is nested in any case.
        shared_affine: Share gamma and beta of each BatchNormalization among the levels. The
            statistics are per level in any case.
        name: The name of the nested model; None takes the name of `model`.

    Returns:
        The nested model, not compiled.

    Raises:
        TypeError: If the model is neither functional nor Sequential.
        ValueError: If sparsities, block shape or names are wrong, a layer is not supported, no
            layer is left to nest, or a level computes something else than the model.
    """
    base = conversion.functional(model)
    inputs, outputs, new = replace_layers(
        base,
        sparsities,
        block_shape,
        exclude=exclude,
        overrides=overrides,
        shared_affine=shared_affine,
    )
    nested = NestedModel(inputs, outputs, name=name or model.name)
    for operation, _ in conversion.operations(base):
        if not keras_operators.is_operator(operation):
            conversion.copy_weights(operation, new[id(operation)].layers)
    _compare(model, nested, new)
    return nested


def replace_layers(
    base: KerasModel,
    sparsities: Iterable[float],
    block_shape: Iterable[int],
    *,
    attempt: conversion.Attempt = contextlib.nullcontext,
    **choices: KerasArgument,
) -> tuple[Any, Any, dict[int, Replacement]]:
    """Makes the graph of a nested model, without the weights.

    Args:
        base: A functional model.
        sparsities: As `nest`.
        block_shape: As `nest`.
        attempt: The context of each check, as in `conversion.plan`.
        **choices: `exclude`, `overrides` and `shared_affine`, as `nest`.

    Returns:
        The inputs, the outputs, and by the id of each operation of `base` the layers in its place.
    """
    nesting = conversion.Nesting(
        masks.check_sparsities(sparsities), masks.check_block_shape(block_shape)
    )
    new = conversion.plan(base, nesting, **choices, attempt=attempt)
    inputs = flattened.new_inputs(base)
    outputs = flattened.run(base, inputs, _checked(_in_place(new), new, attempt))
    return inputs, outputs, new


def _in_place(new: Mapping[int, Replacement]) -> Callable[..., Any]:
    """Returns a call of the layers that stand in the place of an operation."""

    def act(operation: KerasOperation, *args: KerasArgument, **kwargs: KerasArgument) -> Any:
        return new[id(operation)].call(*args, **kwargs)

    return act


def _checked(
    act: Callable[..., Any], new: Mapping[int, Replacement], attempt: conversion.Attempt
) -> Callable[..., Any]:
    """Returns `act` with a check of each call; a refused call is replaced by an input."""

    def checked(operation: KerasOperation, *args: KerasArgument, **kwargs: KerasArgument) -> Any:
        with attempt():
            if id(operation) in new:
                name = new[id(operation)].layers[-1].name
                if not keras_operators.is_operator(operation) and (
                    text := supported.call_refusal(operation, name, args, kwargs)
                ):
                    raise ValueError(text)
                return act(operation, *args, **kwargs)
        specs = operation.compute_output_spec(*args, **kwargs)
        return keras.tree.map_structure(
            lambda spec: keras.Input(batch_shape=spec.shape, dtype=spec.dtype), specs
        )

    return checked


def _compare(model: KerasModel, nested: NestedModel, new: Mapping[int, Replacement]) -> None:
    """Compares all levels with the base model, and each new layer with the layer it replaces.

    Raises:
        ValueError: If a level differs, or the base model gives no finite numbers.
    """
    base = conversion.functional(model)

    def run(act: Callable[..., Any], batch: KerasTensor) -> fidelity.Trace:
        return record(base, batch, act, name_of=lambda layer: new[id(layer)].layers[-1].name)

    batch = fidelity.example(base)
    want = run(lambda layer, *args, **kwargs: layer(*args, **kwargs), batch)
    if layer := fidelity.first_not_finite(want):
        raise ValueError(
            f"model {base.name!r} must give finite numbers for standard normal inputs: layer "
            f"{layer!r} gives NaN or infinity. Are its weights those of a trained model?"
        )
    share = fidelity.tolerance(base)
    wrong = fidelity.first_difference(want, run(_in_place(new), batch), share=share)
    want = fidelity.Trace(fidelity.flat(model(batch, training=False)))
    batch = keras.tree.pack_sequence_as(nested.input, keras.tree.flatten(batch))
    for level in range(nested.levels):
        got = fidelity.Trace(fidelity.flat(nested.at_level(level)(batch, training=False)))
        wrong = wrong or fidelity.first_difference(want, got, share=share)
        if wrong:
            raise ValueError(f"level {level} must compute what model {model.name!r} does: {wrong}")


@keras.saving.register_keras_serializable(package="nested_keras")
class NestedModel(trainer.LevelTrainer):
    """A functional Keras model with N levels, made by `nest`.

    A call of the model runs the densest level, so `predict`, `summary` and `get_layer` behave as
    Keras users expect. `fit` trains all levels together, and `evaluate` measures all levels; see
    `nested_keras.nesting.trainer.LevelTrainer`.

    Args:
        *args: The inputs and the outputs, as for `keras.Model`: two structures of symbolic
            tensors. The outputs come from nested layers that were called without `level`.
        **kwargs: The other arguments of `keras.Model`: `name` and `trainable`.

    Attributes:
        quantization: How int8 holds the activations, as JSON (`nested_keras.export.activations`);
            set by `nested_keras.export.quantize_aware`, else None.

    Raises:
        ValueError: If there is no nested layer, or nested layers differ in their number of levels.
    """

    # Keras loads a class as a functional model where its `__init__` takes (*args, **kwargs) only.
    # Keras up to 3.14 assumes that a class with a named argument makes its own layers.
    def __init__(self, *args: KerasArgument, **kwargs: KerasArgument) -> None:
        super().__init__(*args, **kwargs)
        counts = {
            layer.name: layer.levels
            for layer in self.layers
            if isinstance(layer, layers.NestedKernel | layers.NestedBatchNormalization)
        }
        if not self.nested_layers:
            raise ValueError(
                f"model {self.name!r} must have a layer with a nested kernel: got none"
            )
        if len(set(counts.values())) != 1:
            raise ValueError(f"layers must have the same number of levels: got {counts}")
        self.quantization: dict[str, dict[str, Any]] | None = None
        self._float_models = _Cache(functools.partial(_build_level, self))
        self.run_levels(self.float_level)

    def summary(self, *args: KerasArgument, **kwargs: KerasArgument) -> None:
        """Prints the summary of Keras, and the sparsity of each level; arguments as Keras's."""
        super().summary(*args, **kwargs)
        levels = ", ".join(
            f"level {level} {self.level_sparsity(level):.2f} (asked {asked:.2f})"
            for level, asked in enumerate(self.sparsities)
        )
        positional = dict(zip(("line_length", "positions", "print_fn"), args, strict=False))
        print_fn = {**positional, **kwargs}.get("print_fn") or print
        print_fn(f" Sparsity: {levels}\n")

    def at_level(self, level: int) -> Any:
        """Returns one level as a functional Keras model that shares the weights.

        Args:
            level: 0 (the sparsest) to levels-1.

        Returns:
            A functional model, one object for all calls, which follows later training and pruning.
            After `export.quantize_aware`, a model that rounds as int8 does, and is not functional.

        Raises:
            ValueError: If the level is out of range.
        """
        return self._level_models[check_level(level, levels=self.levels)]

    def float_level(self, level: int) -> Any:
        """Returns one level that computes in float, also where `at_level` rounds as int8 does."""
        return self._float_models[check_level(level, levels=self.levels)]

    def run_levels(self, make: Callable[[int], Any]) -> None:
        """Sets the models that run the levels in training, in evaluation and in `at_level`.

        Args:
            make: Makes the Keras model of a level that shares the weights of this one.
        """
        # A class of our own, because Keras would track a list or dict of models and save their
        # weights again.
        self._level_models = _Cache(make)
        if self.compiled:
            for level in range(self.levels):
                self.at_level(level)  # made here, not while a step is traced
            self.make_train_function(force=True)
            self.make_test_function(force=True)
            self._objectives.test_functions.clear()

    def prune(self, ratio: float = 1.0, *, regrow: bool = False) -> None:
        """Recomputes all level maps from the weights' magnitudes, layer by layer.

        Args:
            ratio: How far along the ramp, 0..1: each level's sparsity is scaled by it.
            regrow: Keep the weights that no level uses, so that these weights may come back.
                Otherwise these weights become zero, and the optimizer forgets its state for them.
        """
        for layer in self.nested_layers:
            layer.prune(ratio, regrow=regrow)
        if not regrow and self.compiled and self.optimizer is not None:
            optimizer_slots.forget_pruned(self, self._objectives.slots)

    def evaluate_levels(
        self, x: Data, y: Data = None, **kwargs: KerasArgument
    ) -> list[dict[str, Any]]:
        """Evaluates all levels in one pass over the data.

        Args:
            x: Data as `keras.Model.evaluate` takes it.
            y: Targets, unless `x` has targets.
            **kwargs: Other arguments of `evaluate`, such as `batch_size`.

        Returns:
            One row per level, sparsest first: "level", "sparsity" (over the nested kernels, as
            masked now), "loss" (without weight regularisation) and each metric.
        """
        logs = self.evaluate(x, y, return_dict=True, **{"verbose": 0, **kwargs})
        rows = []
        for level in range(self.levels):
            prefix = f"level_{level}_"
            values = {
                key.removeprefix(prefix): _as_number(value)
                for key, value in logs.items()
                if key.startswith(prefix)
            }
            row = {"level": level, "sparsity": self.level_sparsity(level)}
            rows.append({**row, "loss": values.pop("loss"), **values})
        return rows

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the model again.

        Raises:
            ValueError: If a file would name an activation by the name of another function.
        """
        for layer in self.layers:
            function = getattr(layer, "activation", None)
            if not supported.can_be_named(function):
                raise ValueError(
                    f"layer {layer.name!r} must have an activation that a file can name: got "
                    f"{function}; define it as a function of a name of its own, and register it "
                    "with @keras.saving.register_keras_serializable()"
                )
        return dict(super().get_config())

    def save(self, filepath: KerasArgument, *args: KerasArgument, **kwargs: KerasArgument) -> None:
        """Saves the model, as `keras.Model.save`; after `quantize_aware` to .keras alone."""
        if self.quantization is not None and str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(f"a quantize-aware model must be saved as .keras: got {filepath}")
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store: KerasStore) -> None:
        """Saves the state that Keras leaves out: the seeds of dropout, and the quantisation."""
        for index, state in enumerate(_random_states(self)):
            store[str(index)] = state.numpy()
        if self.quantization is not None:
            text = json.dumps(self.quantization)
            store[_QUANTIZATION] = np.frombuffer(text.encode(), np.uint8)

    def load_own_variables(self, store: KerasStore) -> None:
        """Loads this state from files that have it, so that a resumed run goes on exactly."""
        for index, state in enumerate(_random_states(self)):
            if str(index) in store:
                state.assign(store[str(index)])
        text = np.asarray(store[_QUANTIZATION]).tobytes() if _QUANTIZATION in store else b"null"
        if (quantization := json.loads(text)) not in (None, self.quantization):
            self.quantization = quantization
            # By name, because export is a room behind this one.
            importlib.import_module("nested_keras.export.aware").run_as_int8(self, quantization)


def _random_states(model: NestedModel) -> list[Any]:
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]


def _build_level(model: NestedModel, level: int) -> Any:
    """Calls the layers of a model's graph again, at one level."""
    act = call_at(level)

    def call(layer: KerasLayer) -> Callable[..., Any]:
        return functools.partial(act, layer)

    outputs = keras_graph.run_graph(model, model.input, call)
    return keras.Model(model.input, outputs, name=f"{model.name}_level_{level}")


class _Cache:
    """Values made on first use, by index."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._made: dict[int, Any] = {}

    def __getitem__(self, index: int) -> Any:
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]


def _as_number(value: Value) -> Any:
    """Returns a scalar tensor, as `evaluate` of Keras 3.12 gives it, as a Python number."""
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else value


def record(
    model: KerasModel,
    inputs: KerasTensor,
    act: Callable[..., Any],
    *,
    name_of: Callable[[Any], str],
) -> fidelity.Trace:
    """Runs a model on a batch with `act(layer, ...)` in the place of each layer.

    Args:
        model: A functional model.
        inputs: A batch.
        act: Calls a layer, or the layers in its place.
        name_of: Gives the name under which the outputs of a layer are noted.

    Returns:
        The outputs of each layer and of the model.
    """
    noted: list[tuple[str, Any]] = []

    def note(layer: KerasLayer, *args: KerasArgument, **kwargs: KerasArgument) -> Any:
        outputs = act(layer, *args, **kwargs)
        noted.extend((name_of(layer), value) for value in fidelity.flat(outputs))
        return outputs

    outputs = flattened.run(model, inputs, note)
    return fidelity.Trace(fidelity.flat(outputs), tuple(noted))


def call_at(level: int) -> Callable[..., Any]:
    """Returns a function that calls a layer of a nested model at one level."""

    def act(layer: KerasLayer, *args: KerasArgument, **kwargs: KerasArgument) -> Any:
        if isinstance(layer, layers.NestedKernel | layers.NestedBatchNormalization):
            kwargs = {**kwargs, "level": level}
        return layer(*args, **kwargs)

    return act


def load_model(path: str | os.PathLike[str], **kwargs: KerasArgument) -> Any:
    """Loads a Keras model, nested or not, also from the .h5 files of Keras 2.

    Args:
        path: A .keras or .h5 file.
        **kwargs: Other arguments of `keras.models.load_model`.

    Returns:
        The model, compiled as it was saved.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is damaged, or holds no model or a layer that Keras does not know.
    """
    return loading.load_keras(path, **kwargs)
