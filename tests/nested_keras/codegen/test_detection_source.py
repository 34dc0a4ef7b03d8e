"""`<name>_detect()` of a generated library."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nested_keras.firmware import generate
from tests.nested_keras.detection.detectors import detector_and_decoder

pytestmark = pytest.mark.arm

ROOT = Path(__file__).resolve().parents[3]
STRICT = ("-std=c11", "-O2", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")


@pytest.fixture(scope="module", name="library")
def fixture_library(tmp_path_factory):
    program, decoder = detector_and_decoder(max_boxes=7, max_candidates=30)
    return generate(program, tmp_path_factory.mktemp("net"), name="net", decoder=decoder)


def test_sizes_stand_in_the_header(library):
    text = (library.directory / "net.h").read_text()
    macros = dict(re.findall(r"#define NET_(\w+) (\d+)", text))
    assert macros["ANCHORS"] == "72"
    assert macros["CLASSES"] == "3"
    assert macros["MAX_BOXES"] == "7"
    assert macros["DETECT_SCRATCH_SIZE"] == "240"


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_it_compiles_without_a_warning(library, compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    includes = [f"-I{path}" for path in library.include_dirs]
    for source in library.sources:
        if source.suffix == ".c":
            command = [compiler, *STRICT, *includes, "-c", source, "-o", tmp_path / "x.o"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


def test_the_generated_text_is_clang_formatted(library):
    clang_format = Path(sys.executable).with_name("clang-format")
    if not clang_format.exists():
        pytest.skip("clang-format is not installed beside Python")
    files = sorted(str(path) for path in library.directory.glob("*.[ch]"))
    command = [str(clang_format), f"--style=file:{ROOT / '.clang-format'}", "--dry-run", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_library_without_detection_has_none(tmp_path):
    program, _ = detector_and_decoder()
    library = generate(program, tmp_path, name="net")
    assert not (library.directory / "include" / "nk_detection.h").exists()
    assert "detect" not in (library.directory / "net.h").read_text()
