"""The sparsities of a model's levels: the final ones, and the present ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nested_keras.format.levels import check_level
from nested_keras.nesting import keras_graph, layers, masks


class SparseLevels(keras_graph.PreparedModel):
    """A Keras model whose nested layers have N levels."""

    @property
    def nested_layers(self) -> list[Any]:
        """The layers with a nested kernel, in graph order."""
        return [layer for layer in self.layers if isinstance(layer, layers.NestedKernel)]

    @property
    def levels(self) -> int:
        """The number of levels."""
        return int(self.nested_layers[0].levels)

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
        level = check_level(level, levels=self.levels)
        return masks.sparsity((layer.level_map.numpy() for layer in self.nested_layers), level)

    def shortfall(self) -> str:
        """Returns the levels that keep more weights than their sparsity allows, "" for none.

        Returns:
            Text such as "level 0: asked 0.90, has 0.32" for each such level, over all nested
            kernels.
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

    def set_sparsities(self, sparsities: Mapping[str, Iterable[float]]) -> None:
        """Gives layers other final sparsities; the masks change with the next `prune`.

        Args:
            sparsities: By the name of a nested layer, one fraction of zeros per level in [0, 1],
                not increasing; see `nested_keras.allocation`.

        Raises:
            ValueError: If a name, range, order or number of levels does not fit.
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
