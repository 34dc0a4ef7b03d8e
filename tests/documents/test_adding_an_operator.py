"""The page on adding an operator is true: its tables, its promises and its example."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.codegen.ctext import Constants
from nested_keras.codegen.operator_calls import print_op
from nested_keras.runtime import lower
from nested_keras.tflite import operators
from nested_keras.tflite.operators.registration import Registration
from nested_keras.tflite.program import Op
from tests.documents.pages import ROOT, read
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library

PAGE = "docs/adding_an_operator.md"
# A Reshape copies nothing or bytes; the function of a NestedSparseConv depends on its stream.
WITHOUT_C_CALL = {operators.Reshape, operators.NestedSparseConv}


@pytest.fixture(params=operators.OPERATORS, ids=lambda entry: entry.op.__name__)
def entry(request: pytest.FixtureRequest) -> Registration:
    return request.param


def test_every_family_has_its_tests() -> None:
    for entry in operators.OPERATORS:
        family = entry.op.__module__.rpartition(".")[2]
        assert (ROOT / f"tests/nested_keras/tflite/operators/test_{family}.py").is_file()


def test_an_operator_is_in_one_file(entry: Registration) -> None:
    readers = {**entry.readers, **entry.custom_readers}
    assert readers
    for function in (*readers.values(), entry.run):
        assert function.__module__ == entry.op.__module__


def test_the_c_function_is_declared_and_defined(entry: Registration) -> None:
    if entry.op in WITHOUT_C_CALL:
        assert entry.c_call is None
        return
    assert entry.c_call is not None
    assert sources.sources_for([entry.c_call.function])
    header = (sources.tflm_ops_dir() / "include" / "nk_ops.h").read_text()
    declaration = rf"^nk_status {entry.c_call.function}\((const {entry.c_call.struct} \*params,)?"
    match = re.search(declaration, header, re.MULTILINE)
    assert match
    # A function of an operator without fields, such as MAXIMUM, takes no parameters.
    own_fields = {field.name for field in fields(entry.op)} - {field.name for field in fields(Op)}
    assert (match[1] is None) == (not own_fields)


# A script writes the table of coverage; the fuzzer may call an operator's C function, and need not.
MAY_NAME = (Path(__file__), ROOT / "docs/coverage.md", ROOT / "tests/fuzz/fuzz_ops.c")


def test_nothing_else_lists_the_operators() -> None:
    """MUL, whose C has no tuned path, is named by no file but those of the page."""
    named = {
        path.relative_to(ROOT).as_posix()
        for folder in ("nested_keras", "tflm_ops", "tests", "docs", "benchmarks")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".c", ".h", ".md", ".txt", ".bazel")
        and path not in MAY_NAME
        and re.search(r"\bnk_mul_(s8|params)\b", path.read_text())
    }
    assert named == {
        "nested_keras/tflite/operators/elementwise.py",
        "tflm_ops/src/ops/nk_mul_s8.c",
        "tflm_ops/include/nk_ops.h",
    }


def test_a_file_in_the_folder_of_operators_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "nested_keras", tmp_path / "nested_keras")
    (block,) = (block for block in read(PAGE) if "Registration(" in block.text)
    (tmp_path / "nested_keras/tflite/operators/example.py").write_text(block.text)
    program = (
        "from nested_keras.tflite import operators\nprint(operators._READERS['MAXIMUM'].__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "nested_keras.tflite.operators.example"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The namespace of the page's Python, with its operator in the table."""
    # A dataclass looks its module up by name.
    namespace: dict[str, object] = {"__name__": __name__}
    for block in read(PAGE):
        if block.language == "python":
            exec(block.text, namespace)
    (maximum,) = namespace["OPERATORS"]
    monkeypatch.setattr(operators, "OPERATORS", (*operators.OPERATORS, maximum))
    monkeypatch.setitem(operators._BY_CLASS, maximum.op, maximum)
    monkeypatch.setitem(operators._READERS, "MAXIMUM", maximum.readers["MAXIMUM"])
    return namespace


def test_the_example_passes_its_own_test(example: dict[str, object], tmp_path: Path) -> None:
    (block,) = (block for block in read(PAGE) if block.language == "cpp")
    source = tmp_path / "nk_maximum_s8.c"
    source.write_text(block.text)
    used = sources.sources_for(["nk_status_name", "nk_dims4_size"])
    folders = [sources.tflm_ops_dir() / name for name in ("include", "src/ops")]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    flags += [f"-I{folder}" for folder in folders]
    library = tmp_path / "libexample.so"
    subprocess.run(["cc", *flags, source, *used, "-o", library], check=True)
    assert set(example["samples"]()) == {"MAXIMUM"}
    example["test_maximum"](Library(library))


def test_the_example_is_printed_as_c(example: dict[str, object]) -> None:
    builder = ModelBuilder()
    operands = [builder.tensor((1, 4), scale=0.5) for _ in range(2)]
    y = builder.tensor((1, 4), scale=0.5)
    builder.op("MAXIMUM", operands, [y])
    code = print_op(lower(builder.build(operands, [y])), 0, Constants())
    assert code.kernel == "nk_maximum_s8"
    call = "return nk_maximum_s8(&input0_dims, input0, &input1_dims, input1, &output_dims, output);"
    assert call in re.sub(r"\s+", " ", code.function)
    assert "params" not in code.function
