"""Every reader of a .tflite ends on any bytes: with its result, or one error; in little memory."""

import time
import tracemalloc
import zlib
from contextlib import contextmanager

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings

from nested_keras import export, format as nested_format, report
from nested_keras.format import FormatError, LayerKind, LayerParams, NestedWeights, Stream
from nested_keras.runtime import ModelError, ReferenceModel
from nested_keras.tflite import flatbuffer
from nested_keras.tflite.file_reader import read_graph
from nested_keras.tflite.lowering import lower, read_interface
from tests.nested_keras.hostile import many_operators, mutations
from tests.nested_keras.tflite.nested_models import conv_params, nested_model, random_layer
from tests.nested_keras.tflite.tflite_builder import ModelBuilder

pytestmark = pytest.mark.slow


def read_and_write(model):
    """Copies a file whatever builtin operators are in it."""
    tree = flatbuffer.load(model)
    read_interface(read_graph(tree))
    return flatbuffer.save(tree)


MODEL = many_operators()
READERS = {
    "lower": lower,
    "inspect": report.level_sizes,
    "strip": lambda model: export.strip_model(model, 1),
    "copy": read_and_write,
    "run": ReferenceModel,
}


@contextmanager
def little(*, megabytes=64, seconds=10.0):
    """Fails where the block takes more than a small file can ask for."""
    tracemalloc.start()
    begin = time.monotonic()
    try:
        yield
        assert time.monotonic() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


def read_all(model):
    """Gives the bytes to each reader; any error but those that it names fails the test."""
    outcomes = {}
    for name, read in READERS.items():
        try:
            read(model)
            outcomes[name] = "read"
        except (ModelError, ValueError) as error:
            outcomes[name] = str(error)
    assert not any("\n" in outcome for outcome in outcomes.values())
    return outcomes


def test_the_sound_file_is_read():
    for model in (MODEL, many_operators(external=True)):
        assert set(read_all(model).values()) == {"read"}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(model=mutations(MODEL) | mutations(many_operators(external=True)))
def test_damaged_files_end_in_one_error(model):
    with little():
        read_all(model)


def changed(action):
    """The sound file after a change to its object tree."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODEL, 0))
    action(tree, tree.signatureDefs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("field", "action"),
    [
        ("subgraph", lambda tree, signature: setattr(signature, "subgraphIndex", 7)),
        ("tensor", lambda tree, s: setattr(s.inputs[0], "tensorIndex", 10**6)),
        ("tensor", lambda tree, s: setattr(s.outputs[0], "tensorIndex", 2**32 - 1)),
        ("buffer", lambda tree, signature: setattr(tree.metadata[0], "buffer", 999)),
    ],
)
def test_an_index_of_a_signature_or_of_metadata_out_of_range(field, action):
    outcomes = read_all(changed(action))
    for reader in ("strip", "copy"):
        assert f"{field} must be in 0.." in outcomes[reader]
    for reader in ("lower", "inspect", "run"):  # they do not need it
        assert outcomes[reader] == "read"


def test_a_tensor_that_only_the_signature_names_is_kept():
    def spare(tree, signature):
        tensors = tree.subgraphs[0].tensors
        tensors.append(tensors[0])
        signature.inputs[0].tensorIndex = len(tensors) - 1

    model = changed(spare)
    assert set(read_all(model).values()) == {"read"}
    kept = flatbuffer.load(export.strip_model(model, 1)).root
    entry = kept.signatureDefs[0].inputs[0]
    assert flatbuffer.text(kept.subgraphs[0].tensors[entry.tensorIndex].name) == "image"


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_a_signature_without_tensors(part):
    model = changed(lambda tree, signature: setattr(signature, part, None))
    assert set(read_all(model).values()) == {"read"}


# Vectors of objects, and the field in which each such object can hold much.
SHARED = {
    "subgraphs": (lambda tree: tree.subgraphs, "name"),
    "buffers": (lambda tree: tree.buffers, "data"),
    "operator codes": (lambda tree: tree.operatorCodes, "customCode"),
    "signatures": (lambda tree: tree.signatureDefs, "signatureKey"),
    "tensors": (lambda tree: tree.subgraphs[0].tensors, "name"),
    "operators": (lambda tree: tree.subgraphs[0].operators, "customOptions"),
}


@pytest.mark.parametrize("name", SHARED)
def test_many_offsets_to_one_large_object(name):
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODEL, 0))
    items, field = SHARED[name]
    first = items(tree)[0]
    large = np.zeros(200_000, np.uint8)
    setattr(first, field, large if field in ("data", "customOptions") else large.tobytes())
    once = type(first).Pack
    packed = {}

    def pack(self, builder):
        """Writes an object once and gives out its place again."""
        if id(self) not in packed:
            packed[id(self)] = once(self, builder)
        return packed[id(self)]

    items(tree).extend([first] * 50_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(first), "Pack", pack)
        builder = flatbuffers.Builder(1024)
        builder.Finish(tree.Pack(builder), b"TFL3")
    model = bytes(builder.Output())
    assert len(model) < 500_000
    with little():
        outcomes = read_all(model)
    for outcome in outcomes.values():
        assert "objects of the .tflite file must be no larger than the file" in outcome


def test_buffers_behind_the_flatbuffer_that_overlap():
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODEL, 0))
    for _ in range(2000):
        buffer = schema.BufferT()
        buffer.offset, buffer.size = 2, 100_000
        tree.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    with little():
        outcomes = read_all(bytes(builder.Output()) + bytes(100_000))
    assert all("behind the flatbuffer must share no bytes" in text for text in outcomes.values())


def sparse_giant(outputs=65535, inputs=65535):
    """A stream without weights whose header claims four thousand million of them."""
    params = LayerParams(LayerKind.FULLY_CONNECTED, 1, 1, 4, outputs)
    small = NestedWeights(
        params,
        weights=np.zeros(params.filter_shape, np.int8),
        level_map=np.ones(params.filter_shape, np.uint8),
        bias=np.zeros((1, outputs), np.int32),
        multiplier=np.zeros((1, outputs), np.int32),
        shift=np.zeros((1, outputs), np.int8),
    )
    stream = bytearray(nested_format.encode(small))
    place = stream.index((4).to_bytes(2, "little"), 16)
    stream[place : place + 2] = inputs.to_bytes(2, "little")
    stream[60:64] = zlib.crc32(stream[:60]).to_bytes(4, "little")
    return bytes(stream)


def test_a_stream_whose_header_claims_65535_by_65535_weights():
    stream = sparse_giant()
    assert Stream.parse(stream).params.in_channels == 65535
    builder = ModelBuilder()
    x, y = (builder.tensor((1, 65535), scale=0.1) for _ in range(2))
    packed = builder.constant(np.frombuffer(stream, np.uint8))
    builder.op("custom:NESTED_SPARSE_CONV", [x, -1, packed], [y])
    model = builder.build([x], [y])
    with little():
        assert set(read_all(model).values()) == {"read"}
    with little(), pytest.raises(FormatError, match=r"weights to unpack must be in .* 4294836225"):
        _ = Stream.parse(stream).weights
    with little(), pytest.raises(FormatError, match="weights to unpack"):
        ReferenceModel(model).run(np.zeros((1, 65535), np.int8))


@pytest.mark.parametrize("kind", [LayerKind.CONV, LayerKind.DEPTHWISE])
@pytest.mark.parametrize("shape", [(1, 20_000, 20_000, 4), (1, 1, 500_000_000, 4)])
def test_a_small_layer_on_a_giant_image(kind, shape):
    model = nested_model(random_layer(conv_params(kind), levels=2, seed=0), shapes=(shape, shape))
    with little():
        assert set(read_all(model).values()) == {"read"}


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e38])
@pytest.mark.parametrize("kind", ["RELU6", "LEAKY_RELU", "HARD_SWISH", "TANH", "QUANTIZE", "ADD"])
def test_scales_at_the_ends_of_float32(kind, scale):
    for scales in ((scale, 0.1), (0.1, scale), (scale, scale)):
        builder = ModelBuilder()
        x, y = (builder.tensor((1, 4), scale=s) for s in scales)
        options = {"LEAKY_RELU": "LeakyReluOptions", "ADD": "AddOptions"}.get(kind)
        fields = {"alpha": 1e30} if kind == "LEAKY_RELU" else {}
        builder.op(kind, [x, x] if kind == "ADD" else [x], [y], options, **fields)
        read_all(builder.build([x], [y]))
