"""Draw plots as SVG text for an HTML page."""

from __future__ import annotations

import io

from nested_keras import extras
from nested_keras.report.level_results import Report


def accuracy_over_instructions(report: Report) -> str:
    """Draws the quality on the device over instructions per inference, one point a level.

    Args:
        report: The results.

    Returns:
        One <svg> element.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise extras.missing(error, "a plot of nested_keras.report") from error
    from matplotlib.figure import Figure

    # Text stays text, and ids depend on the content alone, so the same report gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": report.title}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        instructions = [level.instructions / 1e6 for level in report.levels]
        accuracies = [100 * level.accuracy_device for level in report.levels]
        axes.plot(instructions, accuracies, "o-", color="#0b6e4f", label="nested levels")
        for x, y, level in zip(instructions, accuracies, report.levels, strict=True):
            axes.annotate(
                f"level {level.level} ({level.sparsity:.0%} zeros)",
                (x, y),
                textcoords="offset points",
                xytext=(8, -12),
            )
        axes.plot(
            report.dense.instructions / 1e6,
            100 * report.dense.accuracy_device,
            "s",
            color="#a23b2a",
            label="dense model",
        )
        axes.set_xlim(left=0)
        axes.margins(x=0.15, y=0.15)
        axes.set_xlabel("instructions per inference (millions, counted on the emulated Cortex-M7)")
        axes.set_ylabel(f"int8 {report.quality} on the device (%)")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
