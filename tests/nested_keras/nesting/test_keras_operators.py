"""Operators between layers: each becomes layers that compute the same, or is refused by name."""

import keras
import numpy as np
import pytest

from nested_keras.export import compare, forward
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.nesting import keras_operators, model, shape_layers
from tests.nested_keras import nets

L = keras.layers
A = keras.activations
ops = keras.ops

# By the class of the operator: calls on two tensors of [batch, 6, 6, 4].
CALLS = {
    "Add": [
        lambda x, y: x + y,
        lambda x, y: x + 3.0,
        lambda x, y: ops.add(np.arange(4.0, dtype="float32"), x),
        lambda x, y: x + ops.ones((1, 1, 1, 4)),
        lambda x, y: x + np.linspace(-1, 1, 144, dtype="float32").reshape(6, 6, 4),
        lambda x, y: ops.reshape(x, (-1, 36, 4)) + np.arange(36.0, dtype="float32")[:, None],
        lambda x, y: x + x,
        lambda x, y: x + ops.mean(y, (1, 2), keepdims=True),
    ],
    "Subtract": [
        lambda x, y: x - y,
        lambda x, y: x - 2,
        lambda x, y: 1.5 - x,
        lambda x, y: ops.reshape(ops.linspace(0.0, 2.0, 6), (6, 1, 1)) - x,
    ],
    "Multiply": [
        lambda x, y: x * y,
        lambda x, y: 0.5 * x,
        lambda x, y: x * np.array([1.0, -2.0, 0.5, 3.0], "float32"),
        lambda x, y: x * np.linspace(-1, 1, 36, dtype="float32").reshape(1, 6, 6, 1),
    ],
    "Divide": [
        lambda x, y: ops.divide(x, 4),
        lambda x, y: ops.divide(np.arange(4.0, dtype="float32"), 0.5 + ops.relu(x)),
    ],
    "TrueDivide": [
        lambda x, y: x / 6.0,
        lambda x, y: x / np.arange(1.0, 5.0, dtype="float32"),
        lambda x, y: x / ops.reshape(ops.linspace(1.0, 3.0, 24), (6, 4)),
        lambda x, y: x / (1.0 + ops.abs(y)),
        lambda x, y: x / (0.5 + ops.mean(ops.abs(y), (1, 2), keepdims=True)),
        lambda x, y: 2.0 / (0.5 + ops.relu(x)),
    ],
    "Arctan": [lambda x, y: ops.arctan(x)],
    "Ceil": [lambda x, y: ops.ceil(3.0 * x)],
    "Cos": [lambda x, y: ops.cos(x)],
    "Erf": [lambda x, y: ops.erf(x)],
    "Floor": [lambda x, y: ops.floor(3.0 * x)],
    "Sign": [lambda x, y: ops.sign(x)],
    "Sin": [lambda x, y: ops.sin(x)],
    "Expm1": [lambda x, y: ops.expm1(x)],
    "Log": [lambda x, y: ops.log(0.01 + ops.relu(x))],
    "Log10": [lambda x, y: ops.log10(0.01 + ops.relu(x))],
    "Log1p": [lambda x, y: ops.log1p(ops.relu(x))],
    "Log2": [lambda x, y: ops.log2(0.01 + ops.relu(x))],
    "Reciprocal": [lambda x, y: ops.reciprocal(1.0 + ops.abs(x))],
    "Rsqrt": [lambda x, y: ops.rsqrt(0.01 + ops.relu(x))],
    "Sqrt": [lambda x, y: ops.sqrt(ops.relu(x)), lambda x, y: ops.sqrt(ops.square(x) + 0.1)],
    "Negative": [lambda x, y: -x],
    "Absolute": [lambda x, y: abs(x)],
    "Square": [lambda x, y: ops.square(x)],
    "Power": [
        lambda x, y: x**2,
        lambda x, y: x**3.0,
        lambda x, y: x**1,
        lambda x, y: ops.relu(x) ** 0.5,
        lambda x, y: (1.0 + ops.relu(x)) ** -0.5,
        lambda x, y: (1.0 + ops.relu(x)) ** -1,
    ],
    "Maximum": [
        lambda x, y: ops.maximum(x, y),
        lambda x, y: ops.maximum(x, 0.0),
        lambda x, y: ops.maximum(0.3, x),
        lambda x, y: ops.maximum(x, np.array([0.0, -0.2, 0.3, 1.0], "float32")),
        lambda x, y: ops.maximum(ops.reshape(ops.linspace(-1.0, 1.0, 6), (6, 1)), x),
    ],
    "Minimum": [
        lambda x, y: ops.minimum(x, y),
        lambda x, y: ops.minimum(x, -0.2),
        lambda x, y: ops.minimum(np.array([0.0, -0.2, 0.3, 1.0], "float32"), x),
    ],
    "Clip": [
        lambda x, y: ops.clip(x, 0, 6),
        lambda x, y: ops.clip(x, 0.0, 0.7),
        lambda x, y: ops.clip(x, -0.5, 0.7),
        lambda x, y: ops.clip(x, -0.5, float("inf")),
        lambda x, y: ops.clip(x, float("-inf"), float("inf")),
    ],
    "Cast": [lambda x, y: ops.cast(x, "float32")],
    "ConvertToTensor": [lambda x, y: ops.convert_to_tensor(x)],
    "Copy": [lambda x, y: ops.copy(x)],
    "Relu": [lambda x, y: ops.relu(x)],
    "Relu6": [lambda x, y: ops.relu6(6.0 * x)],
    "ReLU": [
        lambda x, y: A.relu(x),
        lambda x, y: A.relu(x, negative_slope=0.3),
        lambda x, y: A.relu(x, max_value=6.0),
    ],
    "LeakyRelu": [lambda x, y: ops.leaky_relu(x), lambda x, y: A.leaky_relu(x, 0.1)],
    "Sigmoid": [lambda x, y: A.sigmoid(x)],
    "Silu": [lambda x, y: ops.silu(x)],
    "Tanh": [lambda x, y: ops.tanh(x)],
    "HardSilu": [lambda x, y: ops.hard_silu(x)],
    "Softmax": [lambda x, y: ops.softmax(x), lambda x, y: ops.softmax(y, axis=3)],
    "Elu": [lambda x, y: ops.elu(x), lambda x, y: A.elu(x, 0.7)],
    "Exp": [lambda x, y: ops.exp(x)],
    "Gelu": [lambda x, y: ops.gelu(x), lambda x, y: A.gelu(x)],
    "Celu": [lambda x, y: ops.celu(x)],
    "HardShrink": [lambda x, y: ops.hard_shrink(x)],
    "SoftShrink": [lambda x, y: ops.soft_shrink(x)],
    "Squareplus": [lambda x, y: ops.squareplus(x)],
    "HardTanh": [lambda x, y: ops.hard_tanh(x)],
    "LogSigmoid": [lambda x, y: ops.log_sigmoid(x)],
    "SparsePlus": [lambda x, y: ops.sparse_plus(x)],
    "SparseSigmoid": [lambda x, y: ops.sparse_sigmoid(x)],
    "TanhShrink": [lambda x, y: ops.tanh_shrink(x)],
    "HardSigmoid": [lambda x, y: A.hard_sigmoid(x)],
    "Selu": [lambda x, y: ops.selu(x)],
    "Softplus": [lambda x, y: ops.softplus(x)],
    "Softsign": [lambda x, y: ops.softsign(x)],
    "Concatenate": [
        lambda x, y: ops.concatenate([x, y], -1),
        lambda x, y: ops.concatenate((y, x, y), axis=1),
    ],
    "Stack": [lambda x, y: ops.stack([ops.mean(x, (1, 2)), ops.mean(y, (1, 2))], axis=1)],
    "Tile": [
        lambda x, y: ops.tile(x, (1, 1, 1, 2)),
        lambda x, y: ops.tile(ops.mean(x, (1, 2), keepdims=True), (1, 6, 3, 1)),
        lambda x, y: ops.tile(x, 2),
        lambda x, y: ops.tile(x, (1, 1)),
    ],
    "ExpandDims": [lambda x, y: ops.expand_dims(ops.mean(x, (1, 2)), 1)],
    "Reshape": [lambda x, y: ops.reshape(x, (-1, 36, 4)), lambda x, y: ops.reshape(x, (-1, 144))],
    "Squeeze": [lambda x, y: ops.squeeze(ops.mean(x, 1, keepdims=True), 1)],
    "Transpose": [lambda x, y: ops.transpose(x, (0, 3, 1, 2))],
    "Swapaxes": [lambda x, y: ops.swapaxes(x, 1, 3)],
    "Moveaxis": [lambda x, y: ops.moveaxis(x, -1, 1)],
    "Flip": [lambda x, y: ops.flip(x, 2), lambda x, y: ops.flip(x, (1, -1))],
    "Resize": [
        lambda x, y: ops.image.resize(x, (12, 18)),
        lambda x, y: ops.image.resize(x, (12, 6), "nearest"),
    ],
    "Pad": [
        lambda x, y: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
        lambda x, y: ops.pad(x, [[0, 0], [1, 0], [0, 0], [2, 1]], constant_values=0.0),
    ],
    "GetItem": [
        lambda x, y: x[:, 1:, :],
        lambda x, y: x[:, ::2, 1:-1:3],
        lambda x, y: x[..., :2],
        lambda x, y: x[..., -1],
        lambda x, y: x[:, 0],
        lambda x, y: x[:, -1, 2:4, 1],
        lambda x, y: x[:, :, :, 1:3],
        lambda x, y: x[:, :4, None],
        lambda x, y: x[:, ::-1, 4:1:-2],
    ],
    "Split": [
        lambda x, y: ops.split(x, 2, axis=-1),
        lambda x, y: ops.split(x, [1, 4], axis=1)[1],
    ],
    "Mean": [
        lambda x, y: ops.mean(x, axis=(1, 2)),
        lambda x, y: ops.mean(x, axis=[-2, -3], keepdims=True),
        lambda x, y: ops.mean(x, 1),
        lambda x, y: ops.mean(x, 2, keepdims=True),
        lambda x, y: ops.mean(x, -1, keepdims=True),
        lambda x, y: ops.mean(x, (2, 3)),
        lambda x, y: ops.mean(x, (3, 1, 2)),
        lambda x, y: ops.mean(ops.reshape(x, (-1, 36, 4)), axis=2),
    ],
    "Max": [
        lambda x, y: ops.max(x, (1, 2)),
        lambda x, y: ops.max(x, 2),
        lambda x, y: ops.max(x, -1, keepdims=True),
        lambda x, y: ops.max(ops.reshape(x, (-1, 3, 12, 2, 2)), (2, 3)),
        lambda x, y: ops.max(ops.reshape(x, (-1, 144)), -1),
    ],
    "Amax": [lambda x, y: ops.amax(x, (1, 2), keepdims=True)],
    "Sum": [
        lambda x, y: ops.sum(x, (1, 2)),
        lambda x, y: ops.sum(x, (2, 1), keepdims=True),
        lambda x, y: ops.sum(x, -1),
    ],
    "Min": [
        lambda x, y: ops.min(x, (1, 2)),
        lambda x, y: ops.min(x, 2, keepdims=True),
        lambda x, y: ops.min(ops.reshape(x, (-1, 36, 4)), -1),
    ],
    "Amin": [lambda x, y: ops.amin(x, 1)],
    "MaxPool": [
        lambda x, y: ops.max_pool(x, 2),
        lambda x, y: ops.max_pool(x, 3, 1, "same"),
        lambda x, y: ops.max_pool(ops.reshape(x, (-1, 36, 4)), 3, 2, "same"),
    ],
    "AveragePool": [
        lambda x, y: ops.average_pool(x, (2, 3), 2, "valid"),
        lambda x, y: ops.average_pool(ops.reshape(x, (-1, 36, 4)), 2),
    ],
}

if hasattr(ops, "depth_to_space"):  # since Keras 3.15
    CALLS["DepthToSpace"] = [lambda x, y: ops.depth_to_space(x, 2)]
    CALLS["SpaceToDepth"] = [lambda x, y: ops.space_to_depth(x, 3)]


def base_of(*calls):
    inputs = keras.Input((6, 6, 3))
    x, y = (L.Conv2D(4, 1, name=name)(inputs) for name in ("a", "b"))
    outputs = keras.tree.flatten([call(x, y) for call in calls])
    return nets.randomise(keras.Model(inputs, outputs), seed=0)


def kinds_of(base):
    return {type(each).__name__ for each in base.operations if not isinstance(each, L.Layer)}


@pytest.mark.parametrize("kind", CALLS)
def test_nest_and_export_compute_what_the_operator_does(kind):
    base = base_of(*CALLS[kind])
    assert kind in kinds_of(base)
    nested = model.nest(base, (0.5,), exclude=())
    assert not kinds_of(nested)
    data = nets.images(4)
    graph = fold(trace(nested))
    compare.compare(nested, graph, (data,))
    received = forward.run(graph, [data], forward.level_parameters(0), lambda _, value: value)
    for got, want in zip(received, keras.tree.flatten(base(data)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def on_series(x, y):
    x = ops.pad(x[:, ::-1], ((0, 0), (1, 0), (0, 2)))
    a, b = ops.split(x[:, 1:], 2, axis=-1)
    x = ops.concatenate([ops.relu(a), b[..., ::-1], y], axis=-1)
    return [
        ops.max(x, 1),
        ops.mean(x, 1, keepdims=True),
        ops.stack([a[:, 0], b[:, -1]], 2),
        x[:, 2],
    ]


def test_operators_on_series():
    inputs = keras.Input((8, 3))
    x, y = (L.Conv1D(4, 1)(inputs) for _ in range(2))
    base = nets.randomise(keras.Model(inputs, on_series(x, y)), seed=0)
    nested = model.nest(base, (0.5,), exclude=())
    data = nets.images(4, (8, 3))
    graph = fold(trace(nested))
    compare.compare(nested, graph, (data,))
    received = forward.run(graph, [data], forward.level_parameters(0), lambda _, value: value)
    for got, want in zip(received, base(data), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_every_operator_is_tried():
    # Not in every version of Keras.
    known = {"Abs", "DepthToSpace", "SpaceToDepth"}
    assert set(keras_operators.OPERATORS) - set(CALLS) <= known


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: x / 0.0, "must not divide by zero: got 0.0"),
        (lambda x, y: x**7, r"\(Power\) .* exponents -1, .*, 3 \(multiply .*: got 7.0"),
        (lambda x, y: x ** np.full(x.shape[-1], 2.0), r"\(Power\) .* exponents .*: got several"),
        (lambda x, y: 2.0**x, r"\(Power\) .* exponents -1, .*, 3 \(multiply .*: got a tensor"),
        (
            lambda x, y: ops.tile(x, (2, 1, 1, 1)),
            r"\(Tile\) .* must leave the batch .*\(2, 1, 1, 1\)",
        ),
        (lambda x, y: ops.tile(x, (1, 2, 1, 1, 1)), "the number of axes as they are: got"),
        (
            lambda x, y: ops.mean(x, (1, 2), keepdims=True) + np.ones((6, 6, 4)),
            r"broadcasts to the tensor's shape \(None, 1, 1, 4\): got an array of .*\(6, 6, 4\)",
        ),
        (lambda x, y: abs(x[..., None]), "at most 3 axes beside the batch: got 4"),
        (lambda x, y: ops.stack([x, y], 1), "at most 3 axes beside the batch: got 4"),
        (lambda x, y: x[:, None] * y[:, None], "at most 3 axes beside the batch: got 4"),
        (lambda x, y: x + keras.Variable(1.0), "tensors or numbers as operands: got Variable"),
        (
            lambda x, y: x + ops.mean(y, (1, 2)),
            "operands of equal numbers of dimensions: got shapes",
        ),
        (lambda x, y: ops.clip(x, np.ones(4), 2.0), "one number as a constant: got several"),
        (lambda x, y: ops.clip(x, 2, 1), "must have a range: got 2.0 to 1.0"),
        (lambda x, y: ops.softmax(x, axis=1), r"\(Softmax\) .* axis, the last one: got 1"),
        (lambda x, y: ops.softmax(x, (1, 2)), r"\(Softmax\) .* the last one: got \(1, 2\)"),
        (lambda x, y: ops.max_pool(ops.max(x, 1)[..., None, None], 1), "pool 3 or 4 dim.*: got 5"),
        (lambda x, y: ops.concatenate([x, y], 0), "axis, not the axis of the batch: got 0"),
        (lambda x, y: ops.reshape(x, (-1, 4)), r"keep the batch apart.*\(None, 6, 6, 4\) to"),
        (
            lambda x, y: ops.mean(x, (1, 3)),
            r"neighbouring axes behind the batch.*got axis \(1, 3\)",
        ),
        (lambda x, y: ops.mean(x), "neighbouring axes behind the batch.*got axis None"),
        (lambda x, y: ops.sum(x, 0), r"neighbouring axes behind the batch.*got axis \[0\]"),
        (lambda x, y: ops.max(x, (1, 2), initial=0.0), "no initial value: got 0.0"),
        (lambda x, y: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect"), "mode='reflect'"),
        (lambda x, y: ops.pad(x, 1), r"4 pairs of sizes, zeros for the batch: got \(\(1, 1\),\)"),
        (lambda x, y: x[:1, :], "leave the axis of the batch whole"),
        (lambda x, y: x[:2, :], "leave the axis of the batch whole"),
        (lambda x, y: x[None, :], "leave the axis of the batch whole"),
        (lambda x, y: ops.transpose(x, (3, 1, 2, 0)), "the batch the first one"),
        (lambda x, y: ops.cast(x, "int32"), r"\(Cast\) .* in a float dtype: got int32"),
        (lambda x, y: ops.flip(x, 0), "not the axis of the batch: got 0"),
        (lambda x, y: ops.flip(x), "not the axis of the batch: got None"),
        (lambda x, y: ops.image.resize(x, (9, 6)), r"whole factors: got \(6, 6\) to \(9, 6\)"),
        (lambda x, y: ops.image.resize(x, (12, 12), "bicubic"), "interpolation 'nearest' or"),
        (lambda x, y: ops.image.resize(x, (12, 9000)), "read outside of the image"),
        (lambda x, y: ops.tan(x), r"\(Tan\) .* is not supported: use"),
        (lambda x, y: ops.celu(x, 0.5), r"\(Celu\) .* must have alpha=1.0: got 0.5"),
        (
            lambda x, y: ops.einsum("bhwc,bhwd->bcd", x, y),
            r"\(Einsum\) .* is not supported: use",
        ),
    ],
)
def test_other_operators_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=f"^operator '.*' .*{message}") as refusal:
        model.nest(base_of(call), exclude=())
    assert len(str(refusal.value)) < 300


def test_functions_of_keras_ops_save_and_load(tmp_path):
    inputs = x = keras.Input((6, 6, 3))
    for function in (ops.gelu, ops.erf, ops.sin, ops.silu):
        x = ops.relu(L.Conv2D(4, 1, activation=function)(ops.gelu(L.Conv2D(4, 1)(x)) + 2.0))
    base = nets.randomise(keras.Model(inputs, x), seed=0)
    nested = model.nest(base, (0.5,), exclude=())
    nested.save(tmp_path / "model.keras")
    data = nets.images(3)
    np.testing.assert_allclose(nested(data), base(data), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.load_model(tmp_path / "model.keras")(data), nested(data))


def test_an_operator_of_the_user_s_is_refused():
    class Add(keras.Operation):
        def call(self, x1, x2):
            return x1 - x2

        def compute_output_spec(self, x1, x2):
            return keras.KerasTensor(x1.shape, x1.dtype)

    with pytest.raises(ValueError, match=r"operator 'add.*' \(Add\) .* not supported"):
        model.nest(base_of(lambda x, y: Add()(x, y)), exclude=())


def block():
    """A sub-model with operators, called on two inputs."""
    x = keras.Input((6, 6, 4))
    y = ops.relu(0.5 * x + np.arange(4.0, dtype="float32"))
    return keras.Model(x, ops.concatenate([y[:, ::2, ::2], ops.max_pool(x, 2)], -1), name="block")


def test_operators_of_shared_sub_models_save_and_load(tmp_path):
    shared = block()
    base = base_of(lambda x, y: shared(x) + shared(y), lambda x, y: ops.split(shared(x), 3, 1)[1])
    nested = model.nest(base, (0.5,), exclude=())
    names = [layer.name for layer in nested.layers]
    assert len(set(names)) == len(names)
    data = nets.images(3)
    nested.save(tmp_path / "model.keras")
    loaded = model.load_model(tmp_path / "model.keras")
    for got, again, want in zip(nested(data), loaded(data), base(data), strict=True):
        np.testing.assert_array_equal(again, got)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_model_whose_operators_keras_has_cloned_nests():
    base = base_of(lambda x, y: ops.relu(x + 2.0 * y))
    clone = keras.models.clone_model(base)
    clone.set_weights(base.get_weights())
    data = nets.images(3)
    for each in (base, clone):
        np.testing.assert_allclose(model.nest(each, exclude=())(data), base(data), rtol=1e-5)


def test_half_precision_stays():
    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(4, 1, dtype="mixed_float16")(inputs)
    base = keras.Model(inputs, ops.mean(ops.relu(2.0 * x)[:, 1:], (1, 2)))
    nested = model.nest(base, (0.5,), exclude=())
    assert nested.output.dtype == base.output.dtype == "float16"


def test_the_layers_have_the_names_of_their_operators():
    base = base_of(lambda x, y: ops.clip(x, 1.0, 2.0))
    (operator,) = (each.name for each in base.operations if not isinstance(each, L.Layer))
    nested = model.nest(base, (0.5,), exclude=())
    assert [layer.name for layer in nested.layers if operator in layer.name] == [
        f"{operator}_before",
        f"{operator}_relu",
        operator,
    ]


@pytest.mark.parametrize(
    "layer",
    [
        shape_layers.Slice([[None, 2, None], [None, None, 2]]),
        shape_layers.PadAxes([[0, 1], [2, 0]]),
    ],
)
def test_layers_of_shapes_are_made_again_from_their_config(layer):
    x = np.arange(24.0, dtype="float32").reshape(2, 4, 3)
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(again(x), layer(x))
    assert tuple(layer(keras.KerasTensor((None, 4, 3))).shape[1:]) == layer(x).shape[1:]
