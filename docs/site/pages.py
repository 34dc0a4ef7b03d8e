"""What MkDocs does not know of this repository: pages that lie outside of docs/.

README.md, CHANGELOG.md, the pages of benchmarks/ and of tflm_ops/ stay where a reader of the
repository looks for them, with links that work there. This hook brings these pages and their
pictures into the site, and turns each link between two pages into the one that works on the site. A
link to a file that is no page of the site (a source file, a folder) becomes plain text. The comment
`<!-- operators -->` becomes the table of operators.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from nested_keras.tflite.operators import OPERATORS

_ROOT = Path(__file__).resolve().parents[2]
_OUTSIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "RELEASE.md",
    "LICENSE",
    "benchmarks/*.md",
    "benchmarks/*/*.md",
    "benchmarks/*/*.svg",
    "tflm_ops/*.md",
)
# [text](target) or ![text](target), outside of code spans.
_LINK = re.compile(r"(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and pictures from outside of docs/."""
    for pattern in _OUTSIDE:
        for path in sorted(_ROOT.glob(pattern)):
            place = _place(path.relative_to(_ROOT).as_posix())
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Makes the links of a page work on the site."""
    source = Path(page.file.abs_src_path).relative_to(_ROOT).as_posix()
    folder = posixpath.dirname(source)
    here = posixpath.dirname(page.file.src_uri)

    def relink(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if "://" in target or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if (_ROOT / path).is_dir():
            path = posixpath.join(path, "README.md")
        place = _place(path)
        if files.get_file_from_path(place) is None:
            if not (_ROOT / path).exists() and not (_ROOT / path).parent.is_dir():
                raise FileNotFoundError(
                    f"{source} links to {match['target']}, which does not exist"
                )
            return match["text"]
        link = posixpath.relpath(place, here or ".")
        return f"{match['mark']}[{match['text']}]({link}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(relink, markdown.replace("<!-- operators -->", operator_table()))


def operator_table() -> str:
    """Returns the table of operators: names in TFLite, the C function, what the operator is."""
    rows = ["| TFLite | C | operator |", "|---|---|---|"]
    for entry in OPERATORS:
        names = ", ".join(sorted(entry.readers))
        function = f"`{entry.c_call.function}`" if entry.c_call else ""
        summary = str(entry.op.__doc__).split("\n\n")[0]
        rows.append(f"| {names} | {function} | {' '.join(summary.split())} |")
    return "\n".join(rows)


def _place(path: str) -> str:
    """Returns the place on the site of a path of the repository."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")
