"""Fill in template files, which an editor reads as C.

A place to fill is written `$name$`, also as a part of a C identifier such as `$name$_check`. A
place for whole lines is a comment of its own: `/* $name$ */`. A value that is a tuple repeats the
line of its place, once for each item.
"""

from __future__ import annotations

import re
from importlib import resources

_PLACE = re.compile(r"/\* \$([a-z0-9_]+)\$ \*/|\$([a-z0-9_]+?)\$")


def fill(room: str, template: str, **values: object) -> str:
    """Fills in a template.

    Args:
        room: The room whose folder `templates` holds the file, such as "codegen".
        template: The name of the file, or its path in the folder.
        **values: The text for each place, or a tuple of texts, by the name of the place.

    Returns:
        The text.

    Raises:
        KeyError: If a place has no value.
        TypeError: If a value has no place.
    """
    text = _text(room, template)
    unused = set(values)
    for name, items in values.items():
        if isinstance(items, tuple):
            text, count = _repeat(text, f"${name}$", items)
            unused -= {name} if count else set()

    def value(place: re.Match[str]) -> str:
        name = place[1] or place[2]
        unused.discard(name)
        return str(values[name])

    filled = _PLACE.sub(value, text)
    if unused:
        raise TypeError(f"{template} has no place for {', '.join(sorted(unused))}")
    return filled


def places(room: str, template: str) -> set[str]:
    """Returns the names of the places of a template."""
    return {place[1] or place[2] for place in _PLACE.finditer(_text(room, template))}


def _text(room: str, template: str) -> str:
    folder = resources.files(f"nested_keras.{room}") / "templates"
    return (folder / template).read_text(encoding="utf-8")


def _repeat(text: str, place: str, items: tuple[str, ...]) -> tuple[str, int]:
    """Repeats the lines that hold a place; returns the text and the number of such lines."""
    lines = re.compile(rf"^.*{re.escape(place)}.*\n", re.MULTILINE)
    return lines.subn(lambda line: "".join(line[0].replace(place, item) for item in items), text)
