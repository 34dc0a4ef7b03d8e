import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from nested_keras import applications, export
from nested_keras.codegen.library import generate
from nested_keras.export import steps
from nested_keras.export.fold import fold
from nested_keras.export.graph import trace
from nested_keras.export.rewrite import name_after_layers, nest_operators
from nested_keras.firmware import HostModel
from nested_keras.nesting.model import nest
from nested_keras.runtime import LiteRTModel, NestedDelegate, ReferenceModel, lower
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.operators import (
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    NestedSparseConv,
)
from tests import zoo
from tests.nested_keras import parses

pytestmark = pytest.mark.slow

# Tiny and huge gains side by side: one layer's rounding is amplified by the next. A function with a
# jump, such as hard_shrink, makes half a step of its input a whole jump.
AMPLIFYING = {
    "gammas_tiny": 0.15,
    "every_layer": 0.2,
    **dict.fromkeys(("transposed_uneven", "transposed_plain", "series_branches"), 0.04),
}


def as_list(outputs):
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def test_the_zoo_is_large_enough():
    assert len(zoo.names()) >= 40


@pytest.mark.parametrize("name", zoo.names())
def test_every_level_is_close_to_the_float_model(name):
    """Within 2 % of the output's range; that it is exact is what `verify` has checked."""
    if keras.__version__.startswith("3.12.") and name in ("front", "transposed_uneven"):
        pytest.skip("Keras 3.12 cannot run Normalization(axis=1), and pads this output less")
    data, outputs = zoo.data(name), zoo.outputs(name)
    model = LiteRTModel(zoo.exported(name).tflite)
    assert model.levels == len(outputs)
    for level, expected in enumerate(outputs):
        received = as_list(model.run(data, level))
        for want, got, tensor in zip(expected, received, model.output_details, strict=True):
            error = (got.astype(np.float64) - tensor.zero_point) * tensor.scale - want
            assert np.abs(error).max() <= AMPLIFYING.get(name, 0.02) * 255 * tensor.scale


@pytest.mark.parametrize("name", ["one_level_full", "full_level", "empty_and_full", "concat"])
def test_densest_level_equals_the_converter_s_own_model(name):
    exported = zoo.exported(name)
    x = np.random.default_rng(5).integers(-128, 128, (50, *zoo.data(name).shape[1:]), np.int8)
    np.testing.assert_array_equal(
        LiteRTModel(exported.tflite).run(x), LiteRTModel(exported.dense_tflite).run(x)
    )


EQUAL_FILTERS = {
    "conv": lambda value: keras.layers.Conv2D(
        1, 1, kernel_initializer=value, bias_initializer="ones"
    ),
    "relu": lambda value: keras.layers.Conv2D(
        1, 1, kernel_initializer=value, bias_initializer="ones", activation="relu"
    ),
    "depthwise": lambda value: keras.layers.DepthwiseConv2D(
        1, depthwise_initializer=value, bias_initializer="ones"
    ),
    "dense": lambda value: keras.layers.Dense(2, kernel_initializer=value),
}


@pytest.mark.parametrize("value", ["zeros", "ones"])
@pytest.mark.parametrize("kinds", ["conv conv", "conv depthwise", "depthwise depthwise conv",
                                   "relu conv", "dense dense"])  # fmt: skip
def test_layers_of_equal_filters(kinds, value):
    """The converter would merge operators, or quantise a filter for one of its two readers."""
    inputs = keras.Input((4, 4, 4))
    base = keras.Model(inputs, [EQUAL_FILTERS[kind](value)(inputs) for kind in kinds.split()])
    data = np.random.default_rng(0).normal(size=(8, 4, 4, 4)).astype(np.float32)
    tflite = export.to_tflite(
        nest(base, (0.0,), exclude=()),
        representative_dataset=data,
        inference_input_type="float32",
        inference_output_type="float32",
    )
    for got, want in zip(LiteRTModel(tflite).run(data, level=0), base(data), strict=True):
        np.testing.assert_allclose(got, want, atol=0.1)


SMALL_GAINS = {
    "rescaling in front": lambda gain: [keras.layers.Rescaling(gain), None],
    "a small filter": lambda gain: [keras.layers.Conv2D(4, 3, use_bias=False), gain, None],
    "rescaled outputs": lambda gain: [None, keras.layers.Rescaling(gain)],
}


@pytest.mark.parametrize("bits", [20, 23, 31])
@pytest.mark.parametrize("kind", SMALL_GAINS)
def test_small_gains_are_as_exact_as_others(kind, bits):
    """Samples of 24 bits in front of 2^-23: the converter coarsens weights that are so small."""
    keras.utils.set_random_seed(0)
    gain, body = 2.0**-bits, keras.layers.Conv2D(4, 3, padding="same")
    layers = [body if layer is None else layer for layer in SMALL_GAINS[kind](gain)]
    base = keras.Sequential([keras.Input((8, 8, 2)), *(x for x in layers if x is not gain)])
    if gain in layers:
        base.layers[0].kernel.assign(base.layers[0].kernel * gain)
    model = nest(base, (0.8, 0.5), exclude=())
    model.prune()
    data = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype(np.float32)
    data *= 2.0**bits
    exported = export.build(model, representative_dataset=data, inference_output_type="float32")
    for level in range(2):
        expected = np.asarray(model.at_level(level)(data))
        got = LiteRTModel(exported.tflite).run(data, level)
        assert np.sqrt(np.mean((got - expected) ** 2)) < 0.03 * expected.std()
    np.testing.assert_array_equal(LiteRTModel(exported.dense_tflite).run(data), got)


def test_levels_differ():
    x = zoo.data("five_levels")
    model = LiteRTModel(zoo.exported("five_levels").tflite)
    outputs = {model.run(x, level).tobytes() for level in range(5)}
    assert len(outputs) == 5


def test_export_is_deterministic():
    again = zoo.make("residual_relu")
    tflite = export.to_tflite(again.model, representative_dataset=again.data)
    assert tflite == zoo.exported("residual_relu").tflite


def test_which_operators_become_nested():
    def ops(name):
        return [type(op) for op in lower(zoo.exported(name).tflite).ops]

    # Without BatchNorm and mask nothing differs between levels: the operator stays builtin.
    assert DepthwiseConv2D in ops("depthwise_plain_bias")
    assert DepthwiseConv2D not in ops("depthwise_plain")
    # A fully connected layer becomes nested all the same: runtimes round the builtin differently.
    kinds = ops("four_levels_default_exclude")
    assert (kinds.count(NestedSparseConv), kinds.count(FullyConnected)) == (4, 0)
    assert Conv2D not in kinds
    assert AveragePool2D in ops("average_pool_same")
    dense = lower(zoo.exported("residual").dense_tflite)
    assert not any(isinstance(op, NestedSparseConv) for op in dense.ops)


def test_files_name_layers_and_put_the_level_last():
    exported = zoo.exported("two_inputs")
    interpreter = Interpreter(
        model_content=exported.tflite, experimental_delegates=[NestedDelegate()]
    )
    inputs = interpreter.get_input_details()
    assert [entry["name"] for entry in inputs] == ["image", "features", "level"]
    assert (inputs[-1]["dtype"], list(inputs[-1]["shape"])) == (np.int32, [1])
    assert interpreter.get_signature_list() == {
        "serving_default": {
            "inputs": ["features", "image", "level"],
            "outputs": [interpreter.get_output_details()[0]["name"]],
        }
    }
    names = [op.name for op in lower(exported.dense_tflite).ops]
    assert [name for name in names if name.startswith("dense")] == ["dense", "dense_1"]


def test_outputs_keep_the_model_s_order():
    made = zoo.make("two_outputs_intermediate")
    details = LiteRTModel(zoo.exported(made.name).tflite).output_details
    assert [tensor.shape[1:] for tensor in details] == [
        tuple(output.shape[1:]) for output in made.model.outputs
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 5, 5, 3)), r"shape \(n, 6, 6, 3\): got \(4, 5, 5, 3\)"),
        (np.zeros((0, 6, 6, 3)), "at least one example"),
        (np.full((2, 6, 6, 3), np.nan), "must be finite"),
    ],
)
def test_bad_representative_data(data, message):
    with pytest.raises(export.ExportError, match=message):
        export.to_tflite(zoo.make("conv3x3_same").model, representative_dataset=data)


def test_refuses_a_plain_keras_model():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(export.ExportError, match="expected a NestedModel"):
        export.build(model, representative_dataset=np.zeros((1, 4)))


@pytest.mark.parametrize(
    "last",
    [
        keras.layers.LeakyReLU(1.0),
        keras.layers.ReLU(negative_slope=1.0),
        lambda x: keras.layers.Concatenate()([x]),
        lambda x: keras.ops.concatenate([x], axis=-1),
    ],
    ids=["LeakyReLU", "ReLU", "Concatenate", "ops.concatenate"],
)
def test_a_model_may_end_in_what_changes_nothing(last):
    inputs = keras.Input((6, 6, 2))
    output = last(keras.layers.Conv2D(3, 3)(inputs))
    model = nest(keras.Model(inputs, output), (0.5, 0.2), exclude=())
    model.prune()
    data = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
    tflite = export.to_tflite(model, representative_dataset=data, inference_output_type="float32")
    for level in range(2):
        expected = model.at_level(level)(data)
        np.testing.assert_allclose(LiteRTModel(tflite).run(data, level), expected, atol=0.1)


def test_refuses_an_input_named_level():
    inputs = keras.Input((4,), name="level")
    with pytest.warns(UserWarning, match="export will refuse this model: an input must not"):
        model = nest(keras.Model(inputs, keras.layers.Dense(3)(inputs)), (0.5,), exclude=())
    with pytest.raises(export.ExportError, match="an input must not be named 'level'"):
        export.build(model, representative_dataset=np.ones((1, 4)))


def test_a_layer_too_large_for_the_stream_is_named():
    inputs = keras.Input((65536,))
    dense = keras.layers.Dense(1, name="wide")
    with pytest.warns(UserWarning, match="export will refuse this model: layer 'wide'"):
        model = nest(keras.Model(inputs, dense(inputs)), (0.5,), exclude=())
    with pytest.raises(export.ExportError, match=r"'wide' does not fit the stream: .*got 65536"):
        export.build(model, representative_dataset=np.ones((1, 65536)))


def test_a_file_with_other_names_is_refused():
    made = zoo.make("conv1x1")
    graph = fold(trace(made.model))
    with pytest.raises(
        export.ExportError, match=r"must have the tensors \['input_0', 'Identity'\]"
    ):
        name_after_layers(flatbuffer.load(zoo.exported("conv1x1").dense_tflite), graph)


def test_import_is_light():
    """Stripping and inspecting a file need neither Keras nor TensorFlow."""
    code = "import sys, nested_keras.export; print({'keras', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_an_image_of_more_than_65535_columns_is_refused_by_the_layer_s_name():
    x = image = keras.Input((1, 65536, 1))
    x = keras.layers.Conv2D(1, (1, 3), padding="same", name="wide")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = nest(keras.Model(image, keras.layers.Dense(2)(x)), (0.5, 0.0), exclude=())
    data = np.random.default_rng(0).normal(size=(2, 1, 65536, 1)).astype(np.float32)
    with pytest.raises(export.ExportError, match="'wide' has an image of 1x65536 pixels"):
        export.build(model, representative_dataset=data)


def test_an_export_of_dense_levels_warns():
    inputs = keras.Input((16,))
    model = nest(keras.Model(inputs, keras.layers.Dense(4)(inputs)), (0.5, 0.25), exclude=())
    data = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    has = r"level 0: asked 0\.50, has 0\.00, level 1: asked 0\.25, has 0\.00"
    with pytest.warns(UserWarning, match=has) as caught:
        export.to_tflite(model, representative_dataset=data)
    assert [each.filename for each in caught] == [__file__], "it points to the call"
    model.prune()
    export.to_tflite(model, representative_dataset=data)


def test_an_untrained_classifier_of_a_thousand_classes_is_exported():
    """LiteRT's softmax of so many even classes once ended the process."""
    inputs = keras.Input((16,))
    outputs = keras.layers.Dense(1000, activation="softmax")(keras.layers.Dense(8)(inputs))
    model = nest(keras.Model(inputs, outputs), (0.5, 0.25), exclude=())
    model.prune()
    data = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    program = lower(export.to_tflite(model, representative_dataset=data))
    x = np.random.default_rng(1).integers(-128, 128, (2, 16), np.int8)
    want = ReferenceModel(program).run(x, 0)
    np.testing.assert_array_equal(HostModel(program).run(x, 0), want)


def test_each_step_fills_in_the_state_it_is_given():
    made = zoo.make("residual_relu")
    state = steps.ExportState(made.model, made.data)
    for step in steps.STEPS:
        before = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        after = step(state)
        assert all(getattr(state, name) is value for name, value in before.items()), step.__name__
        state = after
    filled = (getattr(state, field.name) for field in dataclasses.fields(state))
    assert all(value is not None for value in filled)


def test_an_export_parses_each_file_once_and_each_stream_twice(tmp_path):
    """The converter's file and the written one; a stream for the interface and for the delegate."""
    keras.utils.set_random_seed(0)
    model = nest(applications.resnet8(), (0.9, 0.8, 0.7))
    model.prune()
    data = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    with parses.counted() as counts:
        tflite = export.to_tflite(model, representative_dataset=data)
    assert counts["files"] <= 3
    assert counts["streams"] <= 20
    layers = sum(layer.nested for layer in export.summarize_model(tflite))
    assert layers == 10
    with parses.counted() as counts:
        generate(tflite, tmp_path)
    assert counts == {"files": 1, "streams": layers}


def test_edits_leave_the_tree_as_it_was():
    tree = flatbuffer.load(zoo.exported("residual").dense_tflite)
    before = flatbuffer.save(tree.copy())
    nested = nest_operators(tree, ())
    assert flatbuffer.save(tree) == before
    assert flatbuffer.save(nested) != before
