"""Which names a generated library may have."""

import re
import string
import subprocess

import pytest

from nested_keras.codegen.reserved_names import checked_name
from nested_keras.devices.toolchain import cortex_m7_toolchain, run_tool
from nested_keras.firmware import generate
from tests.nested_keras.detection.detectors import detector_and_decoder


@pytest.mark.parametrize(
    "name", ["model", "my_net", "a", "net2", "kws_model", "strings2", "testnet"]
)
def test_other_names_are_taken(name):
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "2net", "Net", "my-net", "nk", "nk_net", "net\n", "größe", "_a"]
)
def test_a_name_that_is_no_prefix_is_refused(name):
    with pytest.raises(ValueError, match="name must be lower-case letters") as caught:
        checked_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            (name, "would hide a header")
            for name in ("string", "math", "stdint", "assert", "unistd")
        ),
        *((name, "keyword of C or C") for name in ("int", "class", "constexpr", "namespace")),
        *(
            (name, "CMake reserves it")
            for name in ("test", "all", "install", "edit_cache", "debug")
        ),
        *((name, "a library of the system") for name in ("m", "c", "gcc", "rt", "dl")),
        *((name, f"{name}_open() is a function of") for name in ("sem", "mq", "shm", "fts", "dbm")),
        ("con", "Windows"),
    ],
)
def test_a_reserved_name_is_refused_with_the_reason(name, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        checked_name(name)
    assert str(caught.value).startswith(f"name must not be {name!r}: ")


@pytest.mark.arm
def test_cmake_has_a_target_of_every_name_that_is_taken(tmp_path):
    """All short names, and the words of CMake and of build systems, that are not refused."""
    words = (
        "main app test tests check doc docs format lint run core kernel zephyr arduino src include"
    )
    names = [*string.ascii_lowercase, *words.split(), "cmakelists", "library", "readme"]
    taken = [name for name in names if not is_refused(name)]
    assert len(taken) > 30
    lines = [f"add_library({name} STATIC {name}.c)\n" for name in taken]
    for name in taken:
        (tmp_path / f"{name}.c").write_text(f"int {name}_invoke(void) {{ return 0; }}\n")
    head = "cmake_minimum_required(VERSION 3.16)\nproject(all_names C)\ninclude(CTest)\n"
    (tmp_path / "CMakeLists.txt").write_text(head + "".join(lines))
    for generator in ("Ninja", "Unix Makefiles"):
        build = tmp_path / generator
        run_tool(["cmake", "-G", generator, "-S", str(tmp_path), "-B", str(build)])
        run_tool(["cmake", "--build", str(build)])


def is_refused(name):
    try:
        checked_name(name)
    except ValueError:
        return True
    return False


# Headers in folders of their own, such as sys/, are included with the folder's name.
ROOTS = ("/include", "/include-fixed", "/newlib")


def headers_of(command):
    """The headers that those of ISO C include, as the compiler finds them."""
    names = "assert errno float inttypes limits math stdalign stdarg stdbool stddef stdint stdio"
    text = "".join(f"#include <{name}.h>\n" for name in f"{names} stdlib string time".split())
    done = subprocess.run(
        [*command, "-M", "-x", "c", "-"], input=text, capture_output=True, text=True, check=True
    )
    return re.findall(r"(\S*)/([a-z][a-z0-9_]*)\.h\b", done.stdout)


@pytest.mark.arm
@pytest.mark.parametrize("target", ["pc", "cortex-m7"])
def test_no_name_hides_a_header_that_the_c_library_itself_includes(target):
    toolchain = cortex_m7_toolchain()
    command = ["cc"] if target == "pc" else [toolchain.compiler, *toolchain.flags]
    found = headers_of(command)
    top = {name for folder, name in found if folder.endswith(ROOTS)}
    assert {"string", "stdint", "math"} <= top
    for name in sorted(top):
        with pytest.raises(ValueError, match="name must not be"):
            checked_name(name)


@pytest.mark.arm
@pytest.mark.parametrize("compiler", ["cc", "arm-none-eabi-gcc"])
def test_no_name_gives_a_function_the_name_of_one_of_the_c_library(compiler, tmp_path):
    program, decoder = detector_and_decoder()
    generate(program, tmp_path, name="net", decoder=decoder, weights="external")
    ends = set(re.findall(r"\bnet_(\w+)\(", (tmp_path / "net.h").read_text()))
    assert {"open", "check", "invoke", "invoke_in", "detect", "input", "output0_scale"} <= ends
    file, flag = ("libc.so.6", ["-D"]) if compiler == "cc" else ("libc.a", [])
    library = run_tool([compiler, f"-print-file-name={file}"]).strip()
    listing = run_tool(["nm", *flag, "--defined-only", library])
    functions = set(re.findall(r" [TW] ([a-z]\w*)", listing))
    assert {"printf", "malloc"} <= functions
    both = re.compile(rf"([a-z][a-z0-9_]*)_({'|'.join(sorted(ends))})")
    found = {match[1] for match in map(both.fullmatch, sorted(functions)) if match}
    assert found & {"sem", "dbm"}
    assert [name for name in sorted(found) if not is_refused(name)] == []
