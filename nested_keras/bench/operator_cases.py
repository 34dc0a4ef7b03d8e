"""Int8 operators without weights, in the sizes of ResNet-8, to keep an eye on their share."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.int8.softmax import softmax_parameters
from nested_keras.tflite import operators, program
from nested_keras.typing import Int8Array

Shape = tuple[int, int, int, int]

_NO_CLAMP = {"activation_min": -128, "activation_max": 127}
_LEFT_SHIFT = 20  # TFLite's constant for int8 additions


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """One call of an operator.

    Attributes:
        label: The name in the table.
        op: The prepared operator.
        inputs: int8, one or two.
        y: int8, from the NumPy reference.
    """

    label: str
    op: program.Op
    inputs: tuple[Int8Array, ...]
    y: Int8Array

    @property
    def title(self) -> str:
        """The name in error messages."""
        return self.label


@functools.cache
def operator_cases() -> tuple[OperatorCase, ...]:
    """All operators to measure, which are the operators that CMSIS-NN has too."""
    window = {"filter_h": 2, "filter_w": 2, "stride_h": 2, "stride_w": 2, "pad_top": 0}
    window |= {"pad_left": 0, **_NO_CLAMP}
    whole = window | {"filter_h": 8, "filter_w": 8, "stride_h": 8, "stride_w": 8}
    add = _op(operators.Add, **_add_parameters(0.0497, 0.0312, 0.0611))
    return (
        _case("add 16ch @32x32", add, (1, 32, 32, 16), (1, 32, 32, 16), inputs=2),
        _case("add 64ch @8x8", add, (1, 8, 8, 64), (1, 8, 8, 64), inputs=2),
        _case(
            "average pool 8x8 64ch",
            _op(operators.AveragePool2D, **whole),
            (1, 8, 8, 64),
            (1, 1, 1, 64),
        ),
        _case(
            "average pool 2x2 32ch @16x16",
            _op(operators.AveragePool2D, **window),
            (1, 16, 16, 32),
            (1, 8, 8, 32),
        ),
        _case(
            "max pool 2x2 32ch @16x16",
            _op(operators.MaxPool2D, **window),
            (1, 16, 16, 32),
            (1, 8, 8, 32),
        ),
        _case("softmax 10", _softmax(), (1, 1, 1, 10), (1, 1, 1, 10)),
        _case("softmax 100", _softmax(), (1, 1, 1, 100), (1, 1, 1, 100)),
    )


def _op(kind: type[program.Op], **fields: Any) -> program.Op:
    return kind(name="", inputs=(), outputs=(), **fields)


def _softmax() -> program.Op:
    multiplier, left_shift, diff_min = softmax_parameters(1.0, 0.1)
    return _op(
        operators.Softmax,
        input_multiplier=multiplier,
        input_left_shift=left_shift,
        diff_min=diff_min,
    )


def _add_parameters(scale1: float, scale2: float, output_scale: float) -> dict[str, int]:
    """TFLite's int8 rule: both inputs are converted to twice the larger scale."""
    common = 2 * max(scale1, scale2)
    input1 = quantize_multiplier(scale1 / common)
    input2 = quantize_multiplier(scale2 / common)
    output = quantize_multiplier(common / (output_scale * 2**_LEFT_SHIFT))
    return {
        "left_shift": _LEFT_SHIFT,
        "input1_offset": 3,
        "input1_multiplier": input1[0],
        "input1_shift": input1[1],
        "input2_offset": -5,
        "input2_multiplier": input2[0],
        "input2_shift": input2[1],
        "output_offset": -7,
        "output_multiplier": output[0],
        "output_shift": output[1],
        **_NO_CLAMP,
    }


def _case(
    label: str, op: program.Op, shape: Shape, output_shape: Shape, *, inputs: int = 1
) -> OperatorCase:
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    arrays = tuple(rng.integers(-128, 128, shape, dtype=np.int8) for _ in range(inputs))
    return OperatorCase(label, op, arrays, operators.run_op(op, arrays, output_shape))
