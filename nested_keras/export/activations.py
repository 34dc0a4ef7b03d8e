"""The int8 form of the activations: measured once, and kept with a model trained for int8."""

from __future__ import annotations

from typing import Any, TypeAlias

from nested_keras.export.calibrate import Ranges, calibrate, fixed_scales
from nested_keras.export.equalize import equalize, measure_factors
from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph
from nested_keras.typing import Float32Array

# JSON: the factors of `equalize` and the limits of `calibrate.Ranges`, by name of node.
Quantization: TypeAlias = dict[str, dict[str, Any]]


def measure(graph: Graph, data: tuple[Float32Array, ...]) -> Quantization:
    """Measures the activations of a folded graph.

    Args:
        graph: The folded graph.
        data: Representative examples, one array [n, ...] per input.

    Returns:
        The argument for `apply`.

    Raises:
        ExportError: An output is NaN or infinite.
    """
    factors = measure_factors(graph, data)
    ranges = calibrate(equalize(graph, factors), data)
    return {
        "factors": {name: values.tolist() for name, values in factors.items()},
        "limits": {name: list(ends) for name, ends in ranges.limits.items()},
    }


def apply(graph: Graph, quantization: Quantization) -> tuple[Graph, Ranges]:
    """Returns the graph with equalised channels, and the ranges of its activations.

    Nodes are found by their position: weights may be loaded into a model that was built again, in
    which Keras gives other names.

    Raises:
        ExportError: If the quantisation is that of another network.
    """
    fixed = fixed_scales(graph)
    names = [name for name in graph.nodes if name not in fixed]
    if len(names) != len(quantization["limits"]):
        raise ExportError(
            "the saved ranges of the activations must be those of this model: got "
            f"{len(quantization['limits'])} ranges for {len(names)} activations"
        )
    name_of = dict(zip(quantization["limits"], names, strict=True))
    limits = {name_of[old]: (low, high) for old, (low, high) in quantization["limits"].items()}
    factors = {name_of[old]: values for old, values in quantization["factors"].items()}
    return equalize(graph, factors), Ranges(limits=limits, fixed=fixed)
