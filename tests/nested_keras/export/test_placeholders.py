"""Functions of each value alone become one INT8_LOOKUP each, rounded once; PReLU stays PRELU."""

import keras
import numpy as np
import pytest

import nested_keras
from nested_keras import export
from nested_keras.runtime import LiteRTModel, ReferenceModel, lower
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.operators import Lookup

L = keras.layers
pytestmark = pytest.mark.slow
FUNCTIONS = ("silu", "gelu", "selu", "exponential", "squareplus", "hard_tanh", "soft_shrink")


def exported(activations, x):
    """The model of a convolution and functions one after the other, and its operators' names."""
    image = keras.Input((3, 3, 2))
    outputs = [L.Activation(each)(L.Conv2D(4, 1)(image)) for each in activations]
    nested = nested_keras.nest(keras.Model(image, outputs), (0.5,), exclude=())
    nested.prune()
    tflite = export.to_tflite(nested, representative_dataset=x)
    names = [operator.kind for operator in read_graph(flatbuffer.load(tflite)).operators]
    return nested, tflite, names


def test_each_function_is_one_operator_that_is_right_to_half_a_step():
    x = np.random.default_rng(0).normal(size=(64, 3, 3, 2)).astype(np.float32)
    _, tflite, names = exported(FUNCTIONS, x)
    assert sorted(names) == ["INT8_LOOKUP"] * len(FUNCTIONS) + ["NESTED_SPARSE_CONV"] * len(
        FUNCTIONS
    )
    program = lower(tflite)
    tables = {op.outputs[0]: op for op in program.ops if isinstance(op, Lookup)}
    for name, output in zip(FUNCTIONS, program.outputs, strict=True):
        op, y = tables[output], program.tensors[output]
        (x_index,) = op.inputs
        source = program.tensors[x_index]
        values = (np.arange(-128, 128) - source.zero_point).astype(np.float32) * source.scale
        want = np.asarray(getattr(keras.activations, name)(values))
        low, high = ((end - y.zero_point) * y.scale for end in (-128, 127))
        got = (op.table.astype(np.float64) - y.zero_point) * y.scale
        assert np.abs(np.clip(want, low, high) - got).max() <= 0.501 * y.scale, name


def test_functions_of_one_tensor_stay_apart():
    image = keras.Input((3, 3, 2))
    x = L.Conv2D(4, 1)(image)
    slopes = L.LeakyReLU(0.75)(x)
    outputs = [L.Activation("mish")(x), L.Activation("softplus")(x), L.ReLU(0.5)(x), slopes]
    nested = nested_keras.nest(keras.Model(image, outputs), (0.5,), exclude=())
    nested.prune()
    data = np.random.default_rng(0).normal(size=(64, 3, 3, 2)).astype(np.float32)
    model = ReferenceModel(export.to_tflite(nested, representative_dataset=data))
    for want, got, tensor in zip(nested(data), model.run(data), model.output_details, strict=True):
        real = (got.astype(np.float32) - tensor.zero_point) * tensor.scale
        assert np.abs(real - want).max() < 0.08 * np.ptp(want)


def test_functions_of_the_user_s_are_tables_under_any_name():
    def relu(x):  # by its name another function
        return keras.ops.clip(x, -0.3, 0.4)

    class Scaled:
        __hash__ = None

        def __call__(self, x):
            return x * keras.ops.sin(3.0 * x)

        def get_config(self):
            return {}

    x = np.random.default_rng(0).normal(size=(64, 3, 3, 2)).astype(np.float32)
    functions = (relu, Scaled(), lambda x: keras.ops.where(x > 0, x, 0.01 * x), keras.ops.cos)
    nested, tflite, names = exported(functions, x)
    assert sorted(names) == ["INT8_LOOKUP"] * 4 + ["NESTED_SPARSE_CONV"] * 4
    reference, litert = ReferenceModel(tflite), LiteRTModel(tflite)
    for want, got, same, tensor in zip(
        nested(x), reference.run(x), litert.run(x), reference.output_details, strict=True
    ):
        np.testing.assert_array_equal(got, same)
        real = (got.astype(np.float32) - tensor.zero_point) * tensor.scale
        assert np.abs(real - want).max() < 0.06 * np.ptp(want)
    export.quantize_aware(nested, representative_dataset=x)  # which traces the functions
    for want, got, tensor in zip(
        nested.at_level(0)(x), reference.run(x), reference.output_details, strict=True
    ):
        real = (got.astype(np.float32) - tensor.zero_point) * tensor.scale
        assert np.abs(real - want).max() < 0.06 * np.ptp(want)


@pytest.mark.parametrize("shared_axes", [None, [1, 2], [1, 2, 3]])
def test_a_prelu_stays_one_operator_whatever_reads_its_input(shared_axes):
    def prelu(mean):
        return L.PReLU(keras.initializers.RandomNormal(mean, 0.2, 0), shared_axes=shared_axes)

    image = keras.Input((3, 3, 2))
    x = L.Conv2D(4, 1)(image)
    outputs = [prelu(0.2)(x), L.ReLU()(x), prelu(-0.1)(x), prelu(0.0)(-x), keras.ops.relu(-x)]
    nested = nested_keras.nest(keras.Model(image, outputs), (0.5,), exclude=())
    nested.prune()
    data = np.random.default_rng(0).normal(size=(64, 3, 3, 2)).astype(np.float32)
    tflite = export.to_tflite(nested, representative_dataset=data)
    operators = [operator.kind for operator in read_graph(flatbuffer.load(tflite)).operators]
    assert operators.count("PRELU") == 3
    assert "NEG" not in operators
    model = ReferenceModel(tflite)
    for want, got, tensor in zip(nested(data), model.run(data), model.output_details, strict=True):
        real = (got.astype(np.float32) - tensor.zero_point) * tensor.scale
        assert np.abs(real - want).max() < 0.03 * np.ptp(want)
    for want, got in zip(model.run(data[:1]), LiteRTModel(tflite).run(data[:1]), strict=True):
        np.testing.assert_array_equal(want, got)
