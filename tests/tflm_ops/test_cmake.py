"""The kernels as a CMake subdirectory of somebody's project."""

import shutil

import pytest

from nested_keras.codegen import sources
from nested_keras.devices.toolchain import run_tool

pytestmark = pytest.mark.arm

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(theirs LANGUAGES C)
add_subdirectory("{tflm_ops}" tflm_ops)
"""
INSTALL = """
install(TARGETS nk EXPORT nk DESTINATION lib)
install(EXPORT nk DESTINATION lib/cmake/nk)
"""
OBJECT = "tflm_ops/CMakeFiles/nk.dir/src/cortex_m/nk_dsp_tile.S.obj"
CORE = "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"CMAKE_ASM_FLAGS": CORE},
        {"CMAKE_SYSTEM_PROCESSOR": "stm32"},
        {"CMAKE_C_FLAGS": f"-include stdint.h {CORE} -std=c11"},
    ],
)
def test_the_assembly_is_built_for_the_core(tmp_path, more):
    tflm_ops = sources.tflm_ops_dir()
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(tflm_ops=tflm_ops))
    settings = {
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_C_COMPILER": "arm-none-eabi-gcc",
        "CMAKE_C_FLAGS": CORE,
    } | more
    build = tmp_path / "build"
    defines = [f"-D{name}={value}" for name, value in settings.items()]
    run_tool(["cmake", "-G", "Ninja", "-S", str(tmp_path), "-B", str(build), *defines])
    run_tool(["cmake", "--build", str(build), "--target", OBJECT])
    assert " T nk_dsp_tile_4" in run_tool(["arm-none-eabi-nm", str(build / OBJECT)])


def test_a_project_may_install_the_kernels(tmp_path):
    # CMake looks at the paths inside a project alone.
    shutil.copytree(sources.tflm_ops_dir(), tmp_path / "nk")
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(tflm_ops="nk") + INSTALL)
    run_tool(["cmake", "-G", "Ninja", "-S", str(tmp_path), "-B", str(tmp_path / "build")])
