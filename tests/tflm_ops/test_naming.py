"""tflm_ops/NAMING.md against the symbols that the library exports."""

import re

from nested_keras.codegen import sources

WORDS = {
    "room": "stream|code|weights|status|dims4",
    "verb": "[a-z]+(?:_[a-z]+)*",
    "operator": "[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*?",
    "type": "(?:s8|s16|s32|f32)(?:_(?:s8|s16|s32|f32))?",
    "target": "ref|portable|dsp|mve",
    "question": "check|takes|applies|supports|get_buffer_size|get_kernel_size|shorten",
    "part": "tile|pack",
    "pairs": "[1-4]",
    "variant": "shifted",
    "word": "[a-z]+(?:_[a-z]+)*",
}


def scheme():
    """The patterns of each line of the table, with the examples of that line."""
    text = (sources.tflm_ops_dir() / "NAMING.md").read_text()
    for line in re.findall(r"^\| (`nk_.*) \|$", text, re.MULTILINE):
        cells = line.split(" | ")
        names, examples = (re.findall(r"`(\w+|nk_[^`]*)`", cells[i]) for i in (0, -1))
        patterns = [re.sub(r"{(\w+)}", lambda m: f"(?:{WORDS[m[1]]})", name) for name in names]
        yield re.compile("|".join(patterns)), examples


def test_every_exported_symbol_is_named_by_one_line_of_the_scheme():
    lines = list(scheme())
    assert len(lines) == 6
    exported = sources.exported_names()
    assert "nk_dsp_tile_4" in exported
    for name in exported:
        fitting = [pattern for pattern, _ in lines if pattern.fullmatch(name)]
        assert len(fitting) == 1, name


def test_every_line_of_the_scheme_and_every_example_is_in_use():
    exported = sources.exported_names()
    for pattern, examples in scheme():
        assert examples
        for name in examples:
            assert name in exported
            assert pattern.fullmatch(name)


def test_a_counter_that_stands_alone_is_incremented_in_front():
    for path in sources.tflm_ops_dir().rglob("*.[ch]"):
        assert not re.findall(r"; \w+(?:\+\+|--)\)", path.read_text()), path
