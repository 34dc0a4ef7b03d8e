"""Tables and Pareto plots from the results of all runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.accuracy.recipe import Recipe
from nested_keras import files

_TITLES = {
    "nested": "nested (this project)",
    "allocated": "nested, sparsity chosen per layer",
    "standalone": "stand-alone sparse models",
    "tfmot": "tfmot prune_low_magnitude",
    "dsnn": "pruned further at run time (DSNN)",
    "slimmable": "slimmable widths",
    "dense": "dense",
}
_STYLES = {
    "nested": ("o-", "#0b6e4f"),
    "allocated": ("P-", "#5fae3c"),
    "standalone": ("s--", "#a23b2a"),
    "tfmot": ("^--", "#c98a1b"),
    "dsnn": ("v--", "#7a5195"),
    "slimmable": ("D--", "#2f6fab"),
    "dense": ("*", "#333333"),
}
_RIVALS = ("standalone", "tfmot", "dsnn", "slimmable")
_FIGURES = ("accuracy_float", "accuracy_int8", "instructions", "cycles", "weight_bytes")
_USUAL = list(Recipe.sparsities)
_HEAD = """<!-- Written by `python -m benchmarks.accuracy report`. Do not edit. -->
# Accuracy, latency and storage, next to other methods

All methods start from the same dense model, take the same number of steps, and share optimizer,
learning rate, warm-up, ramp and augmentation. A method with one model per sparsity trains each
model for that many steps. A level of nested training sees as many images a step as a stand-alone
model: its own share of a larger batch (`--no-split-batch`: all levels see the same images), and
the learning rate is sqrt(N) times as high for N such shares. A stand-alone model does not gain by
that rate (ResNet-8, 90 % zeros, seed 0, float: 80.88 % in place of 80.94 %). Accuracy is measured
on the whole test set; int8 is the arithmetic of the emulated device, bit for bit. Instructions
are counted on the emulated Cortex-M7 and cycles modelled
([../cycle_model.md](../cycle_model.md)), with the kernels and the cycle model of 2026-11-22, when
the models were trained; [../models.md](../models.md) has later ones. All methods run on the same
kernels; slimmable widths and the dense model run as dense models. "weight bytes" are the bytes
that one point reads, "storage" the bytes that a device keeps for all points.

| method | what it is |
|---|---|
| nested | all levels trained together, one file; every layer has the same sparsity |
| allocated | the same, each layer's sparsity chosen at equal predicted cycles per level |
| standalone | one model per sparsity, the same recipe, teacher and number of steps for each |
| tfmot | `prune_low_magnitude` on tf_keras, one model per sparsity |
| dsnn | the densest stand-alone model, pruned further untrained, BatchNorm re-estimated |
| slimmable | widths that share their weights, BatchNorm per width, dense kernels |

## Run it again
Each command can be killed and started again; `--help` lists the recipe.

    python -m benchmarks.accuracy dense      --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy nested     --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy allocated  --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy standalone --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy tfmot      --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy dsnn       --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy slimmable  --data cifar10.npz --runs runs --seed 0
    python -m benchmarks.accuracy report     --runs runs

`dense` comes first, `dsnn` after `standalone`; the others in any order. `report` writes this page.
ResNet-8 below starts from the published weights of MLPerf Tiny: add to each command

    --pretrained pretrainedResnet.h5 --dense-epochs 0 --epochs 8 --widths 0.375,0.5,0.75

MobileNetV1 starts from scratch, with its depthwise layers in float32, far from converged:

    --network mobilenet_v1 --width 0.25 --policy float32 --dense-epochs 15 --epochs 8

Its dense model, the teacher, is 3 to 5 points less accurate than its students, and holds back the
methods that learn from it: nested, stand-alone and slimmable. tfmot has no teacher.

ResNet-8 with a fourth level:

    --sparsities 0.95,0.9,0.8,0.7
"""

Results = list[dict[str, Any]]


def gather(runs: Path) -> Results:
    """Reads every result.json below a folder, in a fixed order."""
    results = [json.loads(path.read_text()) for path in runs.glob("*/*/result.json")]
    order = list(_TITLES)
    return sorted(
        results,
        key=lambda r: (network_of(r), r["recipe"]["seed"], order.index(r["method"])),
    )


def write(out: Path, *, runs: Path | None = None) -> None:
    """Writes README.md and the plots, and results.json where runs are given.

    Args:
        out: The folder.
        runs: Folder of run directories; None to read results.json.

    Raises:
        FileNotFoundError: if there is no result.
    """
    stored = out / "results.json"
    if runs is not None:
        results = gather(runs)
        if not results:
            raise FileNotFoundError(f"expected <network>/<method>/result.json below {runs}: none")
        files.write_text(stored, json.dumps(results, indent=1) + "\n")
    results = json.loads(stored.read_text())
    sections = [_HEAD]
    for network in dict.fromkeys(map(network_of, results)):
        own = [result for result in results if network_of(result) == network]
        averaged = average(own)
        plots = []
        for figure, label in (("cycles", "modelled cycles"), ("weight_bytes", "weight bytes")):
            path = out / f"{network}_{figure}.svg"
            files.write_text(path, _plot(averaged, figure, label=label, title=network))
            plots.append(f"![accuracy over {label}]({path.name})")
        sections.append(_section(network, own, averaged, plots))
    files.write_text(out / "README.md", "\n".join(sections))


def network_of(result: dict[str, Any]) -> str:
    """Name and width of the network of a result, and its levels where they are not the usual."""
    recipe = result["recipe"]
    sparsities = recipe["sparsities"]
    levels = "" if sparsities == _USUAL else "".join(f"_{100 * each:.0f}" for each in sparsities)
    return f"{recipe['network']}_{recipe['width']:g}{levels}"


def average(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Averages the points of each method over the seeds.

    Returns:
        By method, its points; each with its figures' means, "spread" (the range of the int8
        accuracy over the seeds) and "seeds".
    """
    averaged: dict[str, list[dict[str, Any]]] = {}
    for method in _TITLES:
        runs = [result["points"] for result in results if result["method"] == method]
        for same in zip(*runs, strict=True):
            accuracies = [point["accuracy_int8"] for point in same]
            averaged.setdefault(method, []).append(
                {
                    "name": same[0]["name"],
                    **{figure: mean(point[figure] for point in same) for figure in _FIGURES},
                    "spread": max(accuracies) - min(accuracies),
                    "seeds": len(same),
                }
            )
    return averaged


def above_curve(points: Iterable[dict[str, Any]], curve: list[dict[str, Any]]) -> float | None:
    """How far the highest of some points lies above a curve at equal cycles.

    Args:
        points: Of a rival.
        curve: Points of the method compared with; straight lines lie between them. Right of its
            last point it goes on level; left of its first point there is nothing to compare with.

    Returns:
        The largest difference in int8 accuracy, negative where all points lie below the curve;
        None where no point can be compared.
    """
    import numpy as np

    ordered = sorted(curve, key=lambda point: point["cycles"])
    cycles = [point["cycles"] for point in ordered]
    accuracies = [point["accuracy_int8"] for point in ordered]
    gaps = [
        point["accuracy_int8"] - float(np.interp(point["cycles"], cycles, accuracies))
        for point in points
        if point["cycles"] >= cycles[0]
    ]
    return max(gaps, default=None)


def _section(
    network: str, results: Results, averaged: dict[str, list[dict[str, Any]]], plots: list[str]
) -> str:
    recipe, seeds = results[0]["recipe"], sorted({r["recipe"]["seed"] for r in results})
    lines = [
        f"## {network}",
        "",
        f"{results[0]['train_images']:,} training and {results[0]['test_images']:,} test images, "
        f"{_start(recipe)}, then {recipe['epochs']} epochs for each training, "
        f"batch {recipe['batch_size']}, distillation: {recipe['distillation']}, "
        f"{recipe['policy']}, seeds {', '.join(map(str, seeds))}. "
        "± is the range over the seeds.",
        "",
        *_table(
            ["method", "point", "float", "int8", "±", "cycles", "instructions", "weight bytes"],
            [
                [
                    method if index == 0 else "",
                    point["name"],
                    f"{point['accuracy_float']:.2%}",
                    f"{point['accuracy_int8']:.2%}",
                    f"{point['spread']:.2%}" if point["seeds"] > 1 else "one seed",
                    *(f"{point[figure]:,.0f}" for figure in ("cycles", "instructions")),
                    f"{point['weight_bytes']:,.0f}",
                ]
                for method, points in averaged.items()
                for index, point in enumerate(points)
            ],
        ),
        "",
        *_table(["method", "storage, bytes", "training, seconds"], _totals(results)),
        "",
        *_verdicts(results),
        *plots,
        "",
    ]
    return "\n".join(lines)


def _start(recipe: dict[str, Any]) -> str:
    """Where the dense model comes from."""
    if recipe["pretrained"]:
        return f"dense model from {recipe['pretrained']}"
    return f"{recipe['dense_epochs']} epochs dense"


def _totals(results: Results) -> list[list[str]]:
    rows = []
    for method in _TITLES:
        own = [result for result in results if result["method"] == method]
        if own:
            means = [mean(r[key] for r in own) for key in ("file_bytes", "training_seconds")]
            rows.append([method, *(f"{value:,.0f}" for value in means)])
    return rows


def _verdicts(results: Results) -> list[str]:
    """One sentence for each comparison that the results allow."""
    lines = []
    if pair := _same_seeds(results, "nested", "standalone"):
        nested, alone = map(average(pair).get, ("nested", "standalone"))
        for figure in ("int8", "float"):
            gaps = [
                (n["name"], 100 * (n[f"accuracy_{figure}"] - a[f"accuracy_{figure}"]))
                for n, a in zip(nested, alone, strict=True)
            ]
            each = ", ".join(f"{name} {gap:+.2f} pt" for name, gap in gaps)
            lines.append(
                f"- Nested against stand-alone, {figure}: {each}; {mean(g for _, g in gaps):+.2f} "
                "pt on average."
            )
        bytes_of = _mean_of(pair, lambda result: result["file_bytes"])
        lines.append(
            f"- Storage: {bytes_of['nested'] / bytes_of['standalone']:.2f} of the stand-alone "
            "files."
        )
    if nested := average(results).get("nested"):
        lost = ", ".join(
            f"{n['name']} {100 * (n['accuracy_int8'] - n['accuracy_float']):+.2f} pt"
            for n in nested
        )
        lines.append(f"- Int8 against float, nested: {lost}.")
    if pair := _same_seeds(results, "nested", "allocated"):
        nested, chosen = map(average(pair).get, ("nested", "allocated"))
        gaps = [
            f"{n['name']} {100 * (c['accuracy_int8'] - n['accuracy_int8']):+.2f} pt at "
            f"{c['cycles']:,.0f} cycles against {n['cycles']:,.0f}"
            for n, c in zip(nested, chosen, strict=True)
        ]
        lines.append(f"- Allocated against uniform sparsity, int8: {', '.join(gaps)}.")
    for method, own in itertools.product(_RIVALS, ("nested", "allocated")):
        pair = average(_same_seeds(results, own, method))
        gap = above_curve(pair[method], pair[own]) if pair else None
        if gap is not None:
            side = "above" if gap > 0 else "below"
            lines.append(
                f"- The best point of {method} lies {abs(100 * gap):.2f} pt {side} the {own} curve "
                "at equal cycles."
            )
    return [*lines, ""] if lines else []


def _same_seeds(results: Results, *methods: str) -> Results:
    """The results of some methods for the seeds that all of them have been run with."""
    seeds = [{r["recipe"]["seed"] for r in results if r["method"] == m} for m in methods]
    common = set.intersection(*seeds)
    return [r for r in results if r["method"] in methods and r["recipe"]["seed"] in common]


def _mean_of(results: Results, key: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    return {
        method: mean(key(result) for result in results if result["method"] == method)
        for method in {result["method"] for result in results}
    }


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _plot(averaged: dict[str, list[dict[str, Any]]], figure: str, *, label: str, title: str) -> str:
    """Int8 accuracy over cycles or bytes, as SVG text that depends on its content alone."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title + figure}):
        page = Figure(figsize=(7.5, 4.6), layout="constrained")
        axes = page.add_subplot()
        for method, points in averaged.items():
            style, colour = _STYLES[method]
            ordered = sorted(points, key=lambda point: point[figure])
            axes.plot(
                [point[figure] for point in ordered],
                [100 * point["accuracy_int8"] for point in ordered],
                style,
                color=colour,
                label=_TITLES[method],
            )
        axes.set_xlabel(f"{label} of a point, {title}")
        axes.set_ylabel("int8 accuracy (%)")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
        buffer = io.StringIO()
        page.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
