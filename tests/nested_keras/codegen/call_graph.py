"""The deepest stack under a function, from the call graphs of gcc (-fcallgraph-info=su)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(static')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_POINTER = "__indirect_call"
# Where the functions lie that a file calls through pointers.
_BEHIND_POINTERS = {
    "nk_pool2d_s8.c": ("nk_pool2d_s8.c",),
    "nk_stream_check.c": ("nk_stream_validate.c",),
    "nk_fully_connected_s8_dsp.c": ("nk_fully_connected_s8_dsp.c",),
    "nk_depthwise_s8_dsp.c": (
        *("nk_depthwise_pairs_s8_dsp.c", "nk_nested_depthwise_s8_dsp.c"),
        "nk_depthwise_conv2d_s8_dsp.c",
    ),
}
# The functions that nk_nested_parts_s8() runs, and asks for the size of their memory.
_RUN_IN_PARTS = (
    *("nk_nested_conv2d_s8", "nk_nested_depthwise_s8", "nk_nested_fully_connected_s8"),
    *("nk_nested_conv_s8_ref", "nk_nested_conv_s8_get_kernel_size"),
    "nk_nested_conv2d_add_s8_get_kernel_size",
)
# nk_dsp_tile_*: nine registers and FRAME bytes. The other routines of the file need less.
_ASSEMBLY_BYTES = 36 + 76
# nk_dsp_dense_tile, likewise.
_DENSE_TILE_BYTES = 36 + 60
# What the assembler inside of the functions of a file pushes, which gcc does not see.
_PUSHED_BYTES = {"nk_depthwise_pairs_s8_dsp.c": 52}
# memcpy() and its like, and the division of 64 bits.
_LIBRARY_BYTES = 64


class CallGraph:
    """The functions of some object files, with the stack that each takes and what each calls."""

    def __init__(self, folder: Path) -> None:
        """Reads the .ci files of a folder."""
        self.frames: dict[str, int] = {}
        self._calls: dict[str, set[str]] = {}
        for path in sorted(folder.glob("*.ci")):
            text = path.read_text()
            self.frames.update((name, int(size)) for name, size in _NODE.findall(text))
            for caller, callee in _EDGE.findall(text):
                self._calls.setdefault(caller, set()).add(callee)
        assert self.frames, f"no call graph in {folder}"

    def frame(self, function: str) -> int:
        """Bytes of the frame of a function; 0 where the compiler has inlined the function."""
        return max((n for name, n in self.frames.items() if _name(name) == function), default=0)

    def depth(self, function: str, pointers: Sequence[str] = ()) -> int:
        """Bytes of stack from the call of a function on.

        Args:
            function: Its name in C.
            pointers: What the generated code calls through pointers.
        """
        called = {callee for callees in self._calls.values() for callee in callees}

        def behind_pointer(caller: str) -> list[str]:
            file = Path(caller.split(":")[0]).name if ":" in caller else f"{caller}.c"
            if file == "model.c":
                return list(pointers)
            if file in ("nk_dsp_conv.c", "nk_dsp_conv_run.c"):
                return ["assembly", "nk_dsp_requantize_exact"]
            if file.endswith("parts_s8.c") or file == "nk_nested_parts_s8_check.c":
                return list(_RUN_IN_PARTS)
            if file == "nk_nested_fully_connected_s8_dsp.c":
                file = "nk_fully_connected_s8_dsp.c"
            files = _BEHIND_POINTERS[file]
            return [
                name
                for name in self.frames
                if ":" in name and Path(name.split(":")[0]).name in files and name not in called
            ]

        @functools.cache
        def below(name: str) -> int:
            if name == "assembly":
                return _ASSEMBLY_BYTES + below("nk_dsp_requantize_exact")
            if name == "nk_dsp_dense_tile":
                return _DENSE_TILE_BYTES + below("nk_dsp_dense_exact")
            if name not in self.frames:
                return _LIBRARY_BYTES
            callees = set(self._calls.get(name, ()))
            if _POINTER in callees:
                callees = callees - {_POINTER} | set(behind_pointer(name))
            pushed = _PUSHED_BYTES.get(Path(name.split(":")[0]).name, 0)
            return (
                pushed + self.frames[name] + max((below(callee) for callee in callees), default=0)
            )

        (title,) = (name for name in self.frames if _name(name) == function)
        return below(title)


def _name(title: str) -> str:
    """The name of a function without its file and without the suffix of a copy for constants."""
    return title.split(":")[-1].split(".constprop")[0]
