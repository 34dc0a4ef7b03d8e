"""From a Keras model to a nested one: the same graph, its kernels shared by N levels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from nested_keras import conversion, layers, masks, training

_QUANTIZATION = "quantization"


def nest(
    model: Any,
    sparsities: Iterable[float] = (0.9, 0.8, 0.7),
    *,
    block_shape: Iterable[int] = (1, 1),
    exclude: Iterable[str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    shared_affine: bool = False,
    name: str | None = None,
) -> NestedModel:
    """Makes a nested model of a Keras model.

    Weights and BatchNorm statistics are carried over exactly and nothing is pruned yet: each level
    computes what the model did. The ramp of `callbacks.NestedPruning`, or `NestedModel.prune` in
    one shot, makes the levels differ. The model itself is left as it was. Sub-models are
    flattened, a SeparableConv2D becomes a DepthwiseConv2D and a Conv2D ("<name>_depthwise",
    "<name>_pointwise"), and every BatchNormalization gets statistics per level.

    Args:
        model: A built functional or Sequential model. Of the layers with weights it may have
            Conv2D, DepthwiseConv2D, SeparableConv2D, Dense and BatchNormalization.
        sparsities: Fraction of zeros per level, each in [0, 1], strictly decreasing: level 0 is the
            sparsest.
        block_shape: (1, 1), (1, 2) or (1, 4): weights pruned together, along the input channels.
            Depthwise kernels always have (1, 1).
        exclude: Names of the layers whose kernel stays dense. None stands for the depthwise
            kernels, the first convolution and the last Dense.
        overrides: Per layer name, a mapping with "sparsities" (as many) or "block_shape" or both.
            It nests a layer that would be excluded.
        shared_affine: Share gamma and beta of each BatchNormalization among the levels; its
            statistics are per level in any case.
        name: The name of the nested model; as the model's when None.

    Returns:
        The nested model, not compiled.

    Raises:
        TypeError: if the model is neither functional nor Sequential.
        ValueError: if sparsities, block shape or names are wrong, a layer is not supported, or no
            layer is left to nest.
    """
    nesting = conversion.Nesting(
        masks.check_sparsities(sparsities), masks.check_block_shape(block_shape)
    )
    base = conversion.functional(model)
    new = conversion.plan(
        base, nesting, exclude=exclude, overrides=overrides, shared_affine=shared_affine
    )

    def call(operation: Any) -> Callable[..., Any]:
        if conversion.is_graph(operation):
            inner = conversion.functional(operation)
            return lambda inputs, **_: run_graph(inner, inputs, call)

        def chain(*args: Any, **kwargs: Any) -> Any:
            first, *rest = new[id(operation)]
            outputs = first(*args, **kwargs)
            for each in rest:
                outputs = each(outputs)
            return outputs

        return chain

    inputs = keras.tree.map_structure(_new_input, base.input)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]  # as old files have it; Keras would warn at each call with a bare array
    nested = NestedModel(inputs, run_graph(base, inputs, call), name=name or model.name)
    for operation, _ in conversion.operations(base):
        conversion.copy_weights(operation, new[id(operation)])
    return nested


@keras.saving.register_keras_serializable(package="nested_keras")
class NestedModel(training.LevelTrainer):
    """A functional Keras model with N levels; make one with `nest`.

    Called as a model it runs its densest level, so `predict`, `summary` and `get_layer` do what
    Keras users expect. `fit` trains all levels together and `evaluate` measures all of them; see
    `nested_keras.training.LevelTrainer`.

    Args:
        inputs: A structure of symbolic inputs.
        outputs: A structure of symbolic outputs, made by calling nested layers without `level`.
        name: The name of the model.
        **kwargs: What Keras hands on when it loads a model.

    Attributes:
        quantization: How int8 holds the activations, as JSON (`nested_keras.export.activations`);
            set by `nested_keras.export.quantize_aware`, else None.

    Raises:
        ValueError: if there is no nested layer, or they differ in their number of levels.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
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
        self._levels = self.nested_layers[0].levels
        self.quantization: dict[str, dict[str, Any]] | None = None
        self.run_levels(self._build_level)

    @property
    def nested_layers(self) -> list[Any]:
        """The layers with a nested kernel, in graph order."""
        return [layer for layer in self.layers if isinstance(layer, layers.NestedKernel)]

    @property
    def levels(self) -> int:
        """The number of levels."""
        return int(self._levels)

    @property
    def sparsities(self) -> tuple[float, ...]:
        """The final sparsity of each level over all nested kernels together."""
        per_layer = [layer.sparsities for layer in self.nested_layers]
        if len(set(per_layer)) == 1:
            return tuple(per_layer[0])
        sizes = [layer.level_map.numpy().size for layer in self.nested_layers]
        return tuple(
            sum(s * size for s, size in zip(level, sizes, strict=True)) / sum(sizes)
            for level in zip(*per_layer, strict=True)
        )

    def level_sparsity(self, level: int) -> float:
        """Returns the fraction of zeros over all nested kernels as they are masked now."""
        level = masks.check_level(level, levels=self.levels)
        return masks.sparsity((layer.level_map.numpy() for layer in self.nested_layers), level)

    def shortfall(self) -> str:
        """Returns which levels keep more weights than they should, "" if none does.

        Returns:
            Such as "level 0: asked 0.90, has 0.32", over all nested kernels, for each such level.
        """
        short = [
            level
            for level in range(self.levels)
            if any(
                layer.kept_blocks(level) > layer.final_blocks(level) for layer in self.nested_layers
            )
        ]
        return ", ".join(
            f"level {level}: asked {self.sparsities[level]:.2f}, "
            f"has {self.level_sparsity(level):.2f}"
            for level in short
        )

    def ramp_reached(self) -> float:
        """Returns how far along the ramp to the final sparsities the levels are, 0..1."""
        shares = [
            (layer.blocks - layer.kept_blocks(level)) / (layer.blocks - final)
            for layer in self.nested_layers
            for level in range(self.levels)
            if (final := layer.final_blocks(level)) < layer.blocks
        ]
        return min([1.0, *shares])

    def summary(self, *args: Any, **kwargs: Any) -> None:
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
            A functional model, the same object at each call. It follows later training and
            pruning of this model.

        Raises:
            ValueError: if the level is out of range.
        """
        return self._level_models[masks.check_level(level, levels=self.levels)]

    def run_levels(self, make: Callable[[int], Any]) -> None:
        """Sets what runs a level: in training, in evaluation and in `at_level`.

        Args:
            make: Makes the Keras model of a level that shares the weights of this one.
        """
        # Keras would track a list or dict of models and save their weights again: hide it.
        self._level_models = _Cache(make)
        if self.compiled:
            for level in range(self.levels):
                self.at_level(level)  # made here, not while a step is traced
            self.make_train_function(force=True)
            self.make_test_function(force=True)

    def set_sparsities(self, sparsities: Mapping[str, Iterable[float]]) -> None:
        """Gives layers other final sparsities; the masks follow when they are recomputed.

        Args:
            sparsities: By the name of a nested layer, one fraction of zeros per level in [0, 1],
                not increasing; see `nested_keras.allocation`.

        Raises:
            ValueError: for a name, range, order or number of levels that does not fit.
        """
        by_name = {layer.name: layer for layer in self.nested_layers}
        unknown = sorted(set(sparsities) - set(by_name))
        if unknown:
            raise ValueError(f"sparsities must name layers of {sorted(by_name)}: got {unknown}")
        checked = {name: masks.check_sparsities(v, strict=False) for name, v in sparsities.items()}
        for name, values in checked.items():
            if len(values) != self.levels:
                raise ValueError(
                    f"sparsities of {name!r} must have {self.levels} entries, one per level: "
                    f"got {values}"
                )
        for name, values in checked.items():
            by_name[name].sparsities = values

    def prune(self, ratio: float = 1.0, *, regrow: bool = False) -> None:
        """Recomputes all level maps from the weights' magnitudes, layer by layer.

        Args:
            ratio: How far along the ramp, 0..1: each level's sparsity is scaled by it.
            regrow: Keep the weights that no level uses, so that they may come back; else they and
                what the optimizer keeps for them become zero.
        """
        for layer in self.nested_layers:
            layer.prune(ratio, regrow=regrow)
        if not regrow:
            self.forget_pruned()

    def evaluate_levels(self, x: Any, y: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Evaluates all levels in one pass over the data.

        Args:
            x: Data as `keras.Model.evaluate` takes it.
            y: Targets, unless `x` brings them.
            **kwargs: Other arguments of `evaluate`, such as `batch_size`.

        Returns:
            One row per level, sparsest first: "level", "sparsity" (over the nested kernels, as
            masked now), "loss" (without weight regularisation) and each metric.
        """
        logs = self.evaluate(x, y, return_dict=True, **{"verbose": 0, **kwargs})
        rows = []
        for level in range(self.levels):
            prefix = f"level_{level}_"
            values = {k.removeprefix(prefix): v for k, v in logs.items() if k.startswith(prefix)}
            row = {"level": level, "sparsity": self.level_sparsity(level)}
            rows.append({**row, "loss": values.pop("loss"), **values})
        return rows

    def save_own_variables(self, store: Any) -> None:
        """Saves what Keras leaves out: the random state of dropout, and the quantisation."""
        for index, state in enumerate(self._random_states()):
            store[str(index)] = state.numpy()
        if self.quantization is not None:
            text = json.dumps(self.quantization)
            store[_QUANTIZATION] = np.frombuffer(text.encode(), np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Loads it, where the file has it, so that a resumed run goes on as if uninterrupted."""
        for index, state in enumerate(self._random_states()):
            if str(index) in store:
                state.assign(store[str(index)])
        if _QUANTIZATION in store:
            self.quantization = json.loads(np.asarray(store[_QUANTIZATION]).tobytes())

    def _random_states(self) -> list[Any]:
        return [v for v in self.variables if v.path.endswith("seed_generator_state")]

    def _build_level(self, level: int) -> Any:
        """Calls the layers of this graph again, at one level."""

        def call(operation: Any) -> Callable[..., Any]:
            if isinstance(operation, layers.NestedKernel | layers.NestedBatchNormalization):
                return lambda *args, **kwargs: operation(*args, **{**kwargs, "level": level})
            return operation

        return keras.Model(
            self.input, run_graph(self, self.input, call), name=f"{self.name}_level_{level}"
        )


class _Cache:
    """Values made on first use, by index."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._made: dict[int, Any] = {}

    def __getitem__(self, index: int) -> Any:
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]


def run_graph(model: Any, inputs: Any, call: Callable[[Any], Callable[..., Any]]) -> Any:
    """Runs a functional model's graph with `call(operation)` in the place of each operation."""
    # Keras's own functional call and clone_model stand on this method; nothing public walks nodes.
    return model._run_through_graph(inputs, operation_fn=call)


def _new_input(tensor: Any) -> Any:
    return keras.Input(
        batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor._keras_history.operation.name
    )


def load_model(path: Any, **kwargs: Any) -> Any:
    """Loads a saved `.keras` file whose layers are nested.

    The same as `keras.models.load_model` after `import nested_keras.model`, which registers the
    classes.

    Args:
        path: The file.
        **kwargs: Other arguments of `keras.models.load_model`.

    Returns:
        The model, compiled as it was saved.
    """
    return keras.models.load_model(path, **kwargs)
