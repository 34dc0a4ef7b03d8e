import re
from pathlib import Path

import pytest

from nested_keras.codegen import templating
from nested_keras.codegen.templating import fill

ROOT = Path(templating.__file__).parents[1]
TEMPLATES = sorted(path for path in ROOT.glob("*/templates/**/*") if path.is_file())


def test_every_place_is_filled():
    values = {"name": "net", "streams": "      {op0_stream, sizeof op0_stream, 1},"}
    text = fill("codegen", "check.c", **values)
    assert "nk_status net_check(void) {" in text
    assert f"streams[] = {{\n{values['streams']}\n  }};" in text
    assert "$" not in text


def test_a_tuple_repeats_the_line_of_its_place():
    facts = {"mark": ("one", "two"), "version": "1.2.3", "name": "net"}
    text = fill("codegen", "build/idf_component.yml.in", **facts)
    assert text.startswith('# one\n# two\nversion: "1.2.3"\n')
    facts["mark"] = ()
    assert fill("codegen", "build/idf_component.yml.in", **facts).startswith("version:")
    assert templating.places("codegen", "build/idf_component.yml.in") == set(facts)


def test_a_missing_value_and_one_too_many_are_refused():
    with pytest.raises(KeyError, match="streams"):
        fill("codegen", "check.c", name="net")
    with pytest.raises(TypeError, match=r"run_nested\.c has no place for name"):
        fill("codegen", "run_nested.c", name="net")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_dollar_stands_at_places_alone(path):
    text = path.read_text()
    # Variables and generator expressions of CMake begin with a dollar, too.
    assert "$" not in re.sub(r"\$[a-z0-9_]+?\$|\$\{|\$<", "", text)


def test_a_template_has_a_name_of_its_own():
    names = [path.name for path in TEMPLATES]
    assert len(names) > 8
    assert len(set(names)) == len(names)
