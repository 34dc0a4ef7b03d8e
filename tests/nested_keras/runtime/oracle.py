"""TFLite's reference kernels as the oracle, and the comparison with the NumPy reference."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from nested_keras.runtime import ReferenceModel, interpreter, lower
from tests.tflm_ops.library import Library

EVERY_INT8 = np.arange(-128, 128).astype(np.int8).reshape(1, 256)


def run_litert(model: bytes, *inputs: np.ndarray) -> np.ndarray:
    """Output of a builtin-only model in LiteRT with its reference kernels."""
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def assert_exact(model: bytes, *inputs: np.ndarray, label: object = None) -> np.ndarray:
    """The NumPy reference gives LiteRT's output bit for bit; returns it."""
    expected = run_litert(model, *inputs)
    actual = ReferenceModel(model).run(list(inputs))
    np.testing.assert_array_equal(actual, expected, err_msg=f"case {label}", strict=True)
    return expected


def output_size(size: int, *, kernel: int, stride: int, dilation: int, same: bool) -> int:
    """Pixels of the output along one axis, with SAME or VALID padding."""
    extent = (kernel - 1) * dilation + 1
    return -(-size // stride) if same else (size - extent) // stride + 1


def assert_exact_in_c(nk: Library, model: bytes, *inputs: np.ndarray) -> None:
    """The C kernel of a model of one operator gives the NumPy reference's output bit for bit."""
    program = lower(model)
    (op,) = program.ops
    (expected,) = interpreter.run(program, inputs, 0)
    values = dict(zip(program.inputs, inputs, strict=True))
    operands = [values.get(index, program.tensors[index].data) for index in op.inputs]
    np.testing.assert_array_equal(nk.run_op(op, operands, expected.shape), expected, strict=True)


class Draw:
    """Seeded random quantisation parameters and tensors for parameter grids."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def scale(self, low: float = 0.007, high: float = 2.7) -> float:
        """A float32 scale, log-uniform."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def point(self) -> int:
        """A zero point in -128..127."""
        return int(self.rng.integers(-128, 128))

    def int8(self, *shape: int) -> np.ndarray:
        """Uniform int8 values."""
        return self.rng.integers(-128, 128, shape).astype(np.int8)

    def below(self, high: int, low: int = 1) -> int:
        """An integer in low..high-1."""
        return int(self.rng.integers(low, high))

    def flag(self) -> bool:
        """True or False."""
        return bool(self.rng.integers(2))

    def fused(self) -> int:
        """No fused activation, RELU, RELU_N1_TO_1 or RELU6."""
        return int(self.rng.integers(4))
