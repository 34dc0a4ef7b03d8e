import keras
import numpy as np
import pytest

import nested_keras
from nested_keras import export, runtime
from nested_keras.export.export_errors import ExportError
from nested_keras.export.match import match
from nested_keras.export.nodes import Graph, Input
from nested_keras.export.plain_layers import Reshape
from nested_keras.tflite.operators import Conv2D, DepthwiseConv2D
from nested_keras.tflite.program import Program, Tensor
from tests.nested_keras.export.linear_nodes import linear

pytestmark = pytest.mark.slow

NODE = linear(gain=[[2.0, -2.0]], bias=[[0.0, 0.0]])
GRAPH = Graph(
    {
        "x": Input("x", (), (1, 1, 1, 4)),
        "layer": NODE,
        "flat": Reshape("flat", ("layer",), (1, 2)),
    },
    ("x",),
    ("flat",),
    1,
)
GAIN = {"layer": np.array([2.0, -2.0])}
SCALE = np.abs(NODE.filter * 2).max(axis=(1, 2, 3)).astype(np.float32) / np.float32(127)


def operator(name="node_1/Conv2D", *, change=0, kind=Conv2D):
    weights = np.rint(NODE.filter * GAIN["layer"].reshape(-1, 1, 1, 1) / SCALE.reshape(-1, 1, 1, 1))
    weights = weights.astype(np.int8)
    weights[0, 0, 0, 0] += change
    geometry = ("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left")
    numbers = ("input_offset", "output_offset", "activation_min", "activation_max")
    tables = {key: np.zeros(2, np.int32) for key in ("bias", "multiplier", "shift")}
    extra = {"depth_multiplier": 1} if kind is DepthwiseConv2D else {}
    return kind(
        name=name,
        inputs=(0,),
        outputs=(1,),
        filter=weights,
        **tables,
        **dict.fromkeys(geometry, 1),
        **dict.fromkeys(numbers, 0),
        **extra,
    )


def run(*ops, scale=SCALE):
    tensors = (Tensor("x", (1, 1, 1, 4), "int8", 0.5), Tensor("y", (1, 1, 1, 2), "int8", 0.25))
    program = Program(tensors, ops, (0,), (1,), 1, None)
    scales = dict.fromkeys(range(len(ops)), scale)
    return match(GRAPH, program, twin_gain=GAIN, filter_scales=scales)


@pytest.mark.parametrize("name", ["node_1/Conv2D", "Identity", "node_1/MatMul;node_2/Reshape"])
def test_match_finds_the_layer(name):
    layer = run(operator(name))["layer"]
    assert (layer.index, layer.input_scale, layer.output_scale) == (0, 0.5, 0.25)
    np.testing.assert_array_equal(layer.filter_scale, SCALE)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((), "no operator for layers: layer$"),
        ((operator(), operator("node_1/other")), "'layer' must become one operator: got 'node_1/C"),
        ((operator("other"),), "no layer belongs to the converted operator 'other'"),
        ((operator("node_0/x"),), "no layer belongs to the converted operator 'node_0/x'"),
        ((operator(change=1),), "'layer': the converter's weights are .* steps off"),
        ((operator(kind=DepthwiseConv2D),), "'layer': expected a CONV of .*: got a DEPTHWISE of"),
    ],
)
def test_refusals(ops, message):
    with pytest.raises(ExportError, match=message):
        run(*ops)


def test_refuses_one_scale_for_all_channels():
    with pytest.raises(ExportError, match="expected 2 filter scales: got 1"):
        run(operator(), scale=SCALE[:1])


def test_a_depthwise_filter_of_zeros_has_one_scale_for_all_channels():
    """As where the densest level prunes all weights of it."""
    x = keras.Input((5, 5, 3))
    base = keras.Model(x, keras.layers.DepthwiseConv2D(2, name="empty")(x))
    model = nested_keras.nest(base, (1.0,), exclude=())
    model.get_layer("empty").bias.assign([0.5, -2.0, 3.0])
    model.prune()
    data = np.random.default_rng(0).normal(size=(20, 5, 5, 3)).astype(np.float32)
    runner = runtime.ReferenceModel(export.build(model, representative_dataset=data).tflite)
    (output,) = runner.output_details
    got = (runner.run(data).astype(np.float64) - output.zero_point) * output.scale
    np.testing.assert_allclose(got, model(data), atol=output.scale)
