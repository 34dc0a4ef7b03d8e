import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nested_keras.firmware import CodegenError, generate
from nested_keras.firmware.dense_stream import dense_stream
from nested_keras.firmware.toolchain import cortex_m7_toolchain
from nested_keras.runtime import program
from nested_keras.runtime.errors import ModelError
from tests.nested_keras.firmware.programs import Builder, every_op, nested_net

ROOT = Path(__file__).resolve().parents[3]
STRICT = ("-std=c11", "-O2", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")


def wide_net():
    """Long names and many operands: every line has to be broken."""
    b = Builder(5, levels=2)
    x = b.tensor((1, 4, 4, 2))
    parts = [b.nested(x, 3) for _ in range(12)]
    y = b.add(program.Concatenation, parts, b.tensor((1, 4, 4, 36)), axis=3)
    outputs = [b.conv(y, 2) for _ in range(9)]
    prog = b.build([x], outputs)
    tensors = tuple(
        dataclasses.replace(t, name=f"a_very/long;name*/of/*a???tensor\\{i}" + "x" * 90)
        for i, t in enumerate(prog.tensors)
    )
    return dataclasses.replace(prog, tensors=tensors)


PROGRAMS = {"nested": nested_net, "every_op": every_op, "wide": wide_net}


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def library(request, tmp_path_factory):
    return generate(PROGRAMS[request.param](), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_the_library_compiles_without_a_warning(library, compiler, tmp_path):
    flags = STRICT
    if compiler == "clang" and shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    if compiler == "arm-none-eabi-gcc":
        flags += cortex_m7_toolchain().flags
    # From a copy, so that nothing outside the folder can be in use.
    copy = shutil.copytree(library.directory, tmp_path / "copy")
    sources = [str(path.relative_to(library.directory)) for path in library.sources]
    command = [compiler, *flags, "-I.", "-Iinclude", "-c", *sources]
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
    b = Builder()
    shape = (1, 4, 4, 3)
    x = b.tensor(shape)
    first = b.conv(x, 3)
    shared = b.ops[0]
    output = b.tensor(shape)
    b.ops.append(dataclasses.replace(shared, inputs=(first,), outputs=(output,)))
    library = generate(b.build([x], [output]), tmp_path)
    assert library.data_bytes == len(dense_stream(shared, shape, shape).data)
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
    hidden = b.add(program.Quantize, [x], b.tensor((1, 4), "int32"), scale=1.0, zero_point=0)
    y = b.add(program.Dequantize, [hidden], b.tensor((1, 4)), scale=1.0, zero_point=0)
    with pytest.raises(CodegenError, match="'t1' is int32; expected an int8 or float32 activation"):
        generate(b.build([x], [y]), tmp_path)


def test_a_graph_input_of_another_dtype_is_refused(tmp_path):
    b = Builder()
    x = b.tensor((1, 4), "uint8")
    with pytest.raises(CodegenError, match="'t0' is uint8; expected int8 or float32"):
        generate(b.build([x], [b.reshape(x, 4)]), tmp_path)


def test_too_many_dimensions_are_refused(tmp_path):
    b = Builder()
    x = b.tensor((1, 1, 1, 1, 4))
    y = b.add(program.Lookup, [x], b.tensor((1, 1, 1, 1, 4)), table=b.int8(256))
    with pytest.raises(CodegenError, match=r"shape \(1, 1, 1, 1, 4\); expected at most 4"):
        generate(b.build([x], [y]), tmp_path)


@pytest.mark.parametrize("name", ["", "2net", "Net", "my-net", "nk_net", "net\n"])
def test_a_name_that_is_no_prefix_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="name must be lower-case letters") as caught:
        generate(nested_net(), tmp_path, name=name)
    assert repr(name) in str(caught.value)


def test_bytes_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(ModelError):
        generate(b"no model at all", tmp_path)
