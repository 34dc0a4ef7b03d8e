import dataclasses
import gc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from nested_keras import format as nested_format
from nested_keras.format import LayerKind
from nested_keras.int8.fixed_point import quantize_multiplier
from nested_keras.runtime import LiteRTModel, ModelError, NestedDelegate, ReferenceModel
from tests.nested_keras.runtime.oracle import Draw, run_litert
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.slow

SHAPE = (1, 5, 3, 4)
CHAIN = (SHAPE, SHAPE, SHAPE, (1, 5))


def chain(*, levels: int = 3, **options: Any) -> bytes:
    """Convolution, depthwise and fully connected, all nested."""
    layers = [
        random_layer(conv_params(), levels=levels, seed=0),
        random_layer(conv_params(LayerKind.DEPTHWISE, input_offset=7), levels=levels, seed=1),
        random_layer(dense_params(input_offset=7), levels=levels, seed=2),
    ]
    return nested_model(*layers, shapes=CHAIN, **options)


@pytest.fixture(scope="module")
def model() -> bytes:
    return chain()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return Draw(0).int8(6, *SHAPE[1:])


def new_interpreter(model: bytes, delegate: NestedDelegate | None = None) -> Interpreter:
    return Interpreter(
        model_content=model, experimental_delegates=[delegate or NestedDelegate()], num_threads=1
    )


def require_outputs(content: bytes, x: np.ndarray, want: np.ndarray) -> None:
    """Runs a model in `LiteRTModel` and in an interpreter of a user's own."""
    np.testing.assert_array_equal(LiteRTModel(content).run(x), want)
    interpreter = new_interpreter(content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    np.testing.assert_array_equal(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), want
    )


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_every_level_equals_the_reference(levels: int, images: np.ndarray) -> None:
    model = chain(levels=levels)
    reference, litert = ReferenceModel(model), LiteRTModel(model)
    assert litert.levels == levels
    for level in [*range(levels), None]:
        np.testing.assert_array_equal(litert.run(images, level), reference.run(images, level))


GOLDEN = {
    LayerKind.CONV: ("CONV_2D", "Conv2DOptions", {"strideH": 1, "strideW": 1}),
    LayerKind.DEPTHWISE: (
        "DEPTHWISE_CONV_2D",
        "DepthwiseConv2DOptions",
        {"strideH": 1, "strideW": 1, "depthMultiplier": 1},
    ),
    LayerKind.FULLY_CONNECTED: ("FULLY_CONNECTED", "FullyConnectedOptions", {}),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_levels_equal_dense_builtin_layers(kind: LayerKind) -> None:
    """Each level against TFLite's own operator, which has |gain| in the scales and its sign in the
    weights and the bias."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        dense = kind == LayerKind.FULLY_CONNECTED
        layer = random_layer(dense_params() if dense else conv_params(kind), levels=3, seed=seed)
        shape = (1, 5) if dense else SHAPE
        x_scale = float(np.float32(0.05))
        y_scale = float(np.float32(0.08 * layer.weights[0].size ** 0.5))
        gains = rng.uniform(0.3, 1.5, layer.bias.shape) * rng.choice([-1, 1], layer.bias.shape)
        scales = np.abs(gains * 0.02).astype(np.float32)
        factors = np.sign(gains) * x_scale * scales.astype(np.float64) / y_scale
        pairs = np.array([[quantize_multiplier(f) for f in row] for row in factors.tolist()])
        layer = dataclasses.replace(
            layer,
            multiplier=pairs[..., 0].astype(np.int32),
            shift=pairs[..., 1].astype(np.int8),
        )
        nested = LiteRTModel(nested_model(layer, shapes=(SHAPE, shape)))
        x = Draw(seed).int8(*SHAPE)
        for level in range(3):
            sign = np.sign(gains[level]).astype(np.int64)
            kept = np.where(layer.level_map <= level, layer.weights, 0)
            weights = (kept * sign[:, None, None, None]).astype(np.int8)
            if kind == LayerKind.DEPTHWISE:
                weights = np.ascontiguousarray(weights.transpose(3, 1, 2, 0))
            elif dense:
                weights = weights.reshape(5, 60)
            builder = ModelBuilder()
            name, options, fields = GOLDEN[kind]
            source = builder.tensor(SHAPE, scale=x_scale, zero_point=3)
            target = builder.tensor(shape, scale=y_scale, zero_point=-7)
            bias = (layer.bias[level] * sign).astype(np.int32)
            operands = [
                source,
                builder.constant(
                    weights, scale=scales[level], axis=3 if weights.shape[0] == 1 else 0
                ),
                builder.constant(bias, scale=np.float32(x_scale) * scales[level]),
            ]
            builder.op(name, operands, [target], options, **fields)
            golden = run_litert(builder.build([source], [target]), x)
            np.testing.assert_array_equal(nested.run(x, level), golden, err_msg=f"seed {seed}")


def test_buffers_behind_the_flatbuffer(model: bytes, images: np.ndarray) -> None:
    outside = LiteRTModel(chain(external=True))
    np.testing.assert_array_equal(outside.run(images, 1), ReferenceModel(model).run(images, 1))


def test_a_users_interpreter_in_three_lines(model: bytes, images: np.ndarray) -> None:
    interpreter = Interpreter(model_content=model, experimental_delegates=[NestedDelegate()])
    interpreter.allocate_tensors()
    image, level = interpreter.get_input_details()
    interpreter.set_tensor(image["index"], images[:1])
    output = interpreter.get_output_details()[0]["index"]
    for knob in (2, 0, 1):  # the knob is read at each call
        interpreter.set_tensor(level["index"], np.array([knob], np.int32))
        interpreter.invoke()
        np.testing.assert_array_equal(
            interpreter.get_tensor(output), ReferenceModel(model).run(images[:1], knob)
        )


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_tensorflows_interpreter(model: bytes, images: np.ndarray) -> None:
    tf = pytest.importorskip("tensorflow")
    interpreter = tf.lite.Interpreter(
        model_content=model, experimental_delegates=[NestedDelegate()]
    )
    interpreter.allocate_tensors()
    image, level = interpreter.get_input_details()
    interpreter.set_tensor(image["index"], images[:1])
    interpreter.set_tensor(level["index"], np.array([1], np.int32))
    interpreter.invoke()
    np.testing.assert_array_equal(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]),
        ReferenceModel(model).run(images[:1], 1),
    )


@pytest.mark.parametrize("level", [-1, 3, 2**31 - 1])
def test_level_tensor_out_of_range(model: bytes, level: int) -> None:
    interpreter = new_interpreter(model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[1]["index"], np.array([level], np.int32))
    with pytest.raises(RuntimeError, match=rf"ValueError: level must be in 0\.\.2: got {level}"):
        interpreter.invoke()


def test_an_interpreter_works_after_an_error(model: bytes, images: np.ndarray) -> None:
    interpreter = new_interpreter(model)
    interpreter.allocate_tensors()
    image, level = (detail["index"] for detail in interpreter.get_input_details())
    interpreter.set_tensor(image, images[:1])
    interpreter.set_tensor(level, np.array([9], np.int32))
    with pytest.raises(RuntimeError, match="got 9"):
        interpreter.invoke()
    interpreter.set_tensor(level, np.array([0], np.int32))
    interpreter.invoke()
    np.testing.assert_array_equal(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]),
        ReferenceModel(model).run(images[:1], 0),
    )


@pytest.mark.parametrize("level", [-1, 3])
def test_level_argument_out_of_range(model: bytes, images: np.ndarray, level: int) -> None:
    with pytest.raises(ValueError, match=rf"level must be in 0\.\.2: got {level}"):
        LiteRTModel(model).run(images, level)


def test_a_model_without_level_input(images: np.ndarray) -> None:
    model = chain(level_input=False)
    reference, litert = ReferenceModel(model), LiteRTModel(model)
    for level in range(3):
        np.testing.assert_array_equal(litert.run(images, level), reference.run(images, level))
    # Alone, the delegate runs such a model at its own level: the densest unless told otherwise.
    for setting, level in ((None, 2), (0, 0)):
        interpreter = new_interpreter(model, NestedDelegate(level=setting))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images[:1])
        interpreter.invoke()
        y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(y, reference.run(images[:1], level))


def test_one_delegate_for_two_interpreters(model: bytes, images: np.ndarray) -> None:
    delegate = NestedDelegate()
    pair = [new_interpreter(model, delegate), new_interpreter(chain(levels=2), delegate)]
    for interpreter in pair:
        interpreter.allocate_tensors()
    for interpreter, source in zip(pair, (model, chain(levels=2)), strict=True):
        image, level = (detail["index"] for detail in interpreter.get_input_details())
        interpreter.set_tensor(image, images[:1])
        interpreter.set_tensor(level, np.array([1], np.int32))
        interpreter.invoke()
        y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(y, ReferenceModel(source).run(images[:1], 1))


def test_a_damaged_stream_is_named_by_the_interpreter(model: bytes) -> None:
    damaged = bytearray(model)
    damaged[damaged.index(b"NSC1") + 16] ^= 0xFF
    with pytest.raises(RuntimeError, match="NESTED_SPARSE_CONV: FormatError"):
        new_interpreter(bytes(damaged)).allocate_tensors()
    with pytest.raises(ModelError, match="the packed stream is not valid"):
        LiteRTModel(bytes(damaged))


@pytest.mark.parametrize(
    ("entries", "operands", "message"),
    [
        (255, 2, r"^INT8_LOOKUP: ValueError: the table must be int8\[256\]"),
        (256, 1, "INT8_LOOKUP: expected 2 inputs and 1 output"),
    ],
)
def test_an_error_names_the_operator(entries: int, operands: int, message: str) -> None:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.1)
    table = builder.constant(np.zeros(entries, np.int8))
    y = builder.tensor(SHAPE, scale=0.1)
    builder.op("custom:INT8_LOOKUP", [x, table][:operands], [y])
    with pytest.raises(RuntimeError, match=message):
        new_interpreter(builder.build([x], [y])).allocate_tensors()


def test_a_percent_sign_in_an_error_is_harmless() -> None:
    # The text goes through C's printf format; the tensor's name carries the sign.
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.1, zero_point=3)
    stream = builder.constant(np.zeros(8, np.int8), name="100%s %n")
    y = builder.tensor(SHAPE, scale=0.1)
    builder.op("custom:NESTED_SPARSE_CONV", [x, -1, stream], [y])
    with pytest.raises(RuntimeError, match=re.escape("'100%s %n' must be a uint8 constant")):
        new_interpreter(builder.build([x], [y])).allocate_tensors()


def test_wrong_number_of_operands() -> None:
    builder = ModelBuilder()
    x, y = builder.tensor(SHAPE, scale=0.1), builder.tensor(SHAPE, scale=0.1)
    builder.op("custom:NESTED_SPARSE_CONV", [x], [y])
    with pytest.raises(RuntimeError, match="expected 3 inputs and 1 output"):
        new_interpreter(builder.build([x], [y])).allocate_tensors()


@pytest.mark.parametrize("left_out", ["activation", "stream", "output"])
def test_an_operand_left_out_is_refused(left_out: str) -> None:
    builder = ModelBuilder()
    x, y = builder.tensor(SHAPE, scale=0.05, zero_point=3), builder.tensor(SHAPE, scale=0.1)
    layer = random_layer(conv_params(), levels=2, seed=0)
    stream = builder.constant(np.frombuffer(nested_format.encode(layer), np.uint8))
    operands = {"activation": x, "stream": stream, "output": y, left_out: -1}
    builder.op(
        "custom:NESTED_SPARSE_CONV",
        [operands["activation"], -1, operands["stream"]],
        [operands["output"]],
    )
    # Any error is right but a crash; LiteRT refuses a missing output before the delegate sees it.
    message = "IndexError: expected a tensor in .* got -1, an operand left out"
    with pytest.raises((RuntimeError, ValueError), match=None if left_out == "output" else message):
        new_interpreter(builder.build([x], [y])).allocate_tensors()


@pytest.mark.parametrize(("shape", "dtype"), [((1,), "float32"), ((2,), "int32"), ((1,), "int8")])
def test_a_level_that_is_not_one_int32_is_refused(shape: tuple[int], dtype: str) -> None:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.05, zero_point=3)
    y = builder.tensor(SHAPE, scale=0.1, zero_point=-7)
    level = builder.tensor(shape, dtype=dtype, name="level")
    stream = nested_format.encode(random_layer(conv_params(), levels=2, seed=0))
    operands = [x, level, builder.constant(np.frombuffer(stream, np.uint8))]
    builder.op("custom:NESTED_SPARSE_CONV", operands, [y])
    interpreter = new_interpreter(builder.build([x, level], [y]))
    interpreter.allocate_tensors()
    with pytest.raises(RuntimeError, match="tensor 'level' must hold one int32: got"):
        interpreter.invoke()


def test_a_shared_delegate_forgets_the_kernels_of_interpreters_that_are_gone(model: bytes) -> None:
    delegate = NestedDelegate()
    kept = new_interpreter(model, delegate)
    kept.allocate_tensors()
    for _ in range(3):
        new_interpreter(model, delegate).allocate_tensors()
    gc.collect()
    assert len(delegate._kernels) == 3  # one for each operator of the one that is there
    kept.set_tensor(kept.get_input_details()[1]["index"], np.array([1], np.int32))
    kept.invoke()
    del kept
    gc.collect()
    assert len(delegate._kernels) == 0


def test_an_interpreter_may_outlive_its_script(model: bytes, tmp_path: Path) -> None:
    """At the end of Python a kernel is freed while modules are taken down."""
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    script = (
        "import sys\nfrom ai_edge_litert.interpreter import Interpreter\n"
        "from nested_keras.runtime import LiteRTModel, NestedDelegate\n"
        "i = Interpreter(sys.argv[1], experimental_delegates=[NestedDelegate()])\n"
        "i.allocate_tensors()\nm = LiteRTModel(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


def test_float_tensors_are_refused() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor(SHAPE, dtype="float32") for _ in range(2))
    stream = builder.constant(np.zeros(8, np.uint8))
    builder.op("custom:NESTED_SPARSE_CONV", [x, -1, stream], [y])
    with pytest.raises(RuntimeError, match="expected int8 input and output: got float32"):
        new_interpreter(builder.build([x], [y])).allocate_tensors()


def test_resizing_is_refused(model: bytes) -> None:
    interpreter = new_interpreter(model)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (2, 5, 3, 4))
    with pytest.raises(
        RuntimeError, match=r"does not fit the shapes \[2, 5, 3, 4\].*resize_tensor_input cannot"
    ):
        interpreter.allocate_tensors()


def test_a_plain_model_runs_too() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4), scale=0.5) for _ in range(2))
    builder.op("RELU", [x], [y])
    model = LiteRTModel(builder.build([x], [y]))
    assert model.levels == 1
    assert model.run(np.array([[-5, 5, 0, 7]], np.int8)).tolist() == [[0, 5, 0, 7]]


def test_other_operators_than_the_references() -> None:
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 4), scale=0.5) for _ in range(2))
    builder.op("ABS", [x], [y])
    model = LiteRTModel(builder.build([x], [y]))
    assert model.run(np.array([[-5, 5, 0, 7]], np.int8)).tolist() == [[5, 5, 0, 7]]


@pytest.mark.parametrize("zero_point", [-128, -5, 0, 127])
@pytest.mark.parametrize("scale", [1e-30, 0.1, 1e30])
def test_any_float_gives_what_the_reference_gives(zero_point: int, scale: float) -> None:
    values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e10, -1e10, 1e-45, 1.0, -0.05, 12.75]
    x = np.array([values], np.float32)
    builder = ModelBuilder()
    inputs = builder.tensor((1, len(values)), dtype="float32")
    outputs = builder.tensor((1, len(values)), scale=scale, zero_point=zero_point)
    builder.op("QUANTIZE", [inputs], [outputs], "QuantizeOptions")
    content = builder.build([inputs], [outputs])
    want = ReferenceModel(content).run(x)
    assert want[0, :3].tolist() == [zero_point, 127, -128]
    require_outputs(content, x, want)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("classes", [511, 512, 1000])
@pytest.mark.parametrize("spread", [0, 1, 100])
def test_softmax_of_many_classes_is_the_reference_s(classes: int, spread: int, beta: float) -> None:
    """LiteRT's own kernel ends the process where 512 classes and more are nearly even."""
    x = np.random.default_rng(classes).integers(-spread, spread + 1, (3, classes), np.int8)
    builder = ModelBuilder()
    inputs = builder.tensor((3, classes), scale=0.05)
    outputs = builder.tensor((3, classes), scale=1 / 256, zero_point=-128)
    builder.op("SOFTMAX", [inputs], [outputs], "SoftmaxOptions", beta=beta)
    content = builder.build([inputs], [outputs])
    want = ReferenceModel(content).run(x)
    if spread == 0:  # even probabilities of 1/512 and less round to zero
        assert (want.max() > -128) == (classes < 512)
    require_outputs(content, x, want)


def test_softmax_of_many_classes_refuses_what_litert_refuses() -> None:
    def build(zero_point: int) -> bytes:
        builder = ModelBuilder()
        inputs = builder.tensor((1, 1000), scale=0.05)
        outputs = builder.tensor((1, 1000), scale=1 / 256, zero_point=zero_point)
        builder.op("SOFTMAX", [inputs], [outputs], "SoftmaxOptions", beta=1.0)
        return builder.build([inputs], [outputs])

    with pytest.raises(RuntimeError, match="must have scale 1/256 and zero point -128: got"):
        new_interpreter(build(-5)).allocate_tensors()
    interpreter = new_interpreter(build(-128))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (2, 1000))
    with pytest.raises(RuntimeError, match=r"input's shape \[2, 1000\]: got \[1, 1000\]"):
        interpreter.allocate_tensors()
