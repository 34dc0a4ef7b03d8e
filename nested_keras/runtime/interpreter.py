"""The one loop over the operators of a `Program`: runner, verification and profiling share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nested_keras.tflite import operators
from nested_keras.tflite.program import Op, Program

Array: TypeAlias = npt.NDArray[Any]


def run(
    program: Program,
    inputs: Sequence[Array],
    level: int,
    *,
    on_op: Callable[[Op, Array], None] | None = None,
) -> tuple[Array, ...]:
    """Runs every operator of a program in NumPy, in order.

    Args:
        program: The prepared graph.
        inputs: One array per graph input, of the program's own types. Their first axis is the
            program's own batch size, or any other where the program is a batch of independent
            samples.
        level: Nested level, 0 .. levels - 1.
        on_op: Called after each operator with the operator and its output.

    Returns:
        One array per graph output.
    """
    values = {index: t.data for index, t in enumerate(program.tensors) if t.data is not None}
    values.update(zip(program.inputs, inputs, strict=True))
    batch = len(inputs[0])
    own_batch = program.tensors[program.inputs[0]].shape[0]
    for op in program.ops:
        (output,) = op.outputs
        shape = program.tensors[output].shape
        if batch != own_batch:
            shape = (batch, *shape[1:])
        values[output] = operators.run_op(op, [values[index] for index in op.inputs], shape, level)
        if on_op is not None:
            on_op(op, values[output])
    return tuple(np.asarray(values[index]) for index in program.outputs)
