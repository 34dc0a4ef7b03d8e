"""The files around the C of a generated library, for the build systems that take the folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nested_keras.codegen import marks, templating


@dataclass(frozen=True)
class Layout:
    """One arrangement of a generated folder.

    Attributes:
        code: Where the C files lie: "", or the path of a folder that ends in a slash.
        files: Template of each other file in `templates/build`, by its path. The path may hold the
            place `$name$`.
        build: How to build the folder, for its README.md.
    """

    code: str
    files: Mapping[str, str]
    build: str


LAYOUTS = {
    "standard": Layout(
        code="",
        files={
            "CMakeLists.txt": "CMakeLists.txt.in",
            "README.md": "README.md.in",
            "library.json": "library.json.in",
            "idf_component.yml": "idf_component.yml.in",
            "zephyr/module.yml": "module.yml.in",
            "nested_keras.$name$.pdsc": "pack.pdsc.in",
            "BUILD.bazel": "BUILD.bazel.in",
        },
        build="build_standard.md.in",
    ),
    "arduino": Layout(
        code="src/",
        files={"library.properties": "library.properties.in", "README.md": "README.md.in"},
        build="build_arduino.md.in",
    ),
}
"""The layouts of `codegen --layout`, by name."""


@dataclass(frozen=True)
class Facts:
    """What the files of a layout say of a library.

    Attributes:
        name: Prefix of its functions.
        upper: The same in capitals.
        c_source: Its C files, as paths from the folder of the code.
        assembly_source: Its assembly files.
        header: The headers of its kernels.
        call: An example call in C.
        data_bytes: Size of the constants.
        arena_bytes: Size of the static arena.
        stack_bytes: Bound of the stack.
    """

    name: str
    upper: str
    c_source: tuple[str, ...]
    assembly_source: tuple[str, ...]
    header: tuple[str, ...]
    call: str
    data_bytes: int
    arena_bytes: int
    stack_bytes: int


def layout_of(name: str) -> Layout:
    """Returns a layout.

    Raises:
        ValueError: There is no layout of that name.
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}: got {name!r}")
    return LAYOUTS[name]


def print_files(layout: Layout, facts: Facts, digest: str | None) -> dict[str, str]:
    """Fills in the templates of a layout.

    Args:
        layout: The layout.
        facts: The library.
        digest: sha256 of the model in hexadecimal; None without a .tflite.

    Returns:
        The texts, by their paths in the folder.
    """
    banner = marks.lines(digest)
    values: dict[str, object] = {
        **dataclasses.asdict(facts),
        "mark": banner,
        "marks": " ".join(banner),
        "version": _version(banner),
    }
    values["build"] = _fill(layout.build, values).rstrip("\n")
    return {
        path.replace("$name$", facts.name): _fill(template, values)
        for path, template in layout.files.items()
    }


def _fill(template: str, values: Mapping[str, object]) -> str:
    path = f"build/{template}"
    used = templating.places("codegen", path)
    return templating.fill("codegen", path, **{name: values[name] for name in used})


def _version(banner: Sequence[str]) -> str:
    """Version of the library: the release of the tool that the mark names, as three numbers."""
    release = re.search(r"\d+\.\d+\.\d+", banner[0])
    return release[0] if release else "0.0.0"
