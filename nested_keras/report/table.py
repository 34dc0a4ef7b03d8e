"""Plain-text tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.report.level_results import Report


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows under a header; the first column is left-aligned, the others right-aligned.

    Args:
        header: Column titles; a title may have several lines.
        rows: Cells as text; every row has one cell per title.

    Returns:
        The lines, joined, without a newline at the end.

    Raises:
        ValueError: If a row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"expected {len(header)} cells in every row: got {len(row)} in {row}")
    height = max((title.count("\n") + 1 for title in header), default=1)
    titles = [title.split("\n") for title in header]
    heads = list(zip(*([""] * (height - len(each)) + each for each in titles), strict=True))
    widths = [max(map(len, column)) for column in zip(*heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return "  ".join([first.ljust(widths[0]), *aligned]).rstrip()

    rule = line(["-" * width for width in widths])
    return "\n".join([*map(line, heads), rule, *map(line, rows)])


def level_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of a report as text: one row a level, the dense model last."""
    quality = "acc." if report.quality == "accuracy" else report.quality
    header = [
        "level",
        "zeros,\nnested",
        "nonzeros,\nall",
        "weight\nbytes",
        f"float\n{quality}",
        f"int8\n{quality} PC",
        f"int8 {quality}\ndevice",
        "instr.",
        "speed-up",
    ]
    rows = [
        [
            str(level.level),
            f"{level.sparsity:.3f}",
            f"{level.nnz:,}",
            f"{level.weight_bytes:,}",
            f"{level.accuracy_float:.1%}",
            f"{level.accuracy_int8:.1%}",
            f"{level.accuracy_device:.1%}",
            f"{level.instructions:,}",
            f"{level.speedup_over_dense:.2f}x",
        ]
        for level in report.levels
    ]
    dense = report.dense
    rows.append(
        [
            "dense",
            "0.000",
            f"{dense.nnz:,}",
            f"{dense.weight_bytes:,}",
            f"{dense.accuracy_float:.1%}",
            f"{dense.accuracy_int8:.1%}",
            f"{dense.accuracy_device:.1%}",
            f"{dense.instructions:,}",
            "1.00x",
        ]
    )
    return header, rows


def level_table(report: Report) -> str:
    """Returns the report as a plain-text table."""
    return format_table(*level_cells(report))
