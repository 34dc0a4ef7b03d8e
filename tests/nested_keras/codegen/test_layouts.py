"""Each build system finds and compiles a generated folder, by the rules of its documentation."""

import fnmatch
import json
import re
import shutil
from xml.etree import ElementTree

import pytest

from nested_keras.codegen.layouts import LAYOUTS
from nested_keras.devices.toolchain import run_tool
from nested_keras.firmware import CodegenError, generate
from tests.esp_idf import registered
from tests.nested_keras.codegen.programs import every_op, nested_net

pytestmark = pytest.mark.arm

CORE = "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard"
CROSS = (
    "-DCMAKE_SYSTEM_NAME=Generic",
    "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
    "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
)
# Includes nothing of the library but the header that the name of the library gives.
MAIN = """
#include %s
int main() {
  static int8_t in[NET_INPUT_SIZE], out[NET_OUTPUT_SIZE];
  return net_check() == NK_OK && net_invoke(in, out, 0) == NK_OK ? 0 : 1;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A library in the standard layout, in a folder of another name than the library's."""
    directory = tmp_path_factory.mktemp("layouts") / "a folder"
    return generate(nested_net(), directory, name="net").directory


def compiled(folder, sources, include_dirs, main):
    """Compiles a C++ main and C files, as Arduino and PlatformIO do, and runs the program."""
    objects = []
    main_file = folder / "the_main.cpp"
    main_file.write_text(main)
    for source in (main_file, *sources):
        objects.append(str(folder / f"{source.name}.o"))
        compiler = ["g++", "-std=gnu++17"] if source.suffix == ".cpp" else ["gcc", "-std=gnu11"]
        run_tool(
            [
                *compiler,
                *(f"-I{path}" for path in include_dirs),
                "-c",
                str(source),
                "-o",
                objects[-1],
            ]
        )
    run_tool(["g++", *objects, "-lm", "-o", str(folder / "app")])
    run_tool([str(folder / "app")])


def files_of(folder):
    """The C files of a library that a build has to compile, as paths in the folder."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in (".c", ".S")
    }


def test_a_sketch_compiles_the_folder_with_its_own_folder_as_the_include_path(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "src" / "model")
    sources = sorted((tmp_path / "src").rglob("*.[cS]"))
    compiled(tmp_path, sources, [tmp_path], MAIN % '"src/model/net.h"')


def test_an_arduino_library_has_its_code_below_src(tmp_path):
    library = generate(every_op(), tmp_path / "libraries" / "net", name="net", layout="arduino")
    root = library.directory
    lines = (root / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    # https://docs.arduino.cc/arduino-cli/library-specification
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph"} <= set(properties)
    assert properties["category"] == "Data Processing"
    assert properties["architectures"] == "*"
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
    assert (root / "src" / properties["includes"]).is_file()
    top = {path.name for path in root.iterdir()}
    assert top == {"library.properties", "README.md", "src"}
    assert {path.relative_to(root).as_posix() for path in library.sources} == files_of(root)


def test_a_sketch_finds_an_arduino_library(tmp_path):
    library = generate(nested_net(), tmp_path / "net", name="net", layout="arduino")
    source_dir = library.directory / "src"
    assert library.include_dirs[0] == source_dir
    compiled(tmp_path, sorted(source_dir.rglob("*.[cS]")), [source_dir], MAIN % "<net.h>")


def test_a_second_model_in_an_arduino_library_does_not_replace_the_first(tmp_path):
    generate(nested_net(), tmp_path, name="net", layout="arduino")
    (tmp_path / "src" / "mine.c").write_text("mine")
    with pytest.raises(CodegenError, match=r"another name or layout: src/net\.c, src/net\.h"):
        generate(nested_net(), tmp_path, name="other", layout="arduino")
    generate(every_op(), tmp_path, name="net", layout="arduino")
    assert (tmp_path / "src" / "src" / "nk_softmax_s8.c").is_file()
    generate(nested_net(), tmp_path, name="net", layout="arduino")
    assert not (tmp_path / "src" / "src" / "nk_softmax_s8.c").exists()
    assert (tmp_path / "src" / "mine.c").read_text() == "mine"


def test_platformio_compiles_what_library_json_names(folder, tmp_path):
    """The rules of platformio 6.2: src_dir, src_filter and include_dir of PlatformIOLibBuilder."""
    manifest = json.loads((folder / "library.json").read_text())
    build = manifest["build"]
    assert (manifest["name"], manifest["frameworks"], manifest["platforms"]) == ("net", "*", "*")
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    source_dir = folder / build["srcDir"]
    patterns = [re.fullmatch(r"\+<(.*)>", rule)[1] for rule in build["srcFilter"]]
    patterns = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
    paths = sorted(files_of(source_dir))
    chosen = [path for path in paths if any(fnmatch.fnmatch(path, p) for p in patterns)]
    assert chosen == paths
    includes = [folder / build["includeDir"], source_dir]
    compiled(tmp_path, [source_dir / path for path in chosen], includes, MAIN % '"net.h"')


def cmake(project, text, *settings):
    (project / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.16)\n{text}")
    build = project / "build"
    run_tool(["cmake", "-G", "Ninja", "-S", str(project), "-B", str(build), *settings])
    run_tool(["cmake", "--build", str(build)])
    return build


def test_esp_idf_reads_the_component_in_its_script_mode(folder, tmp_path):
    words = registered(folder, tmp_path)
    assert words[0] == "SRCS"
    assert set(words[1:-3]) == files_of(folder)
    assert words[-3:] == ["INCLUDE_DIRS", ".", "include"]


def test_esp_idf_builds_the_component(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "components" / "net")
    (tmp_path / "main.c").write_text(MAIN % '"net.h"')
    build = cmake(
        tmp_path,
        """
project(app C ASM)
function(idf_component_register)
  cmake_parse_arguments(ARG "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(component STATIC ${ARG_SRCS})
  target_include_directories(component PUBLIC ${ARG_INCLUDE_DIRS})
endfunction()
add_subdirectory(components/net)
add_executable(app main.c)
target_link_libraries(app component m)
""",
    )
    run_tool([str(build / "app")])


def test_zephyr_gives_its_flags_to_the_module(folder, tmp_path):
    """The flags of the core are those of the target zephyr_interface, not CMAKE_C_FLAGS."""
    module = (folder / "zephyr" / "module.yml").read_text().splitlines()
    assert module[-3:] == ["name: net", "build:", "  cmake: ."]
    shutil.copytree(folder, tmp_path / "modules" / "net")
    (tmp_path / "main.c").write_text(MAIN % '"net.h"')
    flags = f"{CORE} $<$<COMPILE_LANGUAGE:C>:-std=c99>".replace(" ", ";")
    build = cmake(
        tmp_path,
        f"""
project(zephyr C ASM)
add_library(zephyr_interface INTERFACE)
target_compile_options(zephyr_interface INTERFACE "{flags}")
add_custom_target(zephyr_generated_headers)
add_subdirectory(modules/net)
add_executable(app main.c)
target_link_options(app PRIVATE {CORE} --specs=nosys.specs)
target_link_libraries(app PRIVATE net zephyr_interface m)
""",
        *CROSS,
    )
    assert "nk_dsp_tile_4" in run_tool(["arm-none-eabi-nm", str(build / "app")])


def test_the_pack_description_names_every_file(folder):
    root = ElementTree.fromstring((folder / "nested_keras.net.pdsc").read_bytes())
    # The name of the file is <vendor>.<name>.pdsc.
    assert (root.findtext("vendor"), root.findtext("name")) == ("nested_keras", "net")
    (component,) = root.iter("component")
    assert {"Cclass", "Cgroup", "Cversion"} == set(component.attrib)
    assert root.find("releases/release").attrib["version"] == component.attrib["Cversion"]
    entries = [(file.attrib["category"], file.attrib["name"]) for file in root.iter("file")]
    assert all((folder / name).exists() for _, name in entries)
    sources = {name for category, name in entries if category.startswith("source")}
    assert sources == files_of(folder)
    assembly = {"src/nk_dsp_tile.S", "src/nk_dsp_dense_tile.S"}
    assert {name for category, name in entries if category == "sourceAsm"} == assembly
    assert ("header", "net.h") in entries
    assert ("include", "include/") in entries


def test_bazel_gets_every_file(folder):
    """A BUILD file is also Python."""
    rules = []
    text = (folder / "BUILD.bazel").read_text()
    exec(text, {"load": lambda *names: None, "cc_library": lambda **rule: rules.append(rule)})
    (rule,) = rules
    assert rule["name"] == "net"
    headers = {path.relative_to(folder).as_posix() for path in folder.rglob("*.h")}
    assert sorted(rule["srcs"] + rule["hdrs"]) == sorted(files_of(folder) | headers)
    assert "net.h" in rule["hdrs"]


def test_the_readme_names_every_build_system(folder):
    text = (folder / "README.md").read_text()
    for word in ("CMake", "PlatformIO", "Arduino", "ESP-IDF", "Zephyr", "CMSIS-Pack", "Bazel"):
        assert f"**{word}**" in text
    assert "add_subdirectory`, then `target_link_libraries(app net)`" in text


def test_an_unknown_layout_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="layout must be one of standard, arduino: got 'mbed'"):
        generate(nested_net(), tmp_path / "out", layout="mbed")
    assert not (tmp_path / "out").exists()
    assert set(LAYOUTS) == {"standard", "arduino"}
