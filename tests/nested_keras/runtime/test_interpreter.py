"""The one loop over the operators of a program."""

from __future__ import annotations

import numpy as np

from nested_keras.runtime import interpreter, lower
from nested_keras.tflite.program import Program
from tests.nested_keras.runtime.oracle import Draw
from tests.nested_keras.tflite.tflite_builder import ModelBuilder


def program_of_two() -> Program:
    """RELU, then ADD of its result and the input."""
    builder = ModelBuilder()
    x, rectified, y = (builder.tensor((1, 4), scale=0.5, name=name) for name in ("x", "r", "y"))
    builder.op("RELU", [x], [rectified])
    builder.op("ADD", [rectified, x], [y], "AddOptions")
    return lower(builder.build([x], [y]))


def test_every_operator_is_shown_with_its_output() -> None:
    shown = []
    x = np.array([[1, -2, 3, -4]], np.int8)
    (y,) = interpreter.run(
        program_of_two(), [x], 0, on_op=lambda op, output: shown.append((op.name, output.tolist()))
    )
    assert shown == [("r", [[1, 0, 3, 0]]), ("y", [[2, -2, 6, -4]])]
    assert y.tolist() == shown[-1][1]


def test_a_larger_batch_gives_what_its_samples_give() -> None:
    program, x = program_of_two(), Draw(0).int8(5, 4)
    (whole,) = interpreter.run(program, [x], 0)
    singles = [interpreter.run(program, [x[i : i + 1]], 0)[0] for i in range(5)]
    np.testing.assert_array_equal(whole, np.concatenate(singles))
