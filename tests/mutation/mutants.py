"""Single changes of the C kernels: another operator, another constant, or a statement left out."""

import random
import re
from dataclasses import dataclass

# What stands between spaces is a binary operator, because clang-format sets the spaces.
OPERATORS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "&&": ("||",),
    "||": ("&&",),
    "+": ("-",),
    "-": ("+",),
    "*": ("+",),
    "/": ("*",),
    "%": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("|",),
    "+=": ("-=",),
    "-=": ("+=",),
    "|=": ("&=",),
    "^=": ("|=",),
}
_OPERATOR = re.compile(
    r"(?<= )(" + "|".join(map(re.escape, sorted(OPERATORS, key=len)[::-1])) + r")(?= |$)"
)
_NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-f]+|\d+)(?=u?\b(?!\.))")
# An assignment or a call on a line of its own; a declaration has a space behind its type.
_STATEMENT = re.compile(r"^\s+(?:\*?[a-z][\w.\[\]>-]* [-+|^&]?=|\+\+|[a-z]\w*\().*;$")


@dataclass(frozen=True)
class Mutant:
    """One line of a file, changed.

    Attributes:
        path: The file, relative to tflm_ops.
        line: Index of the line, from 0.
        text: The line after the change.
    """

    path: str
    line: int
    text: str


def without_comment(line):
    """The code of a line; blanks stand for strings, so that columns stay where they are."""
    line = re.sub(r'"[^"]*"', lambda match: " " * len(match[0]), line)
    return line.split("//")[0].rstrip()


def code_lines(text):
    """Yields the index and the code of each line that a mutation may change."""
    in_comment = continues = in_text = False
    for index, line in enumerate(text.splitlines()):
        starts = line.lstrip().startswith("/*")
        was_comment, was_macro = in_comment or starts, continues or line.startswith("#")
        in_comment = was_comment and "*/" not in line
        continues = was_macro and line.endswith("\\")
        in_text = in_text or "__asm__" in line or "assert(" in line
        if not (was_comment or was_macro or in_text):
            yield index, without_comment(line)
        in_text = in_text and not line.endswith(";")


def mutants_of(path, text):
    """All mutants of a file."""
    lines = text.splitlines()
    made = {}
    for index, code in code_lines(text):
        line = lines[index]
        for match in _OPERATOR.finditer(code):
            for other in OPERATORS[match[0]]:
                made[Mutant(path, index, line[: match.start()] + other + line[match.end() :])] = 0
        for match in _NUMBER.finditer(code):
            value = str(int(match[0], 0) + 1)
            made[Mutant(path, index, line[: match.start()] + value + line[match.end() :])] = 0
        if _STATEMENT.match(code):
            made[Mutant(path, index, "  ;")] = 0
    return list(made)


def sample(mutants, count, seed):
    """Some of the mutants, the same ones for the same seed."""
    mutants = sorted(mutants, key=lambda m: (m.path, m.line, m.text))
    return random.Random(seed).sample(mutants, min(count, len(mutants)))
