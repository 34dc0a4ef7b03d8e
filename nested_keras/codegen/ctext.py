"""Small pieces of C text: arrays, initialisers, comments."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COLUMNS = 100

_C_TYPES = {
    **{name: f"{name}_t" for name in ("int8", "uint8", "uint16", "int32", "uint32")},
    "float32": "float",
}


@dataclass(frozen=True, eq=False)
class ConstArray:
    """A `static const` array.

    Attributes:
        name: C identifier.
        values: int8, uint8, uint16, int32, uint32 or float32; printed flat.
    """

    name: str
    values: npt.NDArray[np.generic]

    def definition(self, attribute: str) -> str:
        """The array as C, 16-byte aligned and without blanks between the numbers.

        Args:
            attribute: A macro before the definition, with which a program places the array.
        """
        flat = self.values.reshape(-1)
        if flat.dtype == np.float32:
            words = [float_literal(float(value)) for value in flat]
        else:
            words = [str(value) for value in flat.tolist()]
        ctype = c_type(flat.dtype.name)
        lines = lines_of(words)
        head = f"{attribute} static const _Alignas(16) {ctype} {self.name}[{flat.size}]"
        return f"{head} = {{\n{lines}}};\n"


class Constants:
    """The arrays of a model; equal arrays, such as those of a shared layer, are kept once."""

    storage = "static const"
    """How a struct of constants is declared."""

    def __init__(self) -> None:
        """Starts empty."""
        self.arrays: list[ConstArray] = []
        self._names: dict[tuple[str, bytes], str] = {}

    def add(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """Adds an array under `name`, or finds an equal one.

        Returns:
            The identifier to use.
        """
        key = (values.dtype.name, values.tobytes())
        if key not in self._names:
            self._names[key] = name
            self.arrays.append(ConstArray(name, values))
        return self._names[key]

    def size_of(self, array: str) -> str:
        """C text of the bytes of an array that `add` has returned."""
        return f"sizeof {array}"

    def number(self, value: float) -> str:
        """C text of a number that training determines."""
        return float_literal(value) if isinstance(value, float) else str(value)


def lines_of(words: Sequence[str]) -> str:
    """Comma-separated words in lines of at most COLUMNS characters; quick for long arrays."""
    lines: list[str] = []
    line: list[str] = []
    length = 0
    for word in words:
        if length + len(word) + 1 > COLUMNS:
            lines.append(",".join(line) + ",\n")
            line, length = [], 0
        line.append(word)
        length += len(word) + 1
    lines.append(",".join(line) + ",\n")
    return "".join(lines)


def c_type(dtype: str) -> str:
    """C type of a NumPy dtype's name."""
    return _C_TYPES[dtype]


def float_literal(value: float) -> str:
    """A float constant that a C compiler reads back as the same float32.

    Args:
        value: A finite number that float32 can hold.
    """
    text = f"{value:.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"


def integer_literal(value: int) -> str:
    """An integer for a #define: negative numbers in parentheses."""
    return f"({value})" if value < 0 else str(value)


def initializer(values: Sequence[int]) -> str:
    """`{1, 2, 3}`."""
    return "{" + ", ".join(map(str, values)) + "}"


def comment(text: str) -> str:
    """A block comment of lines that fit, safe for any text."""
    # Names come from a file. A name must neither end the comment nor carry odd characters, and a
    # compiler must find no trigraph, line splice or second comment in a name.
    safe = re.sub(r"[^\x20-\x7e]|\\", "_", text).replace("*/", "* /").replace("/*", "/ *")
    safe = re.sub(r"\?(?=\?)", "? ", safe)
    lines = textwrap.wrap(safe, COLUMNS - 6, break_long_words=True)
    return "/* " + "\n * ".join(lines) + " */"


def call(
    function: str,
    arguments: Sequence[str],
    *,
    prefix: str = "",
    indent: str = "  ",
    tail: str = ";",
) -> str:
    """A call, or a function's head, broken after commas where it is too long, as clang-format does.

    Args:
        function: Name of the function.
        arguments: Its arguments, at least one.
        prefix: The text before the name, such as `return `.
        indent: Indent of the line.
        tail: The text after the closing parenthesis.

    Returns:
        The text; continuation lines are aligned with the parenthesis.
    """
    parts = [f"{argument}," for argument in arguments[:-1]] + [f"{arguments[-1]}){tail}"]
    return _wrap(f"{indent}{prefix}{function}(", parts)


def condition(keyword: str, operator: str, terms: Sequence[str], *, indent: str = "  ") -> str:
    """`if (a || b) {`, broken after operators where it is too long."""
    parts = [f"{term} {operator}" for term in terms[:-1]] + [f"{terms[-1]}) {{"]
    return _wrap(f"{indent}{keyword} (", parts)


def _wrap(head: str, parts: Sequence[str]) -> str:
    """Fills lines with the parts, each further line indented by the length of `head`."""
    lines: list[str] = []
    line = head + parts[0]
    for part in parts[1:]:
        if len(line) + 1 + len(part) > COLUMNS:
            lines.append(line)
            line = " " * len(head) + part
        else:
            line += f" {part}"
    return "\n".join([*lines, line])
