import functools
import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from nested_keras.codegen.dense_stream import dense_stream
from nested_keras.devices.toolchain import cortex_m7_toolchain, run_tool
from nested_keras.firmware import CodegenError, HostModel, generate
from nested_keras.tflite import operators, program
from nested_keras.tflite.model_error import ModelError
from nested_keras.tflite.operators import elementwise
from tests.nested_keras.codegen.programs import (
    Builder,
    every_op,
    float_ends,
    nested_net,
    shared_conv,
    wide_net,
)
from tests.nested_keras.format.streams import random_layer
from tests.nested_keras.tflite.nested_models import conv_params, nested_model

pytestmark = pytest.mark.arm

ROOT = Path(__file__).resolve().parents[3]
CORE = "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard"
CROSS = (
    "-DCMAKE_SYSTEM_NAME=Generic",
    "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
    "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
    "-DCMAKE_CXX_COMPILER=arm-none-eabi-g++",
)
STRICT = ("-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")


PROGRAMS = {
    "nested": nested_net,
    # clang-format breaks the head of a function otherwise if there are fifty parameters.
    **{f"every_op_{i}": functools.partial(every_op, slice(i, None, 3)) for i in range(3)},
    "float_ends": float_ends,
    "wide": wide_net,
}


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def library(request, tmp_path_factory):
    return generate(PROGRAMS[request.param](), tmp_path_factory.mktemp(request.param))


def test_every_file_of_src_is_one_to_compile(library):
    """As the generated README says; a header there would become a precompiled one."""
    found = {path.suffix for path in (library.directory / "src").iterdir()}
    assert found <= {".c", ".S"}
    assert {path.suffix for path in (library.directory / "include").iterdir()} == {".h"}


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_the_library_compiles_without_a_warning(library, compiler, tmp_path):
    # gcc sees more when it optimises; the warnings of clang are there before.
    flags = STRICT if compiler == "clang" else (*STRICT, "-O2")
    if compiler == "clang" and shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    if compiler == "arm-none-eabi-gcc":
        flags += cortex_m7_toolchain().flags
    # From a copy, so that nothing outside the folder can be in use.
    copy = shutil.copytree(library.directory, tmp_path / "copy")
    sources = [str(path.relative_to(library.directory)) for path in library.sources]
    command = [compiler, *flags, "-c", *sources]  # no include path, as docs/build_systems.md says
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_generated_text_is_clang_formatted(library):
    clang_format = Path(sys.executable).with_name("clang-format")
    if not clang_format.exists():
        pytest.skip("clang-format is not installed beside Python")
    files = sorted(str(path) for path in library.directory.glob("*.[ch]"))
    command = [str(clang_format), f"--style=file:{ROOT / '.clang-format'}", "--dry-run", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_same_graph_gives_the_same_text(library, tmp_path):
    again = generate(library.program, tmp_path)
    for path in again.directory.rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (library.directory / path.relative_to(again.directory)).read_bytes()
            )


def test_the_library_builds_with_cmake_and_checks_its_arguments(tmp_path):
    prog = nested_net(levels=2)
    generate(prog, tmp_path / "net", name="my_net")
    (tmp_path / "main.c").write_text("""
#include <stdio.h>
#include "my_net.h"
int main(void) {
  static int8_t input[MY_NET_INPUT_SIZE], output[MY_NET_OUTPUT_SIZE];
  puts(nk_status_name(my_net_check()));
  puts(nk_status_name(my_net_invoke(input, output, MY_NET_LEVELS - 1)));
  puts(nk_status_name(my_net_invoke(input, output, MY_NET_LEVELS)));
  puts(nk_status_name(my_net_invoke(input, output, -1)));
  puts(nk_status_name(my_net_invoke(NULL, output, 0)));
  puts(nk_status_name(my_net_invoke(input, NULL, 0)));
  printf("%.9g %d\\n", (double)MY_NET_INPUT_SCALE, MY_NET_OUTPUT_ZERO_POINT);
  return 0;
}
""")
    (tmp_path / "CMakeLists.txt").write_text("""
cmake_minimum_required(VERSION 3.16)
project(app C)
add_subdirectory(net)
add_executable(app main.c)
target_link_libraries(app my_net)
""")
    build = tmp_path / "build"
    for command in (["cmake", "-S", tmp_path, "-B", build], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    printed = subprocess.run([build / "app"], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [
        *("NK_OK", "NK_OK", "NK_ERROR_LEVEL", "NK_ERROR_LEVEL"),
        *("NK_ERROR_ARGUMENT", "NK_ERROR_ARGUMENT"),
        *(f"{np.float32(0.05):.9g}", "-3"),
    ]


def test_weights_of_a_shared_layer_are_kept_once(tmp_path):
    prog = shared_conv()
    library = generate(prog, tmp_path)
    shape = prog.tensors[0].shape
    assert library.data_bytes == len(dense_stream(prog.ops[0], shape, shape).data)
    assert (tmp_path / "model.c").read_text().count("op0_stream, sizeof op0_stream, 0,") == 2


def test_an_operator_without_code_is_refused_by_name(tmp_path):
    class Cosine(program.Op):
        pass

    b = Builder()
    x = b.tensor((1, 4))
    y = b.add(Cosine, [x], b.tensor((1, 4)))
    with pytest.raises(
        CodegenError, match=r"operator 0 \('t1'\) is a Cosine; expected one of Add,"
    ):
        generate(b.build([x], [y]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_activation_of_another_dtype_is_refused(tmp_path):
    b = Builder()
    x = b.tensor((1, 4))
    hidden = b.add(operators.Quantize, [x], b.tensor((1, 4), "int32"), scale=1.0, zero_point=0)
    y = b.add(operators.Dequantize, [hidden], b.tensor((1, 4)), scale=1.0, zero_point=0)
    with pytest.raises(
        CodegenError, match="'t1' is int32; expected an int8, uint8 or float32 activation"
    ):
        generate(b.build([x], [y]), tmp_path)


def test_a_graph_input_of_another_dtype_is_refused(tmp_path):
    b = Builder()
    x = b.tensor((1, 4), "int32")
    with pytest.raises(CodegenError, match="'t0' is int32; expected int8, uint8 or float32"):
        generate(b.build([x], [b.reshape(x, 4)]), tmp_path)


def test_too_many_dimensions_are_refused(tmp_path):
    b = Builder()
    x = b.tensor((2, 1, 1, 1, 4))
    y = b.add(elementwise.Maximum, [x, x], b.tensor((2, 1, 1, 1, 4)))
    with pytest.raises(CodegenError, match=r"shape \(2, 1, 1, 1, 4\); expected at most 4"):
        generate(b.build([x], [y]), tmp_path)


def test_functions_that_take_elements_alone_run_any_dimensions(tmp_path):
    b = Builder()
    x = b.tensor((2, 1, 3, 1, 4))
    y = b.add(operators.Lookup, [x], b.tensor((2, 1, 3, 1, 4)), table=b.int8(256))
    library = generate(b.build([x], [y]), tmp_path)
    assert "nk_lookup_s8.c" in {path.name for path in library.sources}


def windowed_op(kind, shape):
    b = Builder(levels=2)
    x = b.tensor(shape)
    if kind == "pool":
        window = {"filter_h": 1, "filter_w": 1, "activation_min": -128, "activation_max": 127}
        strides = {"stride_h": 1, "stride_w": 1, "pad_top": 0, "pad_left": 0}
        return b.build([x], [b.add(operators.MaxPool2D, [x], b.tensor(shape), **window, **strides)])
    return b.build([x], [b.depthwise(x) if kind == "depthwise" else getattr(b, kind)(x, 1)])


@pytest.mark.parametrize("kind", ["conv", "depthwise", "nested", "pool"])
@pytest.mark.parametrize("shape", [(1, 1, 65536, 1), (1, 65536, 1, 1)])
def test_an_image_of_more_than_65535_rows_or_columns_is_refused(kind, shape, tmp_path):
    size = f"{shape[1]}x{shape[2]}"
    with pytest.raises(CodegenError, match=f"an image of {size} pixels; expected at most 65535"):
        generate(windowed_op(kind, shape), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_of_65535_columns_runs(object_cache):
    prog = windowed_op("nested", (1, 1, 65535, 1))
    x = np.random.default_rng(0).integers(-128, 128, (1, 1, 65535, 1)).astype(np.int8)
    model = HostModel(prog, cache_dir=object_cache)
    expected = operators.run_op(prog.ops[0], [x], x.shape, 1)
    np.testing.assert_array_equal(model.run(x), expected)


def test_rows_of_a_fully_connected_layer_are_no_image(tmp_path):
    b = Builder(levels=2)
    x = b.tensor((70000, 1))
    generate(b.build([x], [b.nested(x, 1)]), tmp_path)


@pytest.mark.parametrize("name", ["2net", "nk_net", "string", "test"])
def test_a_name_that_cannot_be_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"name must .*{name}"):
        generate(nested_net(), tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_says_what_wrote_it(library):
    texts = contents(library.directory)
    assert {"model.c", "model.h", "model_data.h", "CMakeLists.txt", "README.md"} < set(texts)
    for name, text in texts.items():
        assert f"Generated by nested_keras {version('nested_keras')}" in text.split("\n")[0], name


def test_files_of_the_model_have_its_sha256(tmp_path):
    shape = (1, 5, 3, 4)
    model = nested_model(random_layer(conv_params(), levels=2, seed=0), shapes=(shape, shape))
    generate(model, tmp_path)
    digest = hashlib.sha256(model).hexdigest()
    for name in ("model.c", "model.h", "model_data.h", "CMakeLists.txt", "README.md"):
        assert digest in "".join((tmp_path / name).read_text().splitlines()[:2]), name


def test_files_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "src" / "nk_status.c").symlink_to("../victim")
    before = contents(tmp_path)
    with pytest.raises(
        CodegenError, match=r"did not write: README\.md, src/nk_status\.c; "
    ) as caught:
        generate(nested_net(), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "src").write_text("mine")
    with pytest.raises(CodegenError, match="did not write: src;"):
        generate(nested_net(), tmp_path)
    assert contents(tmp_path) == {"src": "mine"}


def test_what_a_new_model_does_not_need_is_removed_and_other_files_stay(tmp_path):
    generate(every_op(), tmp_path)
    assert (tmp_path / "src" / "nk_softmax_s8.c").exists()
    (tmp_path / "src" / "mine.c").write_text("mine")
    (tmp_path / "main.c").write_text("mine")
    library = generate(nested_net(), tmp_path)
    left = set(contents(tmp_path))
    alone = generate(nested_net(), tmp_path / "alone")
    assert left == set(contents(alone.directory)) | {"src/mine.c", "main.c"}
    assert {path.name for path in library.sources} == {path.name for path in alone.sources}


def test_a_library_of_another_name_is_not_overwritten(tmp_path):
    generate(nested_net(), tmp_path, name="first")
    before = contents(tmp_path)
    with pytest.raises(
        CodegenError, match=r"a library of another name or layout: first\.c, first\.h, "
    ):
        generate(nested_net(), tmp_path, name="second")
    with pytest.raises(CodegenError, match=r"of another name or layout: BUILD\.bazel, CMakeLists"):
        generate(nested_net(), tmp_path, name="first", layout="arduino")
    assert contents(tmp_path) == before


def test_a_failed_write_leaves_the_library_as_it_was(tmp_path, monkeypatch):
    generate(nested_net(), tmp_path)
    before = contents(tmp_path)
    write = Path.write_bytes

    def full_disk(path, content):
        if path.name == "model.c":
            raise OSError("no space left")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        generate(every_op(), tmp_path)
    assert contents(tmp_path) == before


BUILDS = {
    # Toolchain files name the core to the C compiler alone, and the processor in any way or not.
    "the toolchain file of docs/firmware.md": (
        "C",
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/cortex-m7.cmake",
    ),
    "no processor, flags of C alone": ("C", *CROSS, f"-DCMAKE_C_FLAGS={CORE}"),
    "flags of C alone by a generator expression": (
        "C",
        *CROSS,
        f"-DOPTIONS=$<$<COMPILE_LANGUAGE:C>:SHELL:{CORE}>",
        f"-DLINK_OPTIONS=SHELL:{CORE}",
    ),
    "flags of C and of one build type alone": (
        "C",
        *CROSS,
        "-DCMAKE_SYSTEM_PROCESSOR=ARM",
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_C_FLAGS_RELEASE=-O2 {CORE}",
    ),
    "a header for C": ("C", *CROSS, f"-DCMAKE_C_FLAGS={CORE}", "-DMORE_C_FLAGS=-include profile.h"),
    "flags for the parts of clang": (
        "C",
        "-DCMAKE_C_COMPILER=clang",
        "-DCMAKE_C_FLAGS=-mllvm -inline-threshold=50 -O2 -mllvm  -unroll-count=2 "
        "-Xclang -mllvm -Xclang -bonus-inst-threshold=2",
    ),
    "C++ alone": ("CXX", *CROSS, f"-DCMAKE_C_FLAGS={CORE}", f"-DCMAKE_CXX_FLAGS={CORE}"),
    "C++ alone, on this computer": ("CXX",),
}


@pytest.mark.parametrize("build", BUILDS)
def test_the_library_links_in_projects_of_all_kinds(build, tmp_path):
    language, *settings = BUILDS[build]
    clang = "-DCMAKE_C_COMPILER=clang" in settings
    if clang and shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    folder = tmp_path / "a folder"
    generate(nested_net(), folder / "net")
    extension = {"C": "c", "CXX": "cpp"}[language]
    (folder / f"main.{extension}").write_text(
        '#include "model.h"\nint main(void) { return model_check() == NK_OK ? 0 : 1; }\n'
    )
    # Found by the flag -include; only C can read it.
    (folder / "profile.h").write_text("typedef int of_c_alone;\n")
    (folder / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(app {language})
include_directories(${{CMAKE_SOURCE_DIR}})
string(APPEND CMAKE_C_FLAGS " ${{MORE_C_FLAGS}}")
add_compile_options("${{OPTIONS}}")
add_link_options("${{LINK_OPTIONS}}")
add_subdirectory(net)
add_executable(app main.{extension})
target_link_libraries(app model)
if(CMAKE_CROSSCOMPILING)
  target_link_options(app PRIVATE --specs=nosys.specs)
endif()
""")
    target = tmp_path / "build"
    run_tool(["cmake", "-G", "Ninja", "-S", str(folder), "-B", str(target), *settings])
    run_tool(["cmake", "--build", str(target)])
    if settings and not clang:
        assert "nk_dsp_tile_4" in run_tool(["arm-none-eabi-nm", str(target / "app")])
    else:
        run_tool([str(target / "app")])


def test_the_library_is_installed_and_found_by_another_project(tmp_path):
    """Through a static library that links it, as a package of CMake."""
    theirs, app, prefix = (tmp_path / name for name in ("theirs", "app", "a prefix"))
    generate(nested_net(), theirs / "net")
    app.mkdir()
    main = '#include "model.h"\nint main(void) { return model_check() == NK_OK ? 0 : 1; }\n'
    (app / "main.c").write_text(main)
    (theirs / "c.c").write_text(main.replace("main", "theirs"))
    (theirs / "CMakeLists.txt").write_text("""
cmake_minimum_required(VERSION 3.16)
project(theirs C)
add_subdirectory(net)
add_library(theirs STATIC c.c)
target_link_libraries(theirs PRIVATE model)
install(TARGETS theirs model EXPORT theirs DESTINATION lib)
install(FILES net/model.h DESTINATION include)
install(DIRECTORY net/include DESTINATION include)
install(EXPORT theirs FILE theirs-config.cmake DESTINATION lib/cmake/theirs)
""")
    (app / "CMakeLists.txt").write_text("""
cmake_minimum_required(VERSION 3.16)
project(app C)
find_package(theirs REQUIRED)
add_executable(app main.c)
target_link_libraries(app theirs model)
""")
    for folder, setting in ((theirs, "INSTALL_PREFIX"), (app, "PREFIX_PATH")):
        build = str(folder / "build")
        run_tool(
            ["cmake", "-G", "Ninja", "-S", str(folder), "-B", build, f"-DCMAKE_{setting}={prefix}"]
        )
        run_tool(["cmake", "--build", build])
        if folder == theirs:
            run_tool(["cmake", "--install", build])
            shutil.rmtree(theirs)  # what is installed names nothing of the project
    run_tool([str(app / "build" / "app")])


def test_bytes_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(ModelError):
        generate(b"no model at all", tmp_path)
