"""What type checkers and editors see of the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nested_keras

pytestmark = pytest.mark.slow

ROOT = Path(nested_keras.__file__).parent.parent
SNIPPET = """
import nested_keras
from nested_keras import export, nest

nested = nested_keras.nest(None, (0.9, 0.8), exclude=["head"])
reveal_type(nest)
reveal_type(nested)
reveal_type(nested.level_sparsity(0))
reveal_type(nested_keras.callbacks.NestedPruning())
reveal_type(export.to_tflite)
nested_keras.nest(None, sparsities=0.5)
nested_keras.nonsense_of_mine
"""


def test_mypy_sees_the_signatures(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "snippet.py")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    notes = [
        line.split("Revealed type is ")[1].strip('"')
        for line in run.stdout.splitlines()
        if "Revealed" in line
    ]
    assert notes[0].startswith("def (model: Any, sparsities: "), run.stdout + run.stderr
    assert notes[0].endswith("-> nested_keras.nesting.model.NestedModel")
    assert notes[1:4] == [
        "nested_keras.nesting.model.NestedModel",
        *("float", "nested_keras.callbacks.pruning.NestedPruning"),
    ]
    assert notes[4].endswith("-> bytes")
    errors = [line for line in run.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1
    assert '"sparsities" to "nest" has incompatible type "float"' in errors[0]


def test_the_names_for_editors_are_those_that_are_found():
    tree = (ROOT / "nested_keras" / "__init__.py").read_text()
    block = tree.split("if TYPE_CHECKING:")[1].split("# Where the public names live")[0]
    names = set(block.replace(",", " ").replace("(", " ").replace(")", " ").split())
    assert set(nested_keras.__all__) <= names
    assert set(nested_keras.__all__) == {*nested_keras._MODULES, *nested_keras._MEMBERS}
    for name in nested_keras.__all__:
        assert getattr(nested_keras, name) is not None


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "nested_keras" / "py.typed").is_file()


def test_the_cpu_extra_has_the_ranges_of_the_train_extra():
    text = (ROOT / "pyproject.toml").read_text()
    train, cpu = (
        set(re.findall(r'"(.+?)"', text.split(f"\n{extra} = [\n")[1].split("\n]")[0]))
        for extra in ("train", "train-cpu")
    )
    same = {each.replace("-cpu", "") for each in cpu}
    assert {each.split(">")[0] for each in same} == {"keras", "tensorflow"}
    assert same <= train
