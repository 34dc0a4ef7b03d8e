"""Every block of Python, shell and C in README and docs runs as it is printed.

The blocks of one page run in their order, Python in one namespace and everything in one folder,
which holds a small trained model and its data (`model.tflite`, `data.npz`) unless the page makes
its own. `datasets.digits` gives few images, because the blocks are to run, not to learn. What a
test cannot run stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nested_keras import cli, datasets, demo, export, nest
from nested_keras.devices import qemu
from nested_keras.firmware import QemuModel
from tests import few_digits
from tests.documents.pages import ROOT, Block, pages, read
from tests.renode.launcher import write_launcher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.arm,
    pytest.mark.filterwarnings(
        # Keras says so of every Dataset, as `fit` shuffles by default.
        "ignore:`shuffle=True` was passed, but will be ignored:UserWarning",
        # What tfmot imports on Python 3.10 and 3.11.
        "ignore:The distutils package is deprecated:DeprecationWarning",
    ),
]

# Pages whose blocks make what the later ones use.
SELF_CONTAINED = (
    *("README.md", "docs/getting_started.md", "docs/training.md", "docs/nested_format.md"),
)

# Programs that a page may start here; no other is ever started.
PROGRAMS = ("arm-none-eabi-objcopy", "nested-keras", "qemu-system-arm")
# What begins so is not run, because ...
NOT_RUN = {
    "make demo": "it takes minutes; tests/nested_keras/test_demo.py runs the demo, shorter",
    "make test": "it would run this test again",
    "renode ": "it needs Renode; tests/renode runs the same files on a stand-in",
    "make flash": "it needs a board",
    "openocd": "it needs a board",
    "st-flash": "it needs a board",
    "stty": "it needs a board",
    "cd $TFLM_ROOT": "it needs a tree of TFLite Micro",
    "make -f tensorflow/": "it needs a tree of TFLite Micro",
    "cd -": "it goes with the lines before",
    "nested-keras run model.tflite --runtime tflm": "it needs a tree of TFLite Micro",
    "make firmware RUNTIME=tflm": "it needs a tree of TFLite Micro",
    "nested-keras train --task detection": "test_detection_training.py trains a detector",
    "python benchmarks/detection/base.py": "it trains for hours",
    "nested-keras export bccd_nested.keras": "it goes with the line before",
    "nested-keras run bccd.tflite": "it goes with the line before",
    "nested-keras export nested.keras --data VOC": "it goes with the line before",
    "nested-keras train --model base.keras --data photos": "test_image_folder.py trains on images",
    "nested-keras export nested.keras --data photos": "it goes with the line before",
    "nested-keras train --model base.keras --data data.npz --sparsities 0.9,0.8,0.7 --epochs 8": (
        "README.md trains by the same command, shorter"
    ),
    "pip install": "it changes the environment that the tests run in",
    "git clone": "it needs the network",
    "nested-keras bench kernels": "tests/nested_keras/bench/test_kernel_table.py runs some of them",
    "CMSIS_NN_ROOT=": "it needs a checkout of CMSIS-NN",
    "python benchmarks/": "it writes the committed tables; tests/benchmarks compares rows of them",
    "python -m benchmarks.cores": "it writes a committed table; tests/benchmarks has rows of it",
    "python -m benchmarks.tflite_micro": "it needs TFLM_ROOT and writes a committed table",
    "python -m benchmarks.arenas": "it writes a committed table; tests/benchmarks has rows of it",
    "python -m benchmarks.placement": "it writes a committed table; tests/benchmarks reads it",
    "python -m benchmarks.bytes": "it writes a committed table; tests/benchmarks has rows of it",
    "python -m benchmarks.accuracy": "it trains for hours; tests/benchmarks/accuracy runs it small",
    "bazel": "`make bazel-test` runs it, with a system's Bazel",
}
# Pages whose blocks another test runs, because they are parts of files.
ELSEWHERE = {"docs/adding_a_layer.md": "tests/documents/test_adding_a_layer.py"}
# C++ stands on TFLite Micro's tree; tests/tflm_ops compiles and runs the adapter itself.
LANGUAGES_NOT_RUN = ("", "cpp", "hex", "mermaid", "text")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a small model that was nested from a trained one, and the digits."""
    folder = tmp_path_factory.mktemp("model")
    data = few_digits.digits()
    base = demo.digits_convnet(width=4)
    base.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    base.fit(data.x_train, data.y_train, epochs=1, verbose=0)
    nested = nest(base, (0.9, 0.8, 0.7))
    nested.prune()
    tflite = export.to_tflite(nested, representative_dataset=data.x_train[:100])
    (folder / "model.tflite").write_bytes(tflite)
    np.savez(folder / "data.npz", **{k: v for k, v in vars(data).items() if k[1] == "_"})
    return folder


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """The folder in which a page's blocks run."""
    if request.param not in SELF_CONTAINED:
        for path in request.getfixturevalue("made").iterdir():
            shutil.copy(path, tmp_path)
    if request.param == "docs/boards.md":
        _run_firmware(tmp_path)
    launchers = tmp_path / "launchers"
    launchers.mkdir()
    monkeypatch.setenv("RENODE", str(write_launcher(launchers, "-m", "tests.renode.monitor")))
    monkeypatch.setattr(datasets, "digits", few_digits.digits)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run_firmware(folder: Path) -> None:
    """Leaves firmware.elf, and in uart.txt what a board would have printed."""
    model = QemuModel((folder / "model.tflite").read_bytes())
    built = model.build(
        [np.zeros(t.shape, t.dtype) for t in model.input_details], folder, board="mps2_an500"
    )
    (folder / "uart.txt").write_text(qemu.run(built.elf))


RUN_HERE = [page for page in pages() if page not in ELSEWHERE]


@pytest.mark.parametrize(
    ("page", "folder"), [(page, page) for page in RUN_HERE], indirect=["folder"], ids=RUN_HERE
)
def test_the_blocks_of_a_page_run(page, folder):
    namespace = {"__name__": page}
    for block in read(page):
        if block.language == "python":
            _run_python(block, namespace)
        elif block.language == "sh":
            for command in block.commands():
                _run_command(command)
        elif block.language == "c":
            _run_c(block, folder)
        else:
            assert block.language in LANGUAGES_NOT_RUN, block


def test_pages_that_are_run_elsewhere_have_their_test():
    for page, test in ELSEWHERE.items():
        assert page in pages()
        assert page in (ROOT / test).read_text()


def test_all_that_is_not_run_is_on_a_page():
    shell = (block for page in pages() for block in read(page) if block.language == "sh")
    commands = [command for block in shell for command in block.commands()]
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in commands), beginning


def _run_python(block: Block, namespace: dict[str, object]) -> None:
    # A traceback shows the line of the page.
    source = "\n" * (block.line - 1) + block.text
    exec(compile(source, str(ROOT / block.page), "exec"), namespace)


def _run_command(command: str) -> None:
    if command.startswith(tuple(NOT_RUN)):
        return
    program, *arguments = shlex.split(command)
    assert program in PROGRAMS, f"expected one of {PROGRAMS}, or a reason in NOT_RUN: got {command}"
    if program == "nested-keras":  # in this process, which has TensorFlow already
        with pytest.raises(SystemExit) as ended:
            cli.main([program, *arguments])
        assert not ended.value.code, command
    else:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _run_c(block: Block, folder: Path) -> None:
    """Compiles a block against the library that the page has generated, and runs a program."""
    (header,) = folder.rglob(re.search(r'#include "(\w+\.h)"', block.text)[1])
    library = header.parent
    source = folder / "block.c"
    source.write_text(block.text)
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", f"-I{library}", f"-I{library / 'include'}"]
    is_program = "int main(" in block.text
    sources = [library / f"{header.stem}.c", *(library / "src").glob("*.c")] if is_program else []
    target = ["-o", folder / "block"] if is_program else ["-c", "-o", folder / "block.o"]
    subprocess.run(["cc", *flags, "-Werror", source, *sources, *target, "-lm"], check=True)
    if is_program:
        subprocess.run([folder / "block"], check=True)
