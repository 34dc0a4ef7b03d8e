"""How documents are cut, and that the places which they name exist."""

import re

import pytest

from tests.documents.pages import ROOT, Block, cut, pages, read

TEXT = """# Title
    nested-keras inspect m.tflite   # a comment
    CMSIS_NN_ROOT=$PWD/x \\
        make all

A paragraph
    that goes on.

    y = x + 1

```python
print("```")
```
"""
FOLDERS = "nested_keras|tflm_ops|tests|docs|benchmarks|scripts|cmake|notebooks"


def test_fenced_and_indented_blocks():
    shell, formula, python = cut("page", TEXT)
    assert shell.commands() == ["nested-keras inspect m.tflite", "CMSIS_NN_ROOT=$PWD/x make all"]
    assert (shell.line, shell.language) == (2, "sh")
    assert formula == Block("page", 9, "", "y = x + 1")
    assert python == Block("page", 12, "python", 'print("```")')


def test_the_documents_are_found():
    found = pages()
    assert {"README.md", "docs/training.md", "tflm_ops/README.md"} <= set(found)
    assert [block.language for block in read("README.md")].count("python") >= 2


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [t for t in targets if "://" not in t and not (folder / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", pages())
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)
    missing = [name for name in named if not (ROOT / name).exists() and "NAME" not in name]
    assert not missing


def test_the_table_of_rooms_is_the_order_of_imports():
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    order = [room.removeprefix("nested_keras.") for room in re.findall(r'"(.+?)"', contract)]
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    table = [re.sub(r"\.py$|/$", "", room) for row in rows for room in re.findall(r"`(.+?)`", row)]
    assert table == order[::-1]
