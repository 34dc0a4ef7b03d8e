"""A generated library in memory that the program chooses: its own arenas, its own sections."""

import concurrent.futures
import ctypes
import functools
import re

import numpy as np
import pytest

from nested_keras.codegen.header_source import ARENA_ALIGNMENT
from nested_keras.devices.toolchain import cortex_m7_toolchain, host_toolchain, run_tool
from nested_keras.firmware import generate
from tests.nested_keras.codegen.programs import (
    every_op,
    expected,
    float_ends,
    nested_net,
    random_inputs,
)
from tests.nested_keras.detection.detectors import detector_and_decoder
from tests.tflm_ops.library import Guarded

pytestmark = pytest.mark.arm

OK, LEVEL, BUFFER = 0, 7, 9  # of nk_status
PROGRAMS = {"nested": nested_net, "float_ends": float_ends, "every_op": every_op}


@functools.cache
def loaded(name, folder, cache):
    """The library of a program, and its functions."""
    library = generate(PROGRAMS[name](), folder / name)
    shared = folder / f"{name}.so"
    toolchain = host_toolchain()
    toolchain.link(library.compile(toolchain, cache), shared)
    return library, ctypes.CDLL(str(shared))


@pytest.fixture(name="load", scope="module")
def fixture_load(tmp_path_factory, object_cache):
    return functools.partial(
        loaded, folder=tmp_path_factory.mktemp("libraries"), cache=object_cache
    )


def pointers(arrays):
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def room_for_outputs(prog):
    tensors = (prog.tensors[i] for i in prog.outputs)
    return [np.zeros(tensor.shape, tensor.dtype) for tensor in tensors]


def invoke_in(dll, arena, size, inputs, outputs, level):
    arguments = [*pointers([*inputs, *outputs]), ctypes.c_int32(level)]
    return dll.model_invoke_in(ctypes.c_void_p(arena), ctypes.c_size_t(size), *arguments)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_arena_of_the_caller_gives_the_same_bytes_and_nothing_around_it_changes(load, name):
    library, dll = load(name)
    prog = library.program
    inputs = random_inputs(prog, 1)
    # Not a multiple of 8: the stated alignment must do.
    arena = Guarded((library.arena_bytes + ARENA_ALIGNMENT,), np.int8)
    arena.array[:] = 77
    address = arena.array.ctypes.data
    address += ARENA_ALIGNMENT if address % 8 == 0 else 0
    for level in range(prog.levels):
        outputs = room_for_outputs(prog)
        assert invoke_in(dll, address, library.arena_bytes, inputs, outputs, level) == OK
        for y, wanted in zip(outputs, expected(prog, inputs, level), strict=True):
            np.testing.assert_array_equal(y, wanted)
    assert arena.is_intact()


def test_calls_in_different_arenas_run_at_the_same_time(load):
    library, dll = load("nested")
    prog = library.program

    def run(seed):
        inputs = random_inputs(prog, 1, seed)
        level = seed % prog.levels
        (wanted,) = expected(prog, inputs, level)
        arena = np.zeros(library.arena_bytes // 4, np.int32)
        for _ in range(200):  # ctypes lets other threads run during a call
            outputs = room_for_outputs(prog)
            assert invoke_in(dll, arena.ctypes.data, arena.nbytes, inputs, outputs, level) == OK
            np.testing.assert_array_equal(outputs[0], wanted)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))


@pytest.mark.parametrize(
    ("offset", "missing", "status"),
    [(0, 1, BUFFER), (1, 0, BUFFER), (2, 0, BUFFER), (3, 0, BUFFER), (None, 0, BUFFER)],
)
def test_an_arena_that_cannot_be_used_is_refused(load, offset, missing, status):
    library, dll = load("nested")
    inputs, outputs = random_inputs(library.program, 1), room_for_outputs(library.program)
    room = np.zeros(library.arena_bytes // 4 + 1, np.int32)
    address = 0 if offset is None else room.ctypes.data + offset
    size = library.arena_bytes - missing
    assert invoke_in(dll, address, size, inputs, outputs, 0) == status
    assert not room.any()
    assert not outputs[0].any()


def test_a_level_out_of_range_is_refused_in_an_arena_of_the_caller(load):
    library, dll = load("nested")
    inputs, outputs = random_inputs(library.program, 1), room_for_outputs(library.program)
    arena = np.zeros(library.arena_bytes // 4, np.int32)
    for level in (-1, library.program.levels):
        assert invoke_in(dll, arena.ctypes.data, arena.nbytes, inputs, outputs, level) == LEVEL


def test_inputs_and_outputs_have_places_in_an_arena_of_the_caller(load):
    library, dll = load("nested")
    prog = library.program
    arena = np.zeros(library.arena_bytes, np.int8)
    dll.model_input_in.restype = dll.model_output_in.restype = ctypes.c_void_p
    address = ctypes.c_void_p(arena.ctypes.data)
    places = [dll.model_input_in(address), dll.model_output_in(address)]
    (x,) = random_inputs(prog, 1)
    source, target = (place - arena.ctypes.data for place in places)
    arena[source : source + x.size] = x.reshape(-1)
    arguments = [*map(ctypes.c_void_p, places), ctypes.c_int32(1)]
    assert dll.model_invoke_in(address, ctypes.c_size_t(arena.nbytes), *arguments) == OK
    (wanted,) = expected(prog, [x], 1)
    np.testing.assert_array_equal(arena[target : target + wanted.size], wanted.reshape(-1))


def test_two_models_in_one_cpp_program_share_an_arena(tmp_path):
    """The headers are C++ without a warning; the kernels are compiled once."""
    libraries = [
        generate(nested_net(seed=seed), tmp_path / name, name=name)
        for seed, name in ((0, "first"), (1, "second"))
    ]
    (tmp_path / "main.cpp").write_text("""
#include "first.h"
#include "second.h"
alignas(FIRST_ARENA_ALIGNMENT) static signed char arena[FIRST_ARENA_SIZE + SECOND_ARENA_SIZE];
int main() {
  static int8_t output[FIRST_OUTPUT_SIZE + SECOND_OUTPUT_SIZE];
  const nk_status first =
      first_invoke_in(arena, sizeof arena, first_input_in(arena), output, FIRST_LEVELS - 1);
  const nk_status second =
      second_invoke_in(arena, sizeof arena, second_input_in(arena), output, SECOND_LEVELS - 1);
  return first == NK_OK && second == NK_OK && first_check() == NK_OK ? 0 : 1;
}
""")
    includes = [f"-I{folder}" for library in libraries for folder in library.include_dirs]
    sources = {path.name: path for library in libraries for path in library.sources}.values()
    objects = []
    for source in (tmp_path / "main.cpp", *sources):
        compiler = "c++ -std=c++17" if source.suffix == ".cpp" else "cc -std=c11"
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
        objects.append(str(tmp_path / f"{source.name}.o"))
        run_tool([*compiler.split(), *strict, *includes, "-c", str(source), "-o", objects[-1]])
    run_tool(["c++", *objects, "-lm", "-o", str(tmp_path / "app")])
    run_tool([str(tmp_path / "app")])


def cortex_m7_program(library, main, folder, *, flags=(), link_flags=()):
    """Links a program of the library and `main` for the Cortex-M7."""
    (folder / "main.c").write_text(main)
    toolchain = cortex_m7_toolchain()
    objects = [
        toolchain.compile(
            source, include_dirs=library.include_dirs, cache_dir=folder, extra_flags=flags
        )
        for source in (folder / "main.c", *library.sources)
    ]
    toolchain.link(objects, folder / "app.elf", flags=("--specs=nosys.specs", *link_flags))
    return folder / "app.elf"


CALLS = {
    "model_invoke(image, scores, 0)": True,
    "model_invoke_in(memory, sizeof memory, image, scores, 0)": False,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_program_has_the_static_arena_only_if_it_uses_it(call, tmp_path):
    library = generate(nested_net(), tmp_path / "net")
    elf = cortex_m7_program(
        library,
        f"""
#include "model.h"
static int32_t memory[MODEL_ARENA_SIZE / 4];
static int8_t image[MODEL_INPUT_SIZE], scores[MODEL_OUTPUT_SIZE];
int main(void) {{ return memory[0] + (int){call}; }}
void _start(void) {{ main(); }}
""",
        tmp_path,
    )
    symbols = run_tool(["arm-none-eabi-nm", str(elf)])
    assert (" static_arena" in symbols) == CALLS[call]


def test_a_detector_has_no_static_memory_either(tmp_path):
    prog, decoder = detector_and_decoder()
    library = generate(prog, tmp_path / "net", decoder=decoder)
    main = """
#include "model.h"
static int32_t arena[MODEL_ARENA_SIZE / 4], work[MODEL_DETECT_SCRATCH_SIZE / 4];
static int8_t image[MODEL_INPUT_SIZE], boxes[MODEL_OUTPUT0_SIZE], scores[MODEL_OUTPUT1_SIZE];
static nk_detection found[MODEL_MAX_BOXES];
int main(void) {
  int32_t count = 0;
  (void)model_invoke_in(arena, sizeof arena, image, boxes, scores, 0);
  return (int)model_detect_in(work, sizeof work, boxes, scores, found, &count);
}
void _start(void) { main(); }
"""
    elf = cortex_m7_program(library, main, tmp_path)
    objects = re.findall(r" [bBdD] (\w+)$", run_tool(["arm-none-eabi-nm", str(elf)]), re.MULTILINE)
    own = {"arena", "work", "image", "boxes", "scores", "found"}
    assert {name for name in objects if not name.startswith("_")} == own


def test_a_detector_works_in_memory_of_the_caller(tmp_path, object_cache):
    prog, decoder = detector_and_decoder()
    library = generate(prog, tmp_path / "net", decoder=decoder)
    toolchain = host_toolchain()
    toolchain.link(library.compile(toolchain, object_cache), tmp_path / "net.so")
    dll = ctypes.CDLL(str(tmp_path / "net.so"))
    rng = np.random.default_rng(0)
    shapes = (prog.tensors[i].shape for i in prog.outputs)
    outputs = [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes]
    (wanted,) = decoder.detect(*outputs)
    found, count = np.zeros((decoder.max_boxes, 6), np.int32), ctypes.c_int32()
    work = np.zeros(2 * decoder.max_candidates, np.int32)

    def detect(address, size):
        scratch = [ctypes.c_void_p(address), ctypes.c_size_t(size)]
        return dll.model_detect_in(*scratch, *pointers([*outputs, found]), ctypes.byref(count))

    assert detect(work.ctypes.data, work.nbytes) == OK
    np.testing.assert_array_equal(found[: count.value], wanted)
    assert detect(work.ctypes.data, work.nbytes - 1) == BUFFER
    assert detect(work.ctypes.data + 2, work.nbytes) == BUFFER
    assert detect(None, work.nbytes) == BUFFER


def test_macros_place_the_arena_and_the_weights(tmp_path):
    library = generate(nested_net(), tmp_path / "net")
    (tmp_path / "placement.h").write_text("""
#define MODEL_ARENA_ATTRIBUTE __attribute__((section(".dtcm")))
#define MODEL_WEIGHTS_ATTRIBUTE __attribute__((section(".qspi")))
""")
    toolchain = cortex_m7_toolchain()
    made = toolchain.compile(
        library.sources[0],
        include_dirs=library.include_dirs,
        cache_dir=tmp_path,
        first_include=tmp_path / "placement.h",
    )
    listing = run_tool(["arm-none-eabi-size", "-A", str(made)])
    rows = re.findall(r"^(\.\S+) +(\d+)", listing, re.MULTILINE)
    sizes = {name: int(size) for name, size in rows}
    assert sizes[".dtcm"] == library.arena_bytes
    assert library.data_bytes <= sizes[".qspi"] < library.data_bytes + 16 * 10
    others = [name for name in sizes if name.startswith((".bss", ".rodata"))]
    assert sum(sizes[name] for name in others) < 200
