import keras
import numpy as np
import pytest
from keras import layers

from nested_keras.export import plain_layers
from nested_keras.export.export_errors import ExportError, UnsupportedLayerError
from nested_keras.export.graph import trace
from nested_keras.export.plain_layers import Extremum, Table
from nested_keras.format import LayerKind
from nested_keras.nesting.layers import NestedConv2D
from nested_keras.nesting.model import NestedModel, nest

pytestmark = pytest.mark.slow


def nested(*stack, shape=(4, 4, 2), **options):
    inputs = keras.Input(shape, name="image")
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    for layer in stack:
        x = layer(x)
    return nest(keras.Model(inputs, x), (0.5, 0.25), **{"exclude": (), **options})


def test_linear_nodes_hold_the_layers_values():
    model = nested(
        layers.DepthwiseConv2D((2, 3), strides=2, depth_multiplier=2, name="dw"),
        layers.Flatten(name="flat"),
        layers.Dense(5, name="dense"),
        exclude=("dw",),
        block_shape=(1, 2),
    )
    model.prune()
    graph = trace(model)
    assert list(graph.nodes) == ["image", "conv", "dw", "flat", "dense"]
    assert (graph.inputs, graph.outputs, graph.levels) == (("image",), ("dense",), 2)
    conv, depthwise, dense = graph.linear_nodes()
    kernel, level_map = (
        np.asarray(v) for v in (model.get_layer("conv").kernel, model.get_layer("conv").level_map)
    )
    assert conv.kind is LayerKind.CONV
    np.testing.assert_array_equal(conv.filter, np.transpose(kernel, (3, 0, 1, 2)))
    np.testing.assert_array_equal(conv.level_map, np.transpose(level_map, (3, 0, 1, 2)))
    assert (conv.padding, conv.block_size, conv.per_level) == ("SAME", 2, True)
    assert depthwise.kind is LayerKind.DEPTHWISE
    assert (depthwise.filter.shape, depthwise.depth_multiplier) == ((6, 2, 3, 1), 2)
    assert depthwise.filter[3, 1, 2, 0] == np.asarray(model.get_layer("dw").kernel)[1, 2, 1, 1]
    assert (depthwise.strides, depthwise.padding, depthwise.per_level) == ((2, 2), "VALID", False)
    assert dense.kind is LayerKind.FULLY_CONNECTED
    np.testing.assert_array_equal(
        dense.filter[:, 0, 0], np.asarray(model.get_layer("dense").kernel).T
    )


def test_shared_layer_gets_a_node_for_each_call():
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = nest(keras.Model(inputs, shared(shared(inputs))), (0.5,), exclude=())
    names = [node.name for node in trace(model).linear_nodes()]
    assert names == ["shared", "shared_1"]


def test_dropout_leaves_no_node_and_silu_becomes_one():
    graph = trace(nested(layers.Dropout(0.5), layers.Activation("silu", name="act")))
    assert list(graph.nodes)[2:] == ["act/silu"]
    assert graph.nodes["act/silu"].inputs == ("conv",)


def test_sums_of_three_become_two_nodes():
    inputs = keras.Input((4, 4, 2))
    parts = [layers.Conv2D(3, 1)(inputs) for _ in range(3)]
    outputs = layers.Add(name="sum")(parts)
    graph = trace(nest(keras.Model(inputs, outputs), (0.5,), exclude=()))
    assert graph.nodes["sum"].inputs[0] == "sum/partial"
    assert isinstance(graph.nodes["sum/partial"], plain_layers.Binary)


def by_hand(*stack):
    """A nested model that nest() did not make and has not checked."""
    inputs = keras.Input((4, 4, 2))
    x = NestedConv2D(3, 3, padding="same", sparsities=(0.5,))(inputs)
    for layer in stack:
        x = layer(x)
    return NestedModel(inputs, x)


def own(x):
    return x - keras.ops.mean(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Masking(name="mask"), r"layer 'mask' \(Masking\) is not supported"),
        (layers.Activation("glu", name="act"), "'act' has the activation 'glu', which is not supp"),
        (
            layers.Activation(own, name="act"),
            "'act' has the activation own, which cannot be exported: .* each value alone",
        ),
        (layers.Softmax(axis=1, name="soft"), r"layer 'soft' \(Softmax\) must have axis -1: got 1"),
        (layers.Flatten("channels_first", name="flat"), "'flat' .* data_format='channels_last'"),
        (layers.BatchNormalization(name="bn"), "'bn' .*must be one that nested_keras.nest makes"),
        (lambda x: layers.Dropout(0.5, name="drop")(x, training=True), "'drop' .*training=True"),
        (keras.ops.absolute, r"operator 'absolute' \(Absolute\) between layers is not supported"),
    ],
)
def test_unsupported_layers_are_named(layer, message):
    keras.utils.clear_session(free_memory=False)  # Keras counts the operators of other tests too
    with pytest.raises(UnsupportedLayerError, match=message):
        trace(by_hand(layer))


def test_a_layer_called_twice_on_one_tensor_gets_one_node():
    twice, relu = layers.Conv2D(3, 3, name="twice"), layers.ReLU(name="relu")

    def both(x):
        return layers.Add(name="sum")([relu(twice(x)), layers.ReLU()(twice(x))])

    graph = trace(nested(both))
    names = list(graph.nodes)
    assert (names[2], names[4:]) == ("twice", ["sum"])
    assert graph.nodes["sum"].inputs == (names[3], names[3])


def test_ranks_are_evened_out_after_the_batch():
    def gated(x):
        return layers.Multiply(name="gated")([x, layers.GlobalAveragePooling2D(name="mean")(x)])

    graph = trace(nested(gated))
    assert graph.nodes[graph.nodes["gated"].inputs[1]].shape == (1, 1, 1, 3)


def test_a_layer_as_activation_gets_its_own_node():
    graph = trace(nested(layers.Conv2D(3, 1, activation=layers.LeakyReLU(0.1, name="leaky"))))
    assert (graph.nodes["leaky"].function, graph.nodes["leaky"].alpha) == ("leaky_relu", 0.1)


def test_refuses_a_plain_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ExportError, match=r"expected a NestedModel .*: got keras.*Sequential"):
        trace(model)


def test_refuses_an_input_of_unknown_size():
    with (
        pytest.warns(UserWarning, match="fixed shape"),
        pytest.raises(ExportError, match=r"'image' needs a fixed shape: got .*None, None, 2"),
    ):
        trace(nested(shape=(None, None, 2)))


def test_an_output_that_is_listed_twice_or_an_input_is_a_copy():
    inputs = keras.Input((4,), name="x")
    y = layers.Dense(3, name="y")(inputs)
    again = layers.Reshape((3,))(layers.Reshape((3, 1))(y))
    outputs = [y, layers.Dropout(0.1)(y), inputs, again]
    graph = trace(nest(keras.Model(inputs, outputs), (0.5,), exclude=()))
    assert graph.outputs[:3] == ("y", "y/copy", "x/copy")
    assert len(set(graph.outputs)) == 4
    assert [type(graph.nodes[name]) for name in graph.outputs[1:]] == [Table] * 3


def test_an_output_that_is_turned_back_is_a_copy():
    """The converter leaves out transposes that undo each other."""
    inputs = keras.Input((4, 5, 3), name="x")
    y = layers.Conv2D(2, 3, name="y")(inputs)
    turned = layers.Permute((2, 1, 3))(y)
    back = layers.Reshape((2, 3, 2))(layers.Permute((2, 1, 3))(turned))
    turn = layers.Permute((3, 1, 2))
    outputs = [y, turned, back, turn(turn(turn(inputs)))]
    graph = trace(nest(keras.Model(inputs, outputs), (0.5,), exclude=()))
    copies = [name.endswith("/copy") for name in graph.outputs]
    assert copies == [False, False, True, True]


def test_calls_of_a_layer_on_equal_values_are_one_node():
    """The converter would leave out the second."""
    inputs = keras.Input((4, 4, 3), name="x")
    shared = layers.Conv2D(2, 3, name="y")
    there = layers.Reshape((16, 3))(inputs)
    outputs = [shared(inputs), shared(layers.Reshape((4, 4, 3))(there))]
    graph = trace(nest(keras.Model(inputs, outputs), (0.5,), exclude=()))
    assert graph.outputs == ("y", "y/copy")


@pytest.mark.parametrize("layer", [layers.Maximum, layers.Minimum])
def test_a_maximum_of_equal_values_needs_no_node(layer):
    """The converter would leave the operator out, and the range of what follows with it."""
    inputs = keras.Input((5, 1, 4), name="x")
    same = layer()([inputs, layers.Permute((1, 2, 3))(inputs)])
    outputs = layers.Dense(2, name="y")(keras.ops.expand_dims(same, 1))
    graph = trace(nest(keras.Model(inputs, outputs), (0.5,), exclude=()))
    assert not [node for node in graph.nodes.values() if isinstance(node, Extremum)]
