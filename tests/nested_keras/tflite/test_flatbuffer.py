import struct

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from nested_keras.tflite import flatbuffer
from nested_keras.tflite.flatbuffer import Tree
from nested_keras.tflite.model_error import ModelError


def pack(root):
    """Writes the schema's object as it is, what is behind the flatbuffer included."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tree_with(data, *, unused=0):
    """A graph that outputs one constant, with unused tensors, buffers and operator codes."""
    root = schema.ModelT()
    root.version = 3
    root.buffers = [schema.BufferT()]
    root.operatorCodes = [schema.OperatorCodeT() for _ in range(unused)]
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = [], []
    subgraph.inputs = np.zeros(0, np.int32)
    subgraph.outputs = np.array([unused], np.int32)
    root.subgraphs = [subgraph]
    tree = Tree(root)
    for _ in range(unused + 1):
        tree.add_tensor("constant", (len(data),), schema.TensorType.INT8, tree.add_buffer(data))
    return tree


def test_buffers_are_aligned_and_survive():
    for size in (7, 15, 16, 17, 100):
        data = bytes(range(150, 150 + size))
        saved = flatbuffer.save(tree_with(data))
        assert saved.index(data) % 16 == 0
        again = flatbuffer.load(saved)
        assert bytes(again.root.buffers[1].data) == data
        assert flatbuffer.save(again) == saved


def test_unused_parts_are_removed():
    tree = flatbuffer.load(flatbuffer.save(tree_with(b"abc", unused=3)))
    assert len(tree.subgraph.tensors) == 1
    assert len(tree.root.buffers) == 2
    assert not tree.root.operatorCodes
    assert list(tree.subgraph.outputs) == [0]


def test_buffers_behind_the_flatbuffer_are_taken_in():
    inside = flatbuffer.save(tree_with(b"weights!"))
    tree = flatbuffer.load(inside)
    tree.root.buffers[1].data = None
    # Offsets are 64-bit fields of the buffer: write them, then put the data behind the file.
    tree.root.buffers[1].offset, tree.root.buffers[1].size = 2, 8
    packed = bytearray(pack(tree.root))
    position = packed.index(struct.pack("<QQ", 8, 2)) + 8
    packed[position : position + 8] = struct.pack("<Q", len(packed))
    again = flatbuffer.load(bytes(packed) + b"weights!")
    assert bytes(again.root.buffers[1].data) == b"weights!"
    assert flatbuffer.save(again) == inside


def test_text():
    assert flatbuffer.text(b"conv\xff") == "conv\N{REPLACEMENT CHARACTER}"
    assert flatbuffer.text(None) == ""
    assert flatbuffer.text("Faltung 卷积\u3000é".encode()) == "Faltung 卷积\u3000é"


@pytest.mark.parametrize(
    "sign", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e"]
)
def test_a_name_does_not_move_the_cursor(sign):
    assert flatbuffer.text(f"conv{sign}[31m".encode()) == "conv\N{REPLACEMENT CHARACTER}[31m"


def test_custom_options_behind_the_flatbuffer_are_taken_in():
    tree = tree_with(b"weights!")
    operator = schema.OperatorT()
    operator.inputs = operator.outputs = np.zeros(0, np.int32)
    tree.root.operatorCodes = [schema.OperatorCodeT()]
    tree.subgraph.operators = [operator]
    plain = flatbuffer.save(tree)
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = len(plain) + 1000, 7
    options = b"options"
    behind = pack(tree.root).ljust(len(plain) + 1000, b"\0") + options
    (again,) = flatbuffer.load(behind).subgraph.operators
    assert bytes(again.customOptions) == options
    assert again.largeCustomOptionsOffset == again.largeCustomOptionsSize == 0
    with pytest.raises(ModelError, match="custom options ends at byte"):
        flatbuffer.load(behind[:-1])


def test_a_copy_is_edited_alone():
    tree = tree_with(b"weights!")
    other = tree.copy()
    other.add_tensor("more", (1,), schema.TensorType.INT8, other.add_buffer(b"x"))
    assert (len(tree.subgraph.tensors), len(tree.root.buffers)) == (1, 2)
    assert other.root.buffers[1].data is tree.root.buffers[1].data
