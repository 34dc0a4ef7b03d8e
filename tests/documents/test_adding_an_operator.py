"""The page on adding an operator is true: its tables, its promises and its example."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from nested_keras.codegen import sources
from nested_keras.codegen.ctext import Constants
from nested_keras.codegen.operator_calls import print_op
from nested_keras.runtime import lower
from nested_keras.tflite import operators
from nested_keras.tflite.operators.registration import Registration
from tests.documents.pages import ROOT, read
from tests.nested_keras.codegen.programs import every_op
from tests.nested_keras.tflite.tflite_builder import ModelBuilder
from tests.tflm_ops.library import Library

PAGE = "docs/adding_an_operator.md"
FAMILIES = {
    path.stem: importlib.import_module(f"nested_keras.tflite.operators.{path.stem}")
    for path in (ROOT / "nested_keras/tflite/operators").glob("*.py")
    if path.stem != "__init__"
}
# A Reshape copies nothing or bytes; the function of a NestedSparseConv depends on its stream.
WITHOUT_C_CALL = {operators.Reshape, operators.NestedSparseConv}
WITHOUT_FIELDS = {operators.Maximum, operators.Minimum}


@pytest.fixture(params=operators.OPERATORS, ids=lambda entry: entry.op.__name__)
def entry(request: pytest.FixtureRequest) -> Registration:
    return request.param


def test_the_table_of_families_is_complete() -> None:
    rows = re.findall(
        r"^\| `nested_keras/tflite/operators/(\w+)\.py` \| ([\w, ]+)",
        (ROOT / PAGE).read_text(),
        re.MULTILINE,
    )
    written = {
        family: names.strip().split(", ")
        for family, names in rows
        if family not in ("FAMILY_NAME", "__init__")
    }
    assert written == {
        name: [entry.op.__name__ for entry in module.OPERATORS]
        for name, module in FAMILIES.items()
        if hasattr(module, "OPERATORS")
    }


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
    assert (match[1] is None) == (entry.op in WITHOUT_FIELDS)


def test_the_lists_name_every_operator(entry: Registration) -> None:
    assert entry.op.__name__ in operators.__all__
    assert entry.op in {type(op) for op in every_op().ops}
    if entry.op not in WITHOUT_C_CALL:
        assert entry.c_call is not None
        calls = (ROOT / "tests/tflm_ops/test_random_parameters.c").read_text()
        assert f"{entry.c_call.function}(" in calls
    firmware = (ROOT / "docs/firmware.md").read_text()
    assert any(
        re.search(rf"\b{name}\b", firmware) for name in (*entry.readers, *entry.custom_readers)
    )


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
