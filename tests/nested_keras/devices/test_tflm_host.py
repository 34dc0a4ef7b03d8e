import importlib.metadata
import struct
import zlib

import numpy as np
import pytest

from nested_keras.devices import tflm_host
from nested_keras.devices.tflm_host import TflmInterpreter
from nested_keras.firmware import TflmModel
from nested_keras.format import LayerKind, Stream, encode
from nested_keras.runtime import ModelError, ReferenceModel
from tests.nested_keras.runtime.oracle import Draw
from tests.nested_keras.tflite.nested_models import (
    conv_params,
    dense_params,
    nested_model,
    random_layer,
)
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.slow

pytest.importorskip(
    "tflite_micro", reason="needs the package tflite-micro (pip install 'nested_keras[tflm]')"
)

SHAPE = (1, 5, 3, 4)
X = np.random.default_rng(0).integers(-128, 128, (6, *SHAPE[1:])).astype(np.int8)


def layers(levels=3):
    return (
        random_layer(conv_params(), levels=levels, seed=0),
        random_layer(conv_params(LayerKind.DEPTHWISE, input_offset=7), levels=levels, seed=1),
        random_layer(dense_params(input_offset=7), levels=levels, seed=2),
    )


def chain(*, levels=3, **options):
    """Convolution, depthwise and fully connected, all nested."""
    return nested_model(*layers(levels), shapes=(SHAPE, SHAPE, SHAPE, (1, 5)), **options)


def assert_equals_the_reference(model, x=X):
    reference, tflm = ReferenceModel(model), TflmModel(model)
    assert tflm.levels == reference.levels
    # Up and down again: the level may change from one inference to the next.
    for level in [*range(reference.levels), *reversed(range(reference.levels)), None]:
        np.testing.assert_array_equal(tflm.run(x, level), reference.run(x, level))


@pytest.mark.parametrize("levels", [1, 2, 5, 16])
def test_every_level_equals_the_reference(levels):
    assert_equals_the_reference(chain(levels=levels))


def test_a_model_without_level_input_asks_the_external_context():
    assert_equals_the_reference(chain(level_input=False))


def test_buffers_behind_the_flatbuffer():
    assert_equals_the_reference(chain(external=True))


def test_two_models_side_by_side():
    one, two = TflmModel(chain()), TflmModel(chain(level_input=False, levels=2))
    for level in (1, 0):
        np.testing.assert_array_equal(one.run(X, level), ReferenceModel(chain()).run(X, level))
        expected = ReferenceModel(chain(level_input=False, levels=2)).run(X, level)
        np.testing.assert_array_equal(two.run(X, level), expected)


@pytest.mark.parametrize("level", [3, -1, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("level_input", [True, False])
def test_a_level_out_of_range_fails_and_the_interpreter_goes_on(level, level_input):
    interpreter = TflmInterpreter(chain(level_input=level_input))

    def run(at):
        interpreter.set_input(X[:1], 0)
        if level_input:
            interpreter.set_input(np.array([at], np.int32), 1)
        interpreter.invoke(external_level=at)
        return interpreter.get_output(0)

    reference = ReferenceModel(chain(level_input=level_input))
    for good in range(3):
        with pytest.raises(RuntimeError, match=rf"level must be in 0\.\.2: got {level}$"):
            run(level)
        np.testing.assert_array_equal(run(good), reference.run(X[:1], good))


def test_level_argument_out_of_range():
    with pytest.raises(ValueError, match=r"level must be in 0\.\.2: got 3"):
        TflmModel(chain()).run(X, 3)


def test_an_arena_that_is_too_small_is_an_error_and_a_larger_one_works():
    model = chain()
    messages = set()
    for arena_bytes in range(1024, 16384, 64):
        try:
            tflm = TflmModel(model, arena_bytes=arena_bytes)
        except RuntimeError as error:
            messages.add(str(error))
            continue
        break
    assert any("NESTED_SPARSE_CONV: the arena is too small for Init" in m for m in messages)
    np.testing.assert_array_equal(tflm.run(X, 0), ReferenceModel(model).run(X, 0))


def test_an_arena_that_would_crash_tflite_micro():
    with pytest.raises(ValueError, match="arena_bytes must be at least 1024: got 256"):
        TflmModel(chain(), arena_bytes=256)


STREAM = encode(layers()[0])
FIRST_BLOCK = 64


def with_header(offset, value):
    """The stream with another header field and a checksum that agrees."""
    data = bytearray(STREAM)
    data[offset : offset + len(value)] = value
    data[60:64] = struct.pack("<I", zlib.crc32(data[:60]))
    return bytes(data)


def flipped(offset):
    data = bytearray(STREAM)
    data[offset] ^= 1
    return bytes(data)


def padded(data):
    """As long as the stream in the model: a shorter one is followed by zeros."""
    return data.ljust(len(STREAM), b"\0")


BROKEN = {
    "magic": (flipped(0), "NK_ERROR_FOREIGN"),
    "version": (with_header(4, b"\2"), "NK_ERROR_VERSION"),
    "header": (flipped(60), "NK_ERROR_CHECKSUM"),
    "block": (flipped(len(STREAM) - 1), "the stream is not valid"),
    "checksum of a block": (flipped(FIRST_BLOCK + 28), "NK_ERROR_CHECKSUM"),
    # More than the zeros that a stream may end with.
    "cut": (padded(STREAM[: len(STREAM) - 64]), "the stream is not valid"),
    "tables of another size": (with_header(20, struct.pack("<H", 260)), "the stream is not valid"),
    "kernel of another size": (with_header(16, struct.pack("<H", 5)), "do not take 5x3 to 5x3"),
    "stride": (with_header(9, b"\3"), "do not take 5x3 to 5x3 pixels"),
    "zero point": (with_header(28, struct.pack("<i", -4)), "not valid|zero point of the input"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_stream_is_refused_and_the_next_model_runs(what):
    stream, message = BROKEN[what]
    model = chain()
    assert model.count(STREAM) == 1
    broken = model.replace(STREAM, stream)
    with pytest.raises(ModelError):
        TflmModel(broken)  # Python looks first
    with pytest.raises(RuntimeError, match=f"TFLite Micro refused the model: .*({message})"):
        TflmInterpreter(broken)
    np.testing.assert_array_equal(TflmModel(model).run(X, 1), ReferenceModel(model).run(X, 1))


def test_a_stream_cut_between_levels_is_a_smaller_model():
    layer = layers()[0]
    full = nested_model(layer, shapes=(SHAPE, SHAPE))
    short = Stream.parse(STREAM).strip(2).data
    # The length stands in the tensor's shape and before the buffer's data.
    assert full.count(struct.pack("<i", len(STREAM))) == 2
    smaller = full.replace(struct.pack("<i", len(STREAM)), struct.pack("<i", len(short)))
    interpreter = TflmInterpreter(smaller)
    interpreter.set_input(X[:1], 0)
    interpreter.set_input(np.array([1], np.int32), 1)
    interpreter.invoke()
    expected = ReferenceModel(full).run(X[:1], 1)
    np.testing.assert_array_equal(interpreter.get_output(0), expected)
    interpreter.set_input(np.array([2], np.int32), 1)
    with pytest.raises(RuntimeError, match=r"level must be in 0\.\.1: got 2"):
        interpreter.invoke()


def test_foreign_bytes():
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        TflmModel(b"nonsense")


def test_another_version_of_the_package(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.dev20261023182759")
    with pytest.raises(ImportError, match=f"expected tflite-micro {tflm_host.WHEEL_VERSION}: got"):
        TflmModel(chain())


def test_a_missing_package(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"pip install 'nested_keras\[tflm\]'"):
        TflmModel(chain())


def int8_lookup(table, *, inputs=2):
    builder = ModelBuilder()
    x, y = (builder.tensor(SHAPE, scale=scale, zero_point=3) for scale in (0.1, 0.2))
    builder.op("custom:INT8_LOOKUP", [x, builder.constant(table)][:inputs], [y])
    return builder.build([x], [y])


def test_int8_lookup():
    assert_equals_the_reference(int8_lookup(np.arange(256).astype(np.int8)))


@pytest.mark.parametrize(
    ("table", "inputs", "text"),
    [
        (np.zeros(255, np.int8), 2, "the table must be a constant of int8 with 256 entries"),
        (np.zeros(256, np.uint8), 2, "the table must be a constant of int8 with 256 entries"),
        (np.zeros(256, np.int8), 1, "expected the inputs activation and table, and one output"),
    ],
)
def test_a_lookup_of_another_form_is_refused(table, inputs, text):
    with pytest.raises(RuntimeError, match=f"INT8_LOOKUP: {text}"):
        TflmModel(int8_lookup(table, inputs=inputs))


def builtins(draw, shape, other, *, keep):
    """A model with an operator of ours, so that ADD and MEAN are ours too."""
    builder = ModelBuilder()
    scales = draw.scale(), draw.scale()
    point = draw.point()
    a, looked_up = (builder.tensor(shape, scale=scales[0], zero_point=point) for _ in range(2))
    b = builder.tensor(other, scale=scales[1], zero_point=draw.point())
    shapes = np.broadcast_shapes(shape, other)
    total = builder.tensor(shapes, scale=draw.scale(0.15, 3) * sum(scales), zero_point=draw.point())
    small = (shapes[0], 1, 1, shapes[3]) if keep else (shapes[0], shapes[3])
    mean = builder.tensor(small, scale=draw.scale(), zero_point=draw.point())
    table = builder.constant(np.arange(-128, 128).astype(np.int8))
    builder.op("custom:INT8_LOOKUP", [a, table], [looked_up])
    operands = [looked_up, b]
    builder.op("ADD", operands, [total], "AddOptions", fusedActivationFunction=draw.fused())
    axes = builder.constant(np.array([1, -2], np.int32))
    builder.op("MEAN", [total, axes], [mean], "ReducerOptions", keepDims=keep)
    return builder.build([a, b], [total, mean])


@pytest.mark.parametrize("other", [(1, 5, 7, 6), (1, 1, 1, 6), (1, 5, 1, 1)])
def test_our_add_and_mean_equal_the_reference(other):
    for seed in range(12):
        draw = Draw(seed)
        model = builtins(draw, (1, 5, 7, 6), other, keep=seed % 2 == 0)
        inputs = draw.int8(1, 5, 7, 6), draw.int8(*other)
        expected = ReferenceModel(model).run(inputs)
        for got, want in zip(TflmModel(model).run(inputs), expected, strict=True):
            np.testing.assert_array_equal(got, want, f"{seed=}")


def test_our_mean_refuses_other_axes():
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 2, 3, 4), scale=0.1) for _ in range(2))
    builder.op("custom:INT8_LOOKUP", [x, builder.constant(np.arange(256).astype(np.int8))], [y])
    mean = builder.tensor((1, 2, 3), scale=0.1)
    builder.op("MEAN", [y, builder.constant(np.array([3], np.int32))], [mean], "ReducerOptions")
    content = builder.build([x], [mean])
    with pytest.raises(RuntimeError, match="NK_MEAN: expected int8 and the axes 1 and 2"):
        TflmInterpreter(content, is_ours=True)
    TflmInterpreter(content)  # TFLite Micro's own takes the channels
