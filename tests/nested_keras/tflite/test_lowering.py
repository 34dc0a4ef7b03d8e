"""What `lower` prepares and what it refuses, each refusal with operator, expected and received."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nested_keras.format import encode
from nested_keras.runtime import UnsupportedOpError, lower
from nested_keras.tflite import flatbuffer, operators
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.lowering import read_interface
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    nested_model,
    random_layer,
)
from tests.nested_keras.tflite.tflite_builder import ModelBuilder, refuse

SHAPE = (1, 5, 3, 4)


def one_op(
    kind: str,
    *shapes: tuple[int, ...],
    out: tuple[int, ...] = SHAPE,
    constants: tuple[np.ndarray, ...] = (),
    options: str | None = None,
    dtype: str = "int8",
    out_scale: float = 0.5,
    **fields: Any,
) -> bytes:
    """A model of one operator named "y"; constants (scale 0.1) follow the activations."""
    builder = ModelBuilder()
    inputs = [builder.tensor(shape, dtype=dtype, scale=0.5, zero_point=1) for shape in shapes]
    operands = inputs + [builder.constant(value, scale=0.1) for value in constants]
    y = builder.tensor(out, scale=out_scale, zero_point=1, name="y")
    builder.op(kind, operands, [y], options, **fields)
    return builder.build(inputs, [y])


def conv(
    *, weights: tuple[int, ...] = (4, 3, 3, 4), out: tuple[int, ...] = SHAPE, **fields: Any
) -> bytes:
    fields = {"strideH": 1, "strideW": 1, **fields}
    return one_op(
        "CONV_2D",
        SHAPE,
        out=out,
        constants=(np.ones(weights, np.int8),),
        options="Conv2DOptions",
        **fields,
    )


def test_a_nested_program() -> None:
    layers = [
        random_layer(conv_params(), levels=3, seed=0),
        random_layer(conv_params(input_offset=7), levels=3, seed=1),
    ]
    model = nested_model(*layers, shapes=(SHAPE, SHAPE, SHAPE))
    graph = lower(model)
    assert graph.levels == 3
    assert [graph.tensors[i].name for i in graph.inputs] == ["image"]
    assert graph.tensors[graph.level_input].name == "level"
    for op, layer in zip(graph.ops, layers, strict=True):
        assert isinstance(op, operators.NestedSparseConv)
        assert op.layer.data == encode(layer)
    assert graph.ops[0].inputs == graph.inputs
    assert graph.ops[1].inputs == graph.ops[0].outputs
    assert graph.outputs == graph.ops[1].outputs


def test_a_plain_program_has_one_level() -> None:
    graph = lower(conv())
    assert (graph.levels, graph.level_input) == (1, None)


def test_convolution_parameters() -> None:
    (op,) = lower(conv(fusedActivationFunction=3)).ops
    assert isinstance(op, operators.Conv2D)
    assert (op.pad_top, op.pad_left, op.input_offset, op.output_offset) == (1, 1, -1, 1)
    assert (op.activation_min, op.activation_max) == (1, 13)  # relu6: 0 and 6 / 0.5 steps
    assert op.bias.tolist() == [0] * 4
    # 0.5 * 0.1 / 0.5 = 0.1 = 0.8 * 2**-3
    assert op.shift.tolist() == [-3] * 4
    assert abs(op.multiplier[0] - 0.8 * 2**31) < 200


def test_depthwise_filter_is_transposed() -> None:
    weights = np.arange(3 * 3 * 8).reshape(1, 3, 3, 8).astype(np.int8)
    (op,) = lower(
        one_op(
            "DEPTHWISE_CONV_2D",
            SHAPE,
            out=(1, 5, 3, 8),
            constants=(weights,),
            options="DepthwiseConv2DOptions",
            strideH=1,
            strideW=1,
            depthMultiplier=2,
        )
    ).ops
    assert isinstance(op, operators.DepthwiseConv2D)
    assert op.depth_multiplier == 2
    np.testing.assert_array_equal(op.filter[5, :, :, 0], weights[0, :, :, 5])


@pytest.mark.parametrize("kind", ["DIV", "EXP"])
def test_unknown_operators_are_named(kind: str) -> None:
    refuse(one_op(kind, SHAPE), f"{kind} 'y' is not supported", UnsupportedOpError)


def test_unknown_custom_operators_are_named() -> None:
    layer = random_layer(conv_params(), levels=2, seed=0)
    model = nested_model(layer, shapes=(SHAPE, SHAPE), code="custom:SPARSE_THING")
    refuse(
        model,
        "SPARSE_THING 't2' is not supported: the supported custom ones are",
        UnsupportedOpError,
    )


def test_a_builtin_of_the_nested_name_is_no_nested_operator() -> None:
    assert read_interface(read_graph(flatbuffer.load(conv()))).levels == 1


def test_types_other_than_int8() -> None:
    refuse(
        one_op("RELU", SHAPE, dtype="float32"), "RELU 'y': input 0 't0' must be int8: got float32"
    )


def test_unquantised_activation() -> None:
    builder = ModelBuilder()
    x, y = builder.tensor(SHAPE), builder.tensor(SHAPE, scale=0.5, name="y")
    builder.op("RELU", [x], [y])
    refuse(builder.build([x], [y]), "input 0 't0' must have one scale and zero point")


def test_zero_point_out_of_range() -> None:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.5, zero_point=200)
    y = builder.tensor(SHAPE, scale=0.5, name="y")
    builder.op("RELU", [x], [y])
    refuse(builder.build([x], [y]), "zero point in -128..127: got 200")


def test_graph_input_of_a_wrong_type() -> None:
    refuse(
        one_op("RELU", SHAPE, dtype="int32"),
        "graph input or output 't0' must be int8, uint8 or float32 with at least one dimension: "
        "got int32[1, 5, 3, 4]",
    )


def test_no_inputs() -> None:
    builder = ModelBuilder()
    y = builder.tensor(SHAPE, scale=0.5)
    refuse(builder.build([], [y]), "expected inputs and outputs: got 0 and 1")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (conv(out=(1, 5, 3, 5)), "'y' must have the shape [1, 5, 3, 4]: got [1, 5, 3, 5]"),
        (conv(padding=7), "padding must be SAME (0) or VALID (1): got 7"),
        (conv(strideH=0), "stride_h must be at least 1: got 0"),
        (conv(weights=(4, 6, 6, 4), padding=1), "a window of 6 pixels does not fit into 5"),
        (conv(weights=(4, 3, 3, 2)), "grouped convolution: the filter has 2 input channels"),
        (conv(weights=(4, 9, 4)), "the filter must have 4 dimensions: got [4, 9, 4]"),
        (conv(fusedActivationFunction=4), "fused activation function 4"),
        (one_op("CONV_2D", SHAPE, SHAPE, options="Conv2DOptions"), "input 1 must be a constant"),
        (one_op("CONV_2D", SHAPE), "expected 2..3 inputs: got 1"),
        (one_op("SOFTMAX", SHAPE, out_scale=1 / 256), "output must have scale 1/256"),
        (one_op("LOGISTIC", SHAPE), "output must have scale 1/256 and zero point -128: got 0.5, 1"),
        (one_op("RELU", SHAPE, out=(1, 5, 12)), "must have the shape [1, 5, 3, 4]: got [1, 5, 12]"),
        (one_op("RESHAPE", SHAPE, out=(1, 50)), "cannot reshape [1, 5, 3, 4] to [1, 50]"),
        (one_op("LEAKY_RELU", SHAPE), "expected LeakyReluOptions: got NoneType"),
        (
            one_op("ADD", SHAPE, (1, 5, 1, 3), options="AddOptions"),
            "shapes [1, 5, 3, 4] and [1, 5, 1, 3] do not broadcast to [1, 5, 3, 4]",
        ),
        (
            one_op("ADD", SHAPE, SHAPE, options="AddOptions", out_scale=1e-7),
            "the output scale must be above",
        ),
        (
            one_op("MAX_POOL_2D", SHAPE, options="Pool2DOptions", out_scale=0.25),
            "must share scale and zero point: got 0.5, 1 and 0.25, 1",
        ),
        (
            one_op("AVERAGE_POOL_2D", (5, 3), options="Pool2DOptions"),
            "must have 4 dimensions: shape [5, 3]",
        ),
        (
            one_op("MEAN", SHAPE, constants=(np.array([3], np.int32),), options="ReducerOptions"),
            "the mean must go over height and width of 4 dimensions: got axes [3]",
        ),
        (
            one_op(
                "MEAN",
                SHAPE,
                out=(4,),
                constants=(np.array([1, 2], np.int32),),
                options="ReducerOptions",
            ),
            "the output must be [1, 4]: got [4]",
        ),
        (
            one_op("PAD", SHAPE, constants=(np.full((4, 2), -1, np.int32),)),
            "paddings must be 4 pairs of non-negative numbers",
        ),
        (
            one_op("PADV2", SHAPE, constants=(np.zeros((4, 2), np.int32), np.zeros(2, np.int8))),
            "the padding value must be one number: got 2",
        ),
        (
            one_op("CONCATENATION", SHAPE, SHAPE, options="ConcatenationOptions", axis=4),
            "axis must be in -4..3: got 4",
        ),
        (
            one_op("CONCATENATION", SHAPE, SHAPE, options="ConcatenationOptions", axis=3),
            "the parts do not add up to 4 along axis 3",
        ),
        (
            one_op(
                "CONCATENATION",
                SHAPE,
                options="ConcatenationOptions",
                axis=3,
                fusedActivationFunction=1,
            ),
            "fused activation function 1",
        ),
        (
            one_op(
                "FULLY_CONNECTED",
                SHAPE,
                constants=(np.ones((4, 7), np.int8),),
                options="FullyConnectedOptions",
            ),
            "the filter must be [out, in] with `in` dividing the input size 60: got [4, 7]",
        ),
        (
            one_op(
                "FULLY_CONNECTED",
                SHAPE,
                constants=(np.ones((4, 60), np.int8),),
                options="FullyConnectedOptions",
            ),
            "the output must hold 1 rows of 4: got [1, 5, 3, 4]",
        ),
        (
            one_op(
                "FULLY_CONNECTED",
                SHAPE,
                constants=(np.ones((4, 60), np.int8),),
                options="FullyConnectedOptions",
                weightsFormat=1,
            ),
            "weights format 1",
        ),
        (
            one_op(
                "DEPTHWISE_CONV_2D",
                SHAPE,
                constants=(np.ones((1, 3, 3, 6), np.int8),),
                options="DepthwiseConv2DOptions",
            ),
            "the filter must have the shape [1, h, w, k * 4]: got [1, 3, 3, 6]",
        ),
        (
            one_op("HARD_SWISH", SHAPE, out_scale=0.001),
            "needs an output scale of at least 1/128 of the input scale 0.5",
        ),
    ],
)
def test_inconsistent_operators(model: bytes, text: str) -> None:
    refuse(model, text)


def weighted(*, bias: np.ndarray | None = None, scale: Any = 0.1, point: int = 0) -> bytes:
    builder = ModelBuilder()
    x = builder.tensor((1, 6), scale=0.5)
    operands = [x, builder.constant(np.ones((4, 6), np.int8), scale=scale, zero_point=point)]
    if bias is not None:
        operands.append(builder.constant(bias, scale=0.05))
    y = builder.tensor((1, 4), scale=0.5, name="y")
    builder.op("FULLY_CONNECTED", operands, [y], "FullyConnectedOptions")
    return builder.build([x], [y])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bias": np.zeros(3, np.int32)}, "the bias must have 4 values: got [3]"),
        ({"bias": np.zeros(4, np.int8)}, "input 2 must be int32: got int8"),
        ({"scale": [0.1, 0.1]}, "the filter must have 1 or 4 scales: got 2"),
        ({"point": 3}, "the filter must be quantised symmetrically (zero point 0)"),
        ({"scale": 1e30}, "a multiplier must be below 2**30"),
    ],
)
def test_inconsistent_weights(changes: dict[str, Any], text: str) -> None:
    refuse(weighted(**changes), text)


def test_reading_before_writing() -> None:
    builder = ModelBuilder()
    x, z, y = (builder.tensor(SHAPE, scale=0.5, name=name) for name in "xzy")
    builder.op("RELU", [z], [y])
    builder.op("RELU", [x], [z])
    refuse(builder.build([x], [y]), "RELU 'y': reads 'z' before it is written")


def test_writing_twice() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(SHAPE, scale=0.5, name=name) for name in "xy")
    builder.op("RELU", [x], [y])
    builder.op("RELU", [x], [y])
    refuse(builder.build([x], [y]), "RELU 'y': writes 'y' a second time")


def test_an_output_that_nothing_writes() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(SHAPE, scale=0.5, name=name) for name in "xy")
    refuse(builder.build([x], [y]), "nothing writes the graph output 'y'")


def test_an_input_that_is_listed_twice() -> None:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.5)
    refuse(builder.build([x, x], [x]), "a graph input is a constant or listed twice")


def test_an_operand_that_is_left_out() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(SHAPE, scale=0.5, name=name) for name in "xy")
    builder.op("ADD", [x, -1], [y], "AddOptions")
    refuse(builder.build([x], [y]), "ADD 'y': input 1 is left out")


def test_streams_with_different_numbers_of_levels() -> None:
    layers = [
        random_layer(conv_params(), levels=3, seed=0),
        random_layer(conv_params(input_offset=7), levels=2, seed=1),
    ]
    refuse(
        nested_model(*layers, shapes=(SHAPE, SHAPE, SHAPE)),
        "streams must have equal numbers of levels: 't2' has 3, 't4' has 2",
    )


def test_an_int8_input_may_be_called_level() -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 4), scale=0.5, name="level")
    y = builder.tensor((1, 4), scale=0.5)
    builder.op("RELU", [x], [y])
    graph = lower(builder.build([x], [y]))
    assert (graph.inputs, graph.level_input) == ((x,), None)


def test_the_interface_of_a_model_with_operators_that_lower_refuses() -> None:
    interface = read_interface(read_graph(flatbuffer.load(one_op("RESIZE_BILINEAR", SHAPE))))
    assert (interface.inputs, interface.outputs, interface.levels) == ((0,), (1,), 1)
