import keras
import numpy as np
import pytest

import nested_keras
from nested_keras.export import forward
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.moving_layers import Pad
from nested_keras.export.nodes import BatchNorm, Linear
from nested_keras.export.plain_layers import Binary, Extremum, Table, Unary
from nested_keras.format import LayerKind
from tests import zoo

pytestmark = pytest.mark.slow
L = keras.layers

NAMES = ("gammas_flipped", "residual_projection", "preactivation", "bn_after_relu", "mlp_bn_alone",
         "depthwise_multiplier", "dense_on_image", "shared", "squeeze_excite", "activations",
         "two_inputs", "two_outputs", "sequential", "conv_dilated", "padded",
         "squeeze_excite_by_rank", "called_twice", "extrema", "bounded_relu6", "functions", "front",
         "unet", "autoencoder",
         "transposed_uneven", "transposed_wide", "resnext", "pixel_shuffle", "every_layer",
         "series_activity", "series_causal", "series_keywords", "series_branches",
         "series_autoencoder",
         "operators", "sliced")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_folded_graph_computes_what_the_model_does(name):
    """To the accuracy of float32: the sums are the same but for their order."""
    made = zoo.make(name)
    model, data = made.model, made.data
    graph = fold(trace(model))
    assert not any(isinstance(node, BatchNorm) for node in graph.nodes.values())
    inputs = data if isinstance(data, list) else [data]
    for level in range(model.levels):
        expected = model.at_level(level)(data)
        expected = expected if isinstance(expected, list | tuple) else [expected]
        parameters = forward.level_parameters(level)
        received = forward.run(graph, inputs, parameters, lambda node, value: value)
        for want, got in zip(expected, received, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def functions_left(network):
    """Folds a network of two outputs; returns the functions that stay, after a check in float."""
    inputs = keras.Input((6, 6, 3))
    model = nested_keras.nest(keras.Model(inputs, network(inputs)), (0.5,), exclude=())
    graph = fold(trace(model))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    received = forward.run(graph, [x], forward.level_parameters(0), lambda node, value: value)
    for want, got in zip(model(x), received, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    return [node.function for node in graph.nodes.values() if isinstance(node, Unary | Table)]


@pytest.mark.parametrize(
    ("mover", "relu"),
    [  # behind a reshape it is a table, because the converter would move it
        (L.Cropping2D(1), "relu"),
        (L.Reshape((3, 12, 3)), keras.activations.relu),
        (L.Flatten(), keras.activations.relu),
    ],
)
def test_a_relu_stays_where_another_reads_the_pixels_that_are_moved(mover, relu):
    def network(x):
        x = L.BatchNormalization()(L.Conv2D(3, 1)(x))
        return L.ReLU()(mover(x)), L.Conv2D(2, 1)(x)

    assert functions_left(network) == [relu]


@pytest.mark.parametrize("mover", [L.Cropping2D(1), L.Reshape((3, 12, 3)), L.Flatten()])
@pytest.mark.parametrize("relu", [L.ReLU(), L.ReLU(6.0)])
def test_a_relu_moves_past_what_moves_pixels(mover, relu):
    def network(x):
        return relu(mover(L.BatchNormalization()(L.Conv2D(3, 1)(x)))), L.Conv2D(2, 1)(x)

    assert functions_left(network) == []


def test_convolution_batch_norm_and_relu_become_one_node():
    graph = fold(trace(zoo.make("conv3x3_same").model))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds == ["Input", "Linear", "Mean", "Linear", "Unary"]
    conv = graph.linear_nodes()[0]
    assert (conv.activation, conv.per_level) == ("relu", True)


def test_sum_takes_its_relu():
    (total,) = (n for n in fold(trace(zoo.make("residual_relu").model)).nodes.values()
                if isinstance(n, Binary))  # fmt: skip
    assert total.activation == "relu"


def test_a_maximum_leaves_its_relu_alone():
    """TFLite's MAXIMUM has no fused activation."""
    nodes = fold(trace(zoo.make("extrema").model)).nodes
    (relu,) = (n for n in nodes.values() if isinstance(n, Unary) and n.function == "relu")
    assert isinstance(nodes[relu.inputs[0]], Extremum)


def test_a_relu6_of_fixed_scale_is_left_out_or_becomes_a_relu():
    """TFLite Micro's RELU6 takes no other scale than that of its input."""
    graph = fold(trace(zoo.make("bounded_relu6").model))
    functions = [n.function for n in graph.nodes.values() if isinstance(n, Unary)]
    assert functions.count("relu6") == 2  # behind a concatenation of two scales
    assert functions.count("relu") == 1  # as the output; behind tanh and a pool it is a table
    assert graph.nodes[graph.outputs[0]].function == "relu"


def test_a_relu6_of_a_sigmoid_stays_where_both_are_outputs():
    """In a series a reshape stands between the relu6 and the output."""
    inputs = keras.Input((8, 2))
    y = L.Conv1D(3, 2, activation="sigmoid")(inputs)
    model = nested_keras.nest(keras.Model(inputs, [L.ReLU(6.0)(y), y]), exclude=())
    graph = fold(trace(model))
    sources = [graph.nodes[graph.nodes[name].inputs[0]] for name in graph.outputs]
    assert [node.function for node in sources] == ["relu", "sigmoid"]


def test_a_sum_of_a_turned_tensor_with_itself_is_a_table():
    """The converter would move the sum in front of the transposition and lose the sum's range."""
    inputs = keras.Input((4, 2, 5))
    turned = L.Permute((3, 1, 2))(L.Conv2D(5, 1)(inputs))
    outputs = L.Add(name="doubled")([turned, turned])
    model = nested_keras.nest(keras.Model(inputs, outputs), exclude=())
    model.prune()
    x = np.random.default_rng(0).normal(size=(4, 4, 2, 5)).astype(np.float32)
    assert nested_keras.export.to_tflite(model, representative_dataset=x)
    assert isinstance(fold(trace(model)).nodes["doubled"], Table)


@pytest.mark.parametrize("pool", [L.AveragePooling2D, L.MaxPooling2D])
def test_a_relu_behind_a_pool_is_a_table(pool):
    """The converter would fuse the relu into the pool and lose its range."""
    inputs = keras.Input((4, 4, 3))
    outputs = L.ReLU(name="relu")(pool(2)(L.Conv2D(2, 1)(inputs)))
    graph = fold(trace(nested_keras.nest(keras.Model(inputs, outputs), exclude=())))
    assert isinstance(graph.nodes["relu"], Table)


def test_a_tensor_with_two_readers_keeps_its_batch_norm():
    graph = fold(trace(zoo.make("preactivation").model))
    depthwise = [n for n in graph.linear_nodes() if n.kind is LayerKind.DEPTHWISE]
    assert [node.filter.shape for node in depthwise] == [(4, 1, 1, 1)] * 2
    assert all(node.per_level and (node.filter == 1).all() for node in depthwise)
    assert [node.activation for node in depthwise] == ["relu", "relu"]


def test_a_relu_beside_another_reader_stays():
    graph = fold(trace(zoo.make("activations").model))
    functions = [n.function for n in graph.nodes.values() if isinstance(n, Unary)]
    assert "relu" in functions


def test_one_level_without_mask_is_no_nested_layer():
    graph = fold(trace(zoo.make("one_level_full").model))
    assert all(isinstance(n, Linear) and n.per_level for n in graph.linear_nodes())
    dense = [n for n in fold(trace(zoo.make("depthwise_plain_bias").model)).linear_nodes()
             if not n.per_level]  # fmt: skip
    assert [node.name for node in dense] == ["dw"]


@pytest.mark.parametrize(
    ("layer", "sizes", "padding", "folds"),
    [
        (L.Conv2D(4, 3, strides=2), (6, 8), ((0, 1), (0, 1)), True),  # MobileNet
        (L.DepthwiseConv2D(3, strides=2), (6, 7), ((0, 1), (1, 1)), True),  # EfficientNet
        (L.DepthwiseConv2D((5, 3), strides=2), (6, 5), ((1, 2), (1, 1)), True),
        (L.Conv2D(4, 3, dilation_rate=2), (5, 6), 2, True),
        (L.Conv2D(4, 2), (5, 6), ((0, 1), (0, 1)), True),
        (L.Conv2D(4, 3, strides=2), (5, 5), ((1, 2), (1, 1)), True),  # no window has the last row
        (L.Conv2D(4, 1, strides=3), (7, 7), ((0, 2), (0, 0)), True),
        (L.Conv2D(4, 2), (5, 6), ((1, 0), (0, 1)), False),
        (L.Conv2D(4, 3, strides=2), (6, 8), 1, False),
        (L.Conv2D(4, 3), (6, 8), 2, False),
        (L.Conv2D(4, 3), (6, 8), ((1, 1), (1, 2)), False),
        (L.Conv2D(4, 3, padding="same"), (6, 8), 1, False),
    ],
)
def test_zeros_around_an_image_become_the_padding_of_a_convolution(layer, sizes, padding, folds):
    inputs = keras.Input((*sizes, 3))
    padded = L.ZeroPadding2D(padding)(inputs)
    convolved = type(layer).from_config(layer.get_config())(padded)
    x = np.random.default_rng(0).normal(size=(2, *sizes, 3)).astype(np.float32)
    for outputs in ([convolved], [convolved, padded]):
        model = nested_keras.nest(keras.Model(inputs, outputs), (0.5,), exclude=())
        graph = fold(trace(model))
        pads = [node for node in graph.nodes.values() if isinstance(node, Pad)]
        assert len(pads) == (not folds or len(outputs) > 1)
        received = forward.run(graph, [x], forward.level_parameters(0), lambda node, value: value)
        for want, got in zip(keras.tree.flatten(model(x)), received, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
