"""The documents of the repository, cut into the blocks of code that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATTERNS = (
    *("README.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/**/*.md"),
    *("tflm_ops/**/*.md", "notebooks/**/*.md", "scripts/**/*.md", "tests/**/*.md"),
)
# An indented block is shell if one of its lines starts with one of these; others are formulas,
# layouts of bytes, or text of other tools.
_PROGRAMS = (
    *("nested-keras", "make", "python", "pip", "git", "cd", "cmake", "bazel"),
    *("renode", "qemu-system-arm", "openocd", "st-flash", "stty", "arm-none-eabi-objcopy"),
)
_FENCE = re.compile(r"^```(\w*)\s*$")
_SETTING = re.compile(r"^\w+=\S+ ")


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        page: Path of the document, relative to the repository.
        line: Line of its first line of code, from 1 on.
        language: As the fence says it; "sh" or "" for an indented block.
        text: The code, without the indentation of an indented block.
    """

    page: str
    line: int
    language: str
    text: str

    def commands(self) -> list[str]:
        """Returns the commands of a shell block, without comments, one string each."""
        joined = self.text.replace("\\\n", " ")
        lines = (re.sub(r"(^|\s)#.*", "", line) for line in joined.splitlines())
        return [" ".join(line.split()) for line in lines if line.strip()]


def pages() -> list[str]:
    """Returns the paths of all documents, relative to the repository."""
    return sorted({str(p.relative_to(ROOT)) for pattern in _PATTERNS for p in ROOT.glob(pattern)})


def read(page: str) -> list[Block]:
    """Returns the blocks of a document in their order."""
    return list(cut(page, (ROOT / page).read_text(encoding="utf-8")))


def cut(page: str, text: str) -> Iterator[Block]:
    """Yields the fenced and the indented blocks of Markdown."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        fence = _FENCE.match(lines[index])
        if fence:
            end = lines.index("```", index + 1)
            yield Block(page, index + 2, fence[1], "\n".join(lines[index + 1 : end]))
            index = end + 1
        elif lines[index].startswith("    ") and _may_begin(lines[index - 1] if index else ""):
            end = index
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end]):
                end += 1
            code = "\n".join(line[4:] for line in lines[index:end]).rstrip()
            yield Block(page, index + 1, "sh" if _is_shell(code) else "", code)
            index = end
        else:
            index += 1


def _may_begin(before: str) -> bool:
    """Says whether an indented line behind this one is code, not the rest of a paragraph."""
    return not before.strip() or before.startswith("#")


def _is_shell(code: str) -> bool:
    first = (_SETTING.sub("", line).split(" ")[0] for line in code.splitlines())
    return any(word in _PROGRAMS for word in first)
