"""Weights in a file: the generated C opens the file at run time, and takes other trainings."""

import ctypes
import dataclasses
import functools
import re
import struct
import zlib

import numpy as np
import pytest

from nested_keras.codegen import weights_file
from nested_keras.codegen.header_source import WEIGHTS_ALIGNMENT
from nested_keras.devices.toolchain import cortex_m7_toolchain, host_toolchain, run_tool
from nested_keras.firmware import CodegenError, generate
from nested_keras.runtime import ModelError
from tests.nested_keras.codegen.programs import (
    Builder,
    every_op,
    expected,
    float_ends,
    nested_net,
    random_inputs,
    shared_conv,
)
from tests.nested_keras.detection.detectors import detector_and_decoder

pytestmark = pytest.mark.arm

OK, ARGUMENT, FOREIGN, VERSION, TRUNCATED, CHECKSUM, MALFORMED, LEVEL = range(8)  # of nk_status


def residual_net(seed=0, *, scale=0.05):
    """Depthwise and plain layers, an Add, a table and a constant: every kind of trained number."""
    b = Builder(seed, levels=2)
    x = b.tensor((1, 8, 8, 4))
    y = b.nested(b.depthwise(b.conv(x, 4)), 4)
    y = b.sum(y, b.tensor((1, 1, 1, 4), data=b.int8(1, 1, 1, 4)))
    y = b.fully_connected(b.reshape(y, 1, 256), 5)
    prog = b.build([x], [y])
    tensors = tuple(dataclasses.replace(t, scale=scale) for t in prog.tensors)
    rng = np.random.default_rng(seed)
    ops = tuple(
        dataclasses.replace(op, input1_offset=int(rng.integers(-127, 128)))
        if hasattr(op, "input1_offset")
        else op
        for op in prog.ops
    )
    return dataclasses.replace(prog, tensors=tensors, ops=ops)


PROGRAMS = {
    "nested": nested_net,
    "residual": residual_net,
    "float_ends": float_ends,
    "every_op": every_op,
}


class Library:
    """A generated library of external weights on this computer."""

    def __init__(self, prog, folder, cache):
        self.prog = prog
        self.made = generate(prog, folder, weights="external")
        toolchain = host_toolchain()
        toolchain.link(self.made.compile(toolchain, cache), folder / "model.so")
        self.dll = ctypes.CDLL(str(folder / "model.so"))
        self.file = self.made.weights.read_bytes()
        self._kept = []

    def open(self, content, *, offset=0, size=None):
        """Calls model_open() with a copy of the content, which stays in memory."""
        room = np.zeros(len(content) + 64, np.uint8)
        start = -room.ctypes.data % 16 + offset
        room[start : start + len(content)] = np.frombuffer(content, np.uint8)
        self._kept.append(room)
        address = ctypes.c_void_p(room.ctypes.data + start)
        return self.dll.model_open(address, ctypes.c_size_t(len(content) if size is None else size))

    def invoke(self, inputs, level):
        tensors = (self.prog.tensors[i] for i in self.prog.outputs)
        outputs = [np.zeros(tensor.shape, tensor.dtype) for tensor in tensors]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*inputs, *outputs)]
        return self.dll.model_invoke(*pointers, ctypes.c_int32(level)), outputs


@functools.cache
def built(name, folder, cache):
    return Library(PROGRAMS[name](), folder / name, cache)


@pytest.fixture(name="build", scope="module")
def fixture_build(tmp_path_factory, object_cache):
    return functools.partial(built, folder=tmp_path_factory.mktemp("nets"), cache=object_cache)


@pytest.fixture(name="library")
def fixture_library(tmp_path, object_cache):
    """A library that no test has opened before."""
    return Library(residual_net(), tmp_path / "net", object_cache)


def with_crc(content):
    """The content with a right checksum."""
    data = bytearray(content)
    data[48:52] = struct.pack("<I", zlib.crc32(data[52:], zlib.crc32(data[:48])))
    return bytes(data)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_model_gives_the_same_bytes_as_with_compiled_weights(build, name):
    library = build(name)
    assert library.open(library.file) == OK
    inputs = random_inputs(library.prog, 1)
    for level in range(library.prog.levels):
        status, outputs = library.invoke(inputs, level)
        assert status == OK
        for y, wanted in zip(outputs, expected(library.prog, inputs, level), strict=True):
            np.testing.assert_array_equal(y, wanted)
    assert library.dll.model_check() == OK


@pytest.mark.parametrize("make", [nested_net, residual_net])
def test_another_training_gives_the_same_text_and_its_file_fits(make, tmp_path, object_cache):
    library = Library(make(seed=0), tmp_path / "first", object_cache)
    other = make(seed=5)
    if make is residual_net:  # scales, too
        other = residual_net(seed=5, scale=0.25)
    second = generate(other, tmp_path / "second", weights="external")
    for path in second.directory.rglob("*.[ch]"):
        first = library.made.directory / path.relative_to(second.directory)
        assert path.read_bytes() == first.read_bytes(), path
    content = second.weights.read_bytes()
    assert content != library.file
    inputs = random_inputs(other, 1)
    for file, prog in ((content, other), (library.file, library.prog)):
        assert library.open(file) == OK
        for level in range(prog.levels):
            status, (y,) = library.invoke(inputs, level)
            assert status == OK
            np.testing.assert_array_equal(y, expected(prog, inputs, level)[0])
        library.dll.model_input_scale.restype = ctypes.c_float
        scale = prog.tensors[prog.inputs[0]].scale
        assert library.dll.model_input_scale() == np.float32(scale)


def test_nothing_runs_before_a_file_is_open(library):
    inputs = random_inputs(library.prog, 1)
    assert library.invoke(inputs, 0)[0] == ARGUMENT
    assert library.dll.model_check() == ARGUMENT
    library.dll.model_input_scale.restype = ctypes.c_float
    assert library.dll.model_input_scale() == 0


def test_a_detector_finds_nothing_before_a_file_is_open(tmp_path, object_cache):
    prog, decoder = detector_and_decoder()
    made = generate(prog, tmp_path / "net", decoder=decoder, weights="external")
    toolchain = host_toolchain()
    toolchain.link(made.compile(toolchain, object_cache), tmp_path / "net.so")
    dll = ctypes.CDLL(str(tmp_path / "net.so"))
    rng = np.random.default_rng(0)
    shapes = (prog.tensors[i].shape for i in prog.outputs)
    outputs = [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
    (wanted,) = decoder.detect(*outputs)
    found, count = np.zeros((decoder.max_boxes, 6), np.int32), ctypes.c_int32()

    def detect():
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*outputs, found)]
        return dll.model_detect(*pointers, ctypes.byref(count))

    assert detect() == ARGUMENT
    content = np.frombuffer(made.weights.read_bytes() + bytes(16), np.uint8).copy()
    assert dll.model_open(ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content))) == OK
    assert detect() == OK
    np.testing.assert_array_equal(found[: count.value], wanted)


def test_a_file_that_ends_too_early_is_refused(library):
    content = library.file
    lengths = [*range(0, 130), *range(130, len(content), 97), len(content) - 1]
    statuses = {library.open(content[:length]) for length in lengths}
    assert statuses == {TRUNCATED}


def test_the_memory_may_be_larger_than_the_file(library):
    assert library.open(library.file + b"\xff" * 40) == OK


def test_any_damaged_byte_is_found(library):
    names = {FOREIGN, VERSION, TRUNCATED, CHECKSUM, MALFORMED}
    for index in range(len(library.file)):
        damaged = bytearray(library.file)
        damaged[index] ^= 1 << index % 8
        status = library.open(bytes(damaged))
        assert status in names, index
        assert status == CHECKSUM or index < 12, index


def test_after_a_refusal_the_weights_opened_before_stay(library):
    assert library.open(library.file) == OK
    assert library.open(library.file[:-1]) == TRUNCATED
    inputs = random_inputs(library.prog, 1)
    status, (y,) = library.invoke(inputs, 1)
    assert status == OK
    np.testing.assert_array_equal(y, expected(library.prog, inputs, 1)[0])


def other_nets():
    yield nested_net()
    b = Builder(levels=2)
    x = b.tensor((1, 8, 8, 4))
    yield b.build([x], [b.nested(x, 4, stride=2)])


@pytest.mark.parametrize("index", [0, 1])
def test_the_file_of_another_model_is_refused(library, index, tmp_path):
    other = generate(list(other_nets())[index], tmp_path / "other", weights="external")
    assert library.open(other.weights.read_bytes()) == FOREIGN


@pytest.mark.parametrize("content", [b"TFL3" + bytes(100), b"NSC1" + bytes(100), bytes(100)])
def test_other_data_is_refused(library, content):
    assert library.open(content) == FOREIGN


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_a_misaligned_file_is_refused(library, offset):
    assert WEIGHTS_ALIGNMENT == 4
    assert library.open(library.file, offset=offset) == ARGUMENT
    assert library.open(library.file, offset=4) == OK


def test_a_null_pointer_is_refused(library):
    assert library.dll.model_open(None, ctypes.c_size_t(100)) == ARGUMENT


def test_a_forged_file_is_refused(library):
    """Right checksums and the right digest do not help."""

    def changed(offset, text):
        data = bytearray(library.file)
        data[offset : offset + len(text)] = text
        return with_crc(data)

    arrays = struct.unpack_from("<I", library.file, 12)[0]
    assert library.open(changed(4, struct.pack("<I", 2))) == VERSION
    assert library.open(changed(8, struct.pack("<I", 16))) == MALFORMED
    assert library.open(changed(8, struct.pack("<I", 1 << 31))) == TRUNCATED
    assert library.open(changed(12, struct.pack("<I", arrays + 1))) == MALFORMED
    size = len(library.file)
    for row in range(arrays):
        place = 64 + 8 * row
        for offset, length in ((size + 16, 4), (16, size), (8, 4), (2**32 - 16, 32)):
            forged = changed(place, struct.pack("<II", offset, length))
            assert library.open(forged) == MALFORMED, (row, offset, length)
    # A stream of another layer.
    first = library.file.index(b"NSC1")
    for byte in (6, 7, 8, 9, 14, 16, 20, 22):
        assert library.open(changed(first + byte, bytes([9]))) == MALFORMED
    # Weights that only the stream's own checksum guards.
    assert library.open(changed(first + 100, b"\x55\xaa")) == CHECKSUM


def test_a_shared_layer_lies_in_the_file_once(tmp_path):
    made = generate(shared_conv(), tmp_path, weights="external")
    content = made.weights.read_bytes()
    assert content.count(b"NSC1") == 1
    assert "ARRAY_SIZE(2)" in (tmp_path / "model.c").read_text()
    assert "ARRAY_SIZE(3)" in (tmp_path / "model.c").read_text()


def test_the_code_has_no_weights(tmp_path):
    toolchain = cortex_m7_toolchain()
    sizes = {}
    for weights in ("compiled", "external"):
        made = generate(nested_net(), tmp_path / weights, weights=weights)
        compiled = toolchain.compile(
            made.sources[0], include_dirs=made.include_dirs, cache_dir=tmp_path
        )
        listing = run_tool(["arm-none-eabi-size", "-A", str(compiled)])
        rows = re.findall(r"^\.rodata\S* +(\d+)", listing, re.MULTILINE)
        sizes[weights] = sum(map(int, rows))
    assert "model_open(file, size);" in (tmp_path / "external" / "README.md").read_text()
    assert "model_open" not in (tmp_path / "compiled" / "README.md").read_text()
    assert sizes["compiled"] > made.data_bytes
    assert sizes["external"] < 400


def test_a_library_changes_the_place_of_its_weights(tmp_path):
    for weights in ("external", "external", "compiled", "external"):
        generate(nested_net(), tmp_path, weights=weights)
        is_external = weights == "external"
        assert (tmp_path / "model_weights.bin").exists() == is_external
        assert (tmp_path / "include" / "nk_weights.h").exists() == is_external
        assert (tmp_path / "model_data.h").exists() != is_external


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / "model_weights.bin").write_bytes(b"mine")
    with pytest.raises(CodegenError, match=r"did not write: model_weights\.bin"):
        generate(nested_net(), tmp_path, weights="external")
    assert (tmp_path / "model_weights.bin").read_bytes() == b"mine"


def test_an_unknown_place_is_refused(tmp_path):
    with pytest.raises(ValueError, match="weights must be one of compiled, external: got 'flash'"):
        generate(nested_net(), tmp_path / "out", weights="flash")
    assert not (tmp_path / "out").exists()


def test_numbers_and_arrays_come_back_from_the_file():
    constants = weights_file.ExternalConstants()
    assert [constants.number(7), constants.number(0.5)] == ["INTEGER(0)", "REAL(0)"]
    assert constants.number(-3) == "INTEGER(1)"
    array = constants.add("a", np.arange(5, dtype=np.int8))
    assert (array, constants.size_of(array)) == ("ARRAY(int8_t, 2)", "ARRAY_SIZE(2)")
    assert constants.add("b", np.arange(5, dtype=np.int8)) == "ARRAY(int8_t, 3)"
    content = constants.file(bytes(range(32)))
    magic, version, size, count, digest = struct.unpack_from("<4sIII32s", content)
    assert (magic, version, size, count) == (b"NKW1", 1, len(content), 4)
    assert digest == bytes(range(32))
    assert with_crc(content) == content
    rows = [struct.unpack_from("<II", content, 64 + 8 * i) for i in range(count)]
    parts = [content[offset : offset + length] for offset, length in rows]
    assert parts[0] == struct.pack("<ii", 7, -3)
    assert parts[1] == struct.pack("<f", 0.5)
    assert parts[2] == parts[3] == bytes(range(5))
    assert rows[2] == rows[3]
    assert all(offset % 16 == 0 for offset, _ in rows)


def test_bytes_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(ModelError):
        generate(b"no model at all", tmp_path, weights="external")
