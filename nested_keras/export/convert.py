"""Run the plain twin of the densest level through TensorFlow's converter.

The converter never sees a nested layer. The converter gets the folded graph with the weights of the
densest level, and a fake-quantisation node wherever an activation has a range of its own. The
converter then uses exactly these ranges. The result is a usable dense int8 model.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nested_keras import native_output
from nested_keras.export import forward, placeholders
from nested_keras.export.calibrate import Ranges
from nested_keras.export.export_errors import ExportError
from nested_keras.export.nodes import Graph, Linear
from nested_keras.export.tensor_names import input_name
from nested_keras.typing import FloatArray, KerasTensor

# Multiples of this number set filters of zeros apart, which a factor cannot do (`twin_gains`), and
# are zero in int8. The converter merges equal operators, and equal filters of different kinds.
_ALMOST_ZERO = 1e-30


def convert(graph: Graph, *, ranges: Ranges, twin_gain: Mapping[str, FloatArray]) -> bytes:
    """Converts the densest level to an int8 .tflite with static shapes.

    Args:
        graph: The folded graph.
        ranges: Quantisation of the activations.
        twin_gain: For each linear node, factors for its filter, float64 [O].

    Returns:
        The converter's bytes; inputs are named `input_0`, `input_1`, ...

    Raises:
        ExportError: The converter refuses the graph.
    """
    places = {node.name: place for place, node in enumerate(graph.linear_nodes())}

    def parameters(node: Linear) -> tuple[FloatArray, FloatArray]:
        gain = twin_gain[node.name].reshape(-1, 1, 1, 1)
        weights = node.masked_filter(graph.levels - 1) * gain
        if not weights.any():
            weights[:] = _ALMOST_ZERO * (1 + places[node.name])
        return weights, _not_all_equal(node.bias[-1])

    plain = placeholders.with_placeholders(graph)

    def twin(*inputs: KerasTensor) -> tuple[Any, ...]:
        return forward.run(plain, inputs, parameters, ranges.fake_quantize)

    shapes = [graph.nodes[name].shape for name in graph.inputs]
    specs = [tf.TensorSpec(s, tf.float32, name=input_name(i)) for i, s in enumerate(shapes)]
    function = tf.function(twin, autograph=False)

    def zeros() -> Iterator[list[Any]]:
        # The converter asks for one example although every range is given.
        yield [np.zeros(shape, np.float32) for shape in shapes]

    # All weights are constants of the function, so no variable must be tracked.
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(*specs)], trackable_obj=function
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = zeros
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with warnings.catch_warnings(), native_output.without_notes():
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
        try:
            return bytes(converter.convert())
        except Exception as error:  # The converter raises whatever its passes raise.
            raise ExportError(f"TensorFlow's converter refused the model: {error}") from error


def _not_all_equal(bias: FloatArray) -> FloatArray:
    """Returns a bias whose values differ by a rounding at least.

    The converter would quantise equal values with the scale of the first channel alone.
    """
    if bias.size == 1 or not bias[0] or (bias != bias[0]).any():
        return bias
    return np.append(np.nextafter(np.float32(bias[0]), np.float32(0)), bias[1:])
