"""Fill in template files, which an editor reads as C.

A place to fill is written `$name$`, also as a part of a C identifier such as `$name$_check`. A
place for whole lines is a comment of its own: `/* $name$ */`.
"""

from __future__ import annotations

import re
from importlib import resources

_PLACE = re.compile(r"/\* \$([a-z0-9_]+)\$ \*/|\$([a-z0-9_]+?)\$")


def fill(room: str, template: str, **values: object) -> str:
    """Fills in a template.

    Args:
        room: The room whose folder `templates` holds the file, such as "codegen".
        template: The name of the file.
        **values: The text for each place, by the name of the place.

    Returns:
        The text.

    Raises:
        KeyError: If a place has no value.
        TypeError: If a value has no place.
    """
    folder = resources.files(f"nested_keras.{room}") / "templates"
    text = (folder / template).read_text(encoding="utf-8")
    unused = set(values)

    def value(place: re.Match[str]) -> str:
        name = place[1] or place[2]
        unused.discard(name)
        return str(values[name])

    filled = _PLACE.sub(value, text)
    if unused:
        raise TypeError(f"{template} has no place for {', '.join(sorted(unused))}")
    return filled
