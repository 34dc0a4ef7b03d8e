"""Compare every level of the nested file with the dense int8 model of the level, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nested_keras.export.export_errors import ExportError
from nested_keras.runtime import LiteRTModel, interpreter
from nested_keras.runtime.runner import as_input
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import Graph, read_graph
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.lowering import lower_graph, read_interface
from nested_keras.tflite.program import Program
from nested_keras.typing import Float32Array

# A few examples are enough, because the arithmetic does not depend on the data.
MAX_EXAMPLES = 8


def verify(
    nested: bytes,
    *,
    goldens: Iterable[Tree],
    data: tuple[Float32Array, ...],
) -> None:
    """Runs both files with LiteRT's reference kernels and compares all outputs at all levels.

    Args:
        nested: The nested .tflite, as written.
        goldens: The dense model of each level.
        data: Representative examples, one array [n, ...] per input; the first eight are used.

    Raises:
        ExportError: An output differs; the text names the level and the first layer that differs.
    """
    examples = tuple(array[:MAX_EXAMPLES] for array in data)
    graph = read_graph(flatbuffer.load(nested))
    model = LiteRTModel(nested, interface=read_interface(graph))
    for level, tree in enumerate(goldens):
        golden = read_graph(tree)
        dense_model = LiteRTModel(flatbuffer.save(tree), interface=read_interface(golden))
        expected = _as_tuple(dense_model.run(examples))
        received = _as_tuple(model.run(examples, level))
        for tensor, want, got in zip(model.output_details, expected, received, strict=True):
            wrong = int(np.count_nonzero(want != got))
            if wrong:
                where = _first_difference(graph, golden, level=level, examples=examples)
                raise ExportError(
                    f"level {level}: {wrong} of {want.size} values of output {tensor.name!r} "
                    f"differ from the dense model's, {where}"
                )


def _as_tuple(outputs: object) -> tuple[np.ndarray, ...]:
    return outputs if isinstance(outputs, tuple) else (np.asarray(outputs),)


def _first_difference(
    nested: Graph, golden: Graph, *, level: int, examples: tuple[Float32Array, ...]
) -> str:
    """Names the first layer whose output differs in the NumPy reference, example by example."""
    programs = lower_graph(nested), lower_graph(golden)
    for sample in range(len(examples[0])):
        inputs = [array[sample : sample + 1] for array in examples]
        traces = [_trace(program, inputs, level) for program in programs]
        for name, values in traces[0].items():
            if not np.array_equal(values, traces[1][name]):
                return f"first at layer {name!r}"
    return "while the NumPy reference finds them equal"


def _trace(program: Program, inputs: Sequence[np.ndarray], level: int) -> dict[str, np.ndarray]:
    """Every operator's output by name."""
    trace: dict[str, np.ndarray] = {}
    tensors = (program.tensors[index] for index in program.inputs)
    values = [as_input(x, tensor) for x, tensor in zip(inputs, tensors, strict=True)]
    interpreter.run(program, values, level, on_op=lambda op, y: trace.update({op.name: y}))
    return trace
