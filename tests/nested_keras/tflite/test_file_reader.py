import numpy as np
import pytest

from nested_keras.runtime import ModelError, lower
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph
from tests.nested_keras.tflite.nested_models import conv_params, nested_model, random_layer
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

SHAPE = (1, 5, 3, 4)


@pytest.fixture(scope="module")
def model() -> bytes:
    return nested_model(random_layer(conv_params(), levels=2, seed=0), shapes=(SHAPE, SHAPE))


def one_tensor_graph() -> tuple[ModelBuilder, int, int]:
    builder = ModelBuilder()
    x = builder.tensor(SHAPE, scale=0.5, zero_point=1, name="x")
    y = builder.tensor(SHAPE, scale=0.5, zero_point=1, name="y")
    builder.op("RELU", [x], [y])
    return builder, x, y


def test_reads_names_shapes_and_quantisation(model: bytes) -> None:
    graph = read_graph(flatbuffer.load(model))
    image = graph.tensors[graph.inputs[0]]
    assert (image.name, image.shape, image.dtype) == ("image", SHAPE, "int8")
    assert (image.scale, image.zero_point) == (float(np.float32(0.05)), 3)
    assert [(op.kind, op.custom) for op in graph.operators] == [("NESTED_SPARSE_CONV", True)]


def test_buffers_behind_the_flatbuffer_are_read() -> None:
    layer = random_layer(conv_params(), levels=2, seed=0)
    inside = nested_model(layer, shapes=(SHAPE, SHAPE))
    outside = nested_model(layer, shapes=(SHAPE, SHAPE), external=True)
    assert inside.count(b"NSC1") == outside.count(b"NSC1") == 1
    assert lower(outside).ops[0].layer.data == lower(inside).ops[0].layer.data


def test_truncation_in_an_outside_buffer() -> None:
    layer = random_layer(conv_params(), levels=2, seed=0)
    outside = nested_model(layer, shapes=(SHAPE, SHAPE), external=True)
    with pytest.raises(ModelError, match=rf"ends at byte \d+, the file at {len(outside) - 40}"):
        lower(outside[:-40])


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "nothing"), (b"PK\x03\x04 a zip archive", "20 61 20 7a"), (b"\0" * 64, "00 00 00 00")],
)
def test_foreign_files(content: bytes, found: str) -> None:
    with pytest.raises(ModelError, match=f"expected 'TFL3' at byte 4, got {found}"):
        lower(content)


def test_every_truncation_is_a_model_error(model: bytes) -> None:
    for size in range(0, len(model) - 64, 7):
        with pytest.raises(ModelError):
            lower(model[:size])


def test_mutations_never_raise_anything_else(model: bytes) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(model)
        for position in rng.integers(0, len(model), rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        try:
            lower(bytes(damaged))
        except ModelError:
            refused += 1
    assert refused > 500


def test_dynamic_shape() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].shapeSignature = np.array([1, -1, 3, 4], np.int32)
    with pytest.raises(ModelError, match=r"'x' has a dynamic shape \[1, -1, 3, 4\]: convert"):
        lower(builder.build([x], [y]))


def test_a_free_batch_size_is_that_of_the_file() -> None:
    builder, x, y = one_tensor_graph()
    for tensor in (x, y):
        signature = np.array([-1, 5, 3, 4], np.int32)
        builder.tree.subgraphs[0].tensors[tensor].shapeSignature = signature
    assert lower(builder.build([x], [y])).tensors[x].shape == SHAPE


def test_unknown_tensor_type() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].type = 1
    with pytest.raises(ModelError, match=r"'x' must have one of the types .*: got float16"):
        lower(builder.build([x], [y]))


def test_several_subgraphs() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs.append(builder.tree.subgraphs[0])
    with pytest.raises(ModelError, match="one subgraph: got 2"):
        lower(builder.build([x], [y]))


def test_variable_tensor() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].isVariable = True
    with pytest.raises(ModelError, match="'x' is a variable or a TFLite-sparse tensor"):
        lower(builder.build([x], [y]))


def test_constant_of_the_wrong_size() -> None:
    builder, x, y = one_tensor_graph()
    constant = builder.constant(np.zeros(6, np.int8), name="c")
    builder.tree.subgraphs[0].tensors[constant].shape = np.array([7], np.int32)
    with pytest.raises(ModelError, match=r"'c' of shape \[7\] needs 7 bytes: got 6"):
        lower(builder.build([x], [y]))


def test_tensor_index_out_of_range() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].operators[0].inputs = np.array([9], np.int32)
    with pytest.raises(ModelError, match="index 9 is out of range: there are 2 tensors"):
        lower(builder.build([x], [y]))


def test_buffer_index_out_of_range() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].buffer = 5
    with pytest.raises(ModelError, match="tensor 0 has buffer 5 of 1"):
        lower(builder.build([x], [y]))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_scale_that_is_not_positive(scale: float) -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].quantization.scale = np.array([scale], np.float32)
    with pytest.raises(ModelError, match="'x' must have positive finite scales"):
        lower(builder.build([x], [y]))


def test_numbers_of_scales_and_zero_points_differ() -> None:
    builder, x, y = one_tensor_graph()
    quantization = builder.tree.subgraphs[0].tensors[x].quantization
    quantization.zeroPoint = np.array([1, 2, 3], np.int64)
    with pytest.raises(ModelError, match="'x' has 1 scales and 3 zero points"):
        lower(builder.build([x], [y]))


def test_too_many_elements() -> None:
    builder, x, y = one_tensor_graph()
    builder.tree.subgraphs[0].tensors[x].shape = np.array([2**16, 2**15, 1, 1], np.int32)
    with pytest.raises(ModelError, match="'x' has too many elements"):
        lower(builder.build([x], [y]))
