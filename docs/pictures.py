"""Draws the pictures of the README into docs/images: `make pictures`.

The plot reads benchmarks/accuracy/results.json. The picture of a nested kernel is what
`masks.level_map` makes of one seeded random kernel. The same results give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nested_keras import files
from nested_keras.nesting import masks

_ROOT = Path(__file__).resolve().parent.parent
_RESULTS = _ROOT / "benchmarks" / "accuracy" / "results.json"
IMAGES = _ROOT / "docs" / "images"
_SPARSITIES = (0.9, 0.8, 0.7)
# One colour per level, level 0 the darkest; readable in grey and by the colour-blind.
_LEVELS = ("#0b3c49", "#2a9d8f", "#f4a261")
_PRUNED = "#eef0f2"
_INK = "#222222"


def first_levels() -> npt.NDArray[np.uint8]:
    """Returns the level map of one seeded random kernel."""
    return masks.level_map(np.random.default_rng(7).normal(size=(12, 36)), _SPARSITIES)


def nested_kernel() -> Figure:
    """Draws which weights of a kernel belong to which level."""
    figure = Figure(figsize=(8.0, 3.3), layout="constrained")
    axes = figure.add_subplot()
    colours = ListedColormap([*_LEVELS, _PRUNED])
    axes.pcolormesh(first_levels(), cmap=colours, vmin=0, vmax=3, edgecolors="white", linewidth=1.2)
    axes.set_aspect("equal")
    axes.set_axis_off()
    names = ("level 0 (90 % zeros)", "level 1 adds (80 %)", "level 2 adds (70 %)")
    handles = [Patch(facecolor=c, label=n) for c, n in zip(_LEVELS, names, strict=True)]
    handles.append(Patch(facecolor=_PRUNED, edgecolor="#c5cad0", label="pruned"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9.5,
        handlelength=1.0,
        columnspacing=1.2,
    )
    return figure


def accuracy_over_cycles() -> Figure:
    """Draws int8 accuracy over modelled cycles of ResNet-8 on CIFAR-10, averaged over the seeds."""
    runs = json.loads(_RESULTS.read_text())
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for method, label, style, colour in (
        ("nested", "nested: one file, three levels", "o-", _LEVELS[1]),
        ("standalone", "stand-alone sparse models: three files", "x", _LEVELS[0]),
        ("slimmable", "slimmable: one file, three widths", "^--", _LEVELS[2]),
        ("dense", "dense, the same kernels", "s", "#8d99ae"),
    ):
        points = _mean_points(runs, method)
        axes.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=7)
        if method == "nested":
            for level, (cycles, accuracy) in enumerate(points):
                axes.annotate(
                    f"level {level}",
                    (cycles, accuracy),
                    textcoords="offset points",
                    xytext=(9, -13),
                    color=_INK,
                )
    axes.set_xlim(left=0)
    axes.set_xlabel("cycles of one inference on a Cortex-M7 (millions, modelled)")
    axes.set_ylabel("int8 accuracy (%)")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _mean_points(runs: list[dict[str, Any]], method: str) -> list[tuple[float, float]]:
    """Returns (million cycles, per cent) of each point, averaged over the seeds."""
    by_seed = {
        run["recipe"]["seed"]: run["points"]
        for run in runs
        if run["method"] == method
        and run["recipe"]["network"] == "resnet8"
        and tuple(run["recipe"]["sparsities"]) == _SPARSITIES
    }
    return [
        (
            float(np.mean([point["cycles"] for point in points])) / 1e6,
            100 * float(np.mean([point["accuracy_int8"] for point in points])),
        )
        for points in zip(*by_seed.values(), strict=True)
    ]


PICTURES: dict[str, Callable[[], Figure]] = {
    "nested_kernel": nested_kernel,
    "accuracy_over_cycles": accuracy_over_cycles,
}


def source_digest(name: str) -> str:
    """Returns the SHA-256 of what a picture shows; each picture's file holds it.

    Args:
        name: A key of `PICTURES`.
    """
    shown = first_levels().tobytes() if name == "nested_kernel" else _RESULTS.read_bytes()
    return hashlib.sha256(shown).hexdigest()


def svg(name: str) -> str:
    """Returns a picture as SVG text.

    Args:
        name: A key of `PICTURES`.
    """
    metadata = {"Date": None, "Creator": None, "Description": source_digest(name)}
    # White behind the picture, because pages may be dark; ids depend on the name alone.
    with matplotlib.rc_context({"svg.hashsalt": name, "font.size": 11}):
        buffer = io.StringIO()
        PICTURES[name]().savefig(buffer, format="svg", metadata=metadata, facecolor="white")
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    for picture in PICTURES:
        files.write_text(IMAGES / f"{picture}.svg", svg(picture))
