"""tflm_ops as a library of PlatformIO, Arduino, ESP-IDF and Zephyr, by the rules of each."""

import json
import re
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.devices.toolchain import run_tool
from tests.esp_idf import registered

pytestmark = pytest.mark.arm

ROOT = Path(__file__).parents[2]
TFLM_OPS = sources.tflm_ops_dir()
TFLM = sources.tflm_abi_dir()  # declares what the operators use of TFLite Micro
CORE = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
SKETCH = """
#include "tensorflow/lite/micro/micro_common.h"
#include <nested_sparse_conv.h>
#include <int8_lookup.h>
bool setup() { return Register_NESTED_SPARSE_CONV() && Register_INT8_LOOKUP(); }
"""
REGISTERED = ("Register_NESTED_SPARSE_CONV", "Register_INT8_LOOKUP")


def object_of(file, include_dirs, folder):
    """The file as a build compiles it that takes .c as C, .cpp as C++ and .S as assembly."""
    made = folder / f"{file.name}.o"
    cpp = file.suffix == ".cpp"
    compiler = ["arm-none-eabi-g++", "-std=gnu++11"] if cpp else ["arm-none-eabi-gcc"]
    includes = [f"-I{path}" for path in include_dirs]
    run_tool([*compiler, *CORE, *includes, "-c", str(file), "-o", str(made)])
    return str(made)


def library_sources(*suffixes):
    found = (TFLM_OPS / "src").rglob("*")
    return sorted(path for path in found if path.suffix in suffixes)


def defined(objects):
    return run_tool(["arm-none-eabi-nm", "--demangle", "--defined-only", *objects])


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The kernels need no include path."""
    folder = tmp_path_factory.mktemp("kernels")
    return [object_of(file, (), folder) for file in library_sources(".c", ".S")]


@pytest.mark.parametrize(
    "include_dirs",
    [(TFLM_OPS / "src",), (TFLM_OPS / "include", TFLM_OPS / "src")],
    ids=["Arduino", "PlatformIO"],
)
def test_a_sketch_registers_the_operators(include_dirs, kernels, tmp_path):
    """Both compile what lies below src; the folders are those of the include path."""
    sketch = tmp_path / "sketch.cpp"
    sketch.write_text(SKETCH)
    files = [sketch, *library_sources(".cpp")]
    made = [*kernels, *(object_of(file, (*include_dirs, TFLM), tmp_path) for file in files)]
    symbols = defined(made)
    for name in (*REGISTERED, "nk_nested_conv_s8", "nk_dsp_tile_4"):
        assert name in symbols
    run_tool(["arm-none-eabi-ld", "-r", *made, "-o", str(tmp_path / "all.o")])


def test_without_tflite_micro_the_kernels_alone_are_built(tmp_path):
    made = [object_of(file, (TFLM_OPS / "src",), tmp_path) for file in library_sources(".cpp")]
    assert len(made) == 3
    assert "Register" not in defined(made)


def test_the_manifests_name_the_version_and_the_header():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    lines = (TFLM_OPS / "library.properties").read_text().splitlines()
    arduino = dict(line.split("=", 1) for line in lines)
    # https://docs.arduino.cc/arduino-cli/library-specification
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph"} < set(arduino)
    assert arduino["category"] == "Data Processing"
    platformio = json.loads((TFLM_OPS / "library.json").read_text())
    assert {platformio["version"], arduino["version"]} == {version}
    assert platformio["headers"] == arduino["includes"] == "nested_sparse_conv.h"
    assert (TFLM_OPS / platformio["build"]["srcDir"] / "nested_sparse_conv.h").is_file()
    assert f'version: "{version}"\n' in (TFLM_OPS / "idf_component.yml").read_text()


def test_esp_idf_reads_the_component_in_its_script_mode(tmp_path):
    words = registered(TFLM_OPS, tmp_path)
    expected = {str(path) for path in library_sources(".c", ".cpp")}
    assert words[0] == "SRCS"
    assert set(words[1:-3]) == expected
    assert words[-3:] == ["INCLUDE_DIRS", "include", "src"]


def test_zephyr_gives_its_flags_to_kernels_and_operators(tmp_path):
    """The flags of the core are those of the target zephyr_interface, not CMAKE_C_FLAGS."""
    assert (TFLM_OPS / "zephyr" / "module.yml").read_text().endswith("build:\n  cmake: .\n")
    flags = ";".join(CORE)
    (tmp_path / "main.cpp").write_text(SKETCH)
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.20)
project(zephyr C CXX ASM)
add_library(zephyr_interface INTERFACE)
target_compile_options(zephyr_interface INTERFACE "{flags}")
target_include_directories(zephyr_interface INTERFACE "{TFLM}")
add_custom_target(zephyr_generated_headers)
set(CONFIG_TENSORFLOW_LITE_MICRO y)
add_subdirectory("{TFLM_OPS}" nk)
add_library(app STATIC main.cpp)
target_link_libraries(app PRIVATE nk_tflm zephyr_interface)
""")
    settings = [
        "-DCMAKE_SYSTEM_NAME=Generic",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
        "-DCMAKE_CXX_COMPILER=arm-none-eabi-g++",
    ]
    build = tmp_path / "build"
    run_tool(["cmake", "-G", "Ninja", "-S", str(tmp_path), "-B", str(build), *settings])
    run_tool(["cmake", "--build", str(build)])
    symbols = defined(sorted(map(str, build.rglob("*.a"))))
    for name in (*REGISTERED, "nk_dsp_tile_4"):
        assert name in symbols


def test_a_project_of_cxx_alone_adds_the_kernels(tmp_path):
    (tmp_path / "main.cpp").write_text(
        "#include \"nk_status.h\"\nint main() { return nk_status_name(NK_OK)[0] != 'N'; }\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.16)
project(app CXX)
add_subdirectory("{TFLM_OPS}" nk)
add_executable(app main.cpp)
target_link_libraries(app nk)
""")
    build = tmp_path / "build"
    run_tool(["cmake", "-G", "Ninja", "-S", str(tmp_path), "-B", str(build)])
    run_tool(["cmake", "--build", str(build)])
    run_tool([str(build / "app")])
