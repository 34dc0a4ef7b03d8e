"""The sources as other projects compile them: languages, compilers, warnings, analysers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nested_keras.codegen import sources

pytestmark = pytest.mark.arm

TESTS = Path(__file__).parent
INCLUDE = sources.tflm_ops_dir() / "include"
CORES = {
    "m0": ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"),
    "m4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"),
    "m7": ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
    "m55": ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
}
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{INCLUDE}")
HOST_COMPILERS = {
    "gcc": ("gcc", "-std=c11", "-x", "c"),
    "g++": ("g++", "-std=c++17", "-x", "c++"),
    "clang": ("clang", "-std=c11", "-x", "c"),
    "clang++": ("clang++", "-std=c++17", "-x", "c++"),
    "arm-none-eabi-gcc": ("arm-none-eabi-gcc", *CORES["m7"], "-std=c11", "-x", "c"),
    "arm-none-eabi-g++": ("arm-none-eabi-g++", *CORES["m7"], "-std=c++17", "-x", "c++"),
}
# Debian's clang finds no header of newlib by itself.
CLANG_FOR_ARM = ("clang", "--target=arm-none-eabi", "-isystem", "/usr/lib/arm-none-eabi/include")


def complaints(command, *, cwd, text=None):
    """What a compiler prints; an empty string where it takes the text or the files in silence."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=text, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or done.stderr
    return done.stderr


def all_sources():
    return sorted(map(str, (sources.tflm_ops_dir() / "src").glob("*/*.c")))


@pytest.mark.parametrize("compiler", HOST_COMPILERS)
def test_every_header_compiles_alone(compiler, tmp_path):
    private = sorted((sources.tflm_ops_dir() / "src").glob("*/*.h"))
    assert private
    # Programs in C++ include the headers for users alone.
    for header in (*sources.headers(), *([] if "++" in compiler else private)):
        text = f'#include "{header}"\nextern int something;\n'
        command = [*HOST_COMPILERS[compiler], *STRICT, "-fsyntax-only", "-"]
        assert complaints(command, cwd=tmp_path, text=text) == "", header.name


@pytest.mark.parametrize("core", CORES)
def test_gcc_and_its_static_analyser_find_nothing(core, tmp_path):
    # The analyser takes twice as long, and sees on the other cores what it sees on these.
    analyser = ["-fanalyzer"] if core in ("m0", "m4") else []
    flags = (*CORES[core], "-std=c11", *STRICT, "-O2", *analyser, "-c")
    assert complaints(["arm-none-eabi-gcc", *flags, *all_sources()], cwd=tmp_path) == ""


@pytest.mark.parametrize("core", CORES)
def test_clang_finds_nothing(core, tmp_path):
    flags = (*CORES[core], "-std=c11", *STRICT, "-c")
    assert complaints([*CLANG_FOR_ARM, *flags, *all_sources()], cwd=tmp_path) == ""


@pytest.mark.parametrize("core", CORES)
def test_a_compiler_of_plain_c11_takes_every_source(core, tmp_path):
    """Such as IAR's: no macro of GNU, no GNU assembly."""
    flags = (*CORES[core], "-std=c11", *STRICT, "-U__GNUC__", "-D__asm__=no_assembly", "-c")
    assert complaints(["arm-none-eabi-gcc", *flags, *all_sources()], cwd=tmp_path) == ""


def test_gcc_takes_every_source_as_c99(tmp_path):
    """Zephyr puts -std=c99 behind the flags of a library."""
    flags = (*CORES["m7"], "-Wall", "-Wextra", "-Werror", "-std=c99", "-O2", "-c")
    assert complaints(["arm-none-eabi-gcc", *flags, *all_sources()], cwd=tmp_path) == ""


REFUSED = {
    "an Arm of big-endian": ("big-endian", "arm-none-eabi-gcc", "-mbig-endian"),
    "PowerPC": ("big-endian", "clang", "--target=powerpc"),
    "s390x": ("big-endian", "clang", "--target=s390x"),
    "MSP430": ("int has 16 bits", "clang", "--target=msp430"),
    "AVR": ("int has 16 bits", "clang", "--target=avr"),
}


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("target", REFUSED)
def test_a_target_that_cannot_run_the_kernels_is_refused_with_the_reason(
    target, language, tmp_path
):
    reason, *command = REFUSED[target]
    (tmp_path / "string.h").write_text("")  # clang has no C library for these targets
    for header in sources.headers():
        # nk_format.h has the numbers of the file format alone.
        if header.name != "nk_format.h":
            text = f'#include "{header}"\n'
            flags = ("-ffreestanding", "-isystem", ".", "-fsyntax-only", "-x", language, "-")
            assert reason in complaints([*command, *flags], cwd=tmp_path, text=text), header.name


SANITIZED = ("clang", "-std=c11", "-g", "-O1", "-fsanitize=undefined,address")
PROGRAMS = {
    "test_random_parameters": ("2000", "20261122"),
    "nested_grid": (),
    "test_depthwise_grid": (),
    "test_detection_grid": (),
    "test_ops_grid": (),
}


@pytest.fixture(scope="module")
def sanitized_kernels(tmp_path_factory):
    """The kernels as objects with clang's sanitizers in them."""
    folder = tmp_path_factory.mktemp("sanitized")
    flags = ("-fno-sanitize-recover=all", f"-I{INCLUDE}", "-c")
    assert complaints([*SANITIZED, *flags, *all_sources()], cwd=folder) == ""
    return sorted(str(path) for path in folder.glob("*.o"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_is_undefined_for_clang(program, sanitized_kernels, tmp_path):
    """Clang's sanitizer sees what that of gcc does not, such as null pointers that are added to."""
    built = tmp_path / program
    board = [] if program == "test_random_parameters" else [str(TESTS / "host_board.c")]
    command = [
        *(*SANITIZED, "-fno-sanitize-recover=all", "-DFIRST_SEED=30001", "-DLAYERS=500"),
        *(f"-I{INCLUDE}", f"-I{INCLUDE.parent / 'boards'}", str(TESTS / f"{program}.c"), *board),
        *(*sanitized_kernels, "-lm", "-o", str(built)),
    ]
    assert complaints(command, cwd=tmp_path) == ""
    done = subprocess.run([built, *PROGRAMS[program]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
